"""A YAML file, read with care: every key once, and no aliases that stand for too much."""

import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from shapesweep.errors import ShapesweepError
from shapesweep.storage.digests import DIGITS, digest

#: Values that a file may hold, its aliases written out.
MOST = 1_000_000


class _Loader(yaml.SafeLoader):
    """Refuses a key that is there twice, of which YAML would silently take the last."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            # `<<` takes in what another mapping says, and may do so twice.
            if not isinstance(key, yaml.ScalarNode) or key.value == "<<":
                continue
            if (key.tag, key.value) in seen:
                line = key.start_mark.line + 1
                raise ShapesweepError(f"{key.value}: is there twice (line {line}); keep one")
            seen.add((key.tag, key.value))
        return node


def read_settings(path: str | Path) -> dict[str, Any]:
    """Read a file that the plan has named by its contents, or another YAML file.

    Raises
    ------
    ShapesweepError
        If its contents have changed since, or as `read`.
    """
    path = Path(path)
    is_named = re.fullmatch(f"[0-9a-f]{{{DIGITS}}}", path.stem) and path.is_file()
    if is_named and digest(path.read_text(encoding="utf-8")) != path.stem:
        raise ShapesweepError(f"{path}: damaged; remove it, and run again")
    return read(path)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The same of an object of JSON."""
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        names = [key for key, _ in pairs]
        twin = next(key for key in names if names.count(key) > 1)
        raise ShapesweepError(f"{twin}: is there twice; keep one")
    return mapping


def _parsed(text: str) -> Any:
    """As Snakemake reads a configuration: JSON, whose tabs YAML would refuse, or else YAML."""
    try:
        return json.loads(text, object_pairs_hook=_once)
    except ValueError:
        return yaml.load(text, _Loader)


def read(path: str | Path) -> dict[str, Any]:
    """Read keys and values.

    Raises
    ------
    ShapesweepError
        One line that names the file, if it holds anything else.
    """
    try:
        raw = _parsed(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ShapesweepError(f"{path}: {(error.strerror or 'not readable').lower()}") from None
    except ShapesweepError as error:
        raise ShapesweepError(f"{path}: {error}") from None
    # Dates and numbers that are none are no YAMLErrors, nor are brackets without end.
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise ShapesweepError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise ShapesweepError(f"{path}: expected keys and values")
    if _size(raw, {}) > MOST:
        raise ShapesweepError(f"{path}: its aliases stand for too much, or for themselves")
    return raw


def _size(value: Any, sizes: dict[int, float]) -> float:
    """How many values a value is, its aliases written out: infinitely many, if it holds itself."""
    if id(value) not in sizes:
        sizes[id(value)] = math.inf
        inner = value.values() if isinstance(value, dict) else value
        inner = [] if isinstance(value, str | bytes) or not isinstance(inner, Iterable) else inner
        sizes[id(value)] = 1 + sum(_size(part, sizes) for part in inner)
    return sizes[id(value)]
