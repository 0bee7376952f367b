"""Read, validate and write the configuration of a sweep."""

import functools
import locale
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from shapesweep.config import yaml_file
from shapesweep.config.registry import REGISTRY
from shapesweep.config.sweep import Config
from shapesweep.errors import ShapesweepError
from shapesweep.validation import NOTHING, below, explain


def validate(
    raw: Mapping[str, Any], registry: Path = REGISTRY, files: Sequence[str | Path] = ()
) -> Config:
    """Validate a configuration. Suites that are given only by name are read from the registry.

    Parameters
    ----------
    raw : mapping
        The merged configuration. The value of `suites` is a list of names of files in the registry,
        or a mapping from names to definitions.
    registry : path-like
    files : sequence of path-like
        Files that were merged into `raw`, in the order of merging. An error message names the file
        with the invalid value.

    Returns
    -------
    Config

    Raises
    ------
    ShapesweepError
        If the configuration is not valid. The message is one line that names the file, the key, the
        value found, and what to write instead.
    """
    for path in files:
        # Each file is read again, because Snakemake's merge hides errors such as duplicate keys.
        yaml_file.read(path)
    try:
        return Config.model_validate(dict(raw), context={"registry": registry})
    except ValidationError as error:
        key, message = explain(error, raw, Config)
        path = ".".join(key)
        raise ShapesweepError(f"{_at_fault(key, raw, files)}{path}: {message}") from None


def load(path: str | Path) -> Config:
    """Read the configuration that a sweep wrote beside its results."""
    raw = yaml_file.read_settings(path)
    try:
        return validate(raw)
    except ShapesweepError as error:
        raise ShapesweepError(f"{path}: {error}") from None


def as_yaml(config: Config) -> str:
    """Return the configuration, with full definitions of all suites, as YAML that `load` reads."""
    # The key `spikes` is not part of the sweep.
    merged = config.model_dump(exclude_none=True, exclude={"spikes"})
    # Snakemake's template engine writes texts in the encoding of the locale.
    is_unicode = locale.getpreferredencoding(False).lower() == "utf-8"
    return yaml.safe_dump(merged, sort_keys=False, allow_unicode=is_unicode)


def _at_fault(key: list[str], raw: Mapping[str, Any], files: Sequence[str | Path]) -> str:
    """Return the start of an error message: the last file that sets the key or its parent."""
    for wanted in (key, key[:-1]):
        value = functools.reduce(below, wanted, raw)
        for path in reversed(files):
            same = functools.reduce(below, wanted, yaml_file.read(path)) == value
            if wanted and value is not NOTHING and same:
                return f"{path}: "
    return "--config: " if files else ""
