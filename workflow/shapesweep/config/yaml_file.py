"""Read YAML files, and refuse duplicate keys and huge or recursive aliases."""

import json
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from shapesweep.errors import ShapesweepError
from shapesweep.storage.digests import DIGITS, digest

#: Maximum number of values in a file, with aliases expanded.
MOST = 1_000_000


class _Loader(yaml.SafeLoader):
    """A loader that refuses duplicate keys; PyYAML would silently use the last value."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            # The key `<<` merges another mapping, and may be repeated.
            if not isinstance(key, yaml.ScalarNode) or key.value == "<<":
                continue
            if (key.tag, key.value) in seen:
                line = key.start_mark.line + 1
                raise ShapesweepError(f"{key.value}: appears twice (line {line}); keep one of them")
            seen.add((key.tag, key.value))
        return node


def read_settings(path: str | Path) -> dict[str, Any]:
    """Read a YAML file; a settings file is checked against the digest in its name.

    Raises
    ------
    ShapesweepError
        If the contents do not match the digest, or if `read` raises an error.
    """
    path = Path(path)
    is_named = re.fullmatch(f"[0-9a-f]{{{DIGITS}}}", path.stem) and path.is_file()
    if is_named and digest(path.read_text(encoding="utf-8")) != path.stem:
        raise ShapesweepError(f"{path}: damaged; remove it, and run again")
    return read(path)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a mapping from the pairs of a JSON object; raise an error for duplicate keys."""
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        names = [key for key, _ in pairs]
        twin = next(key for key in names if names.count(key) > 1)
        raise ShapesweepError(f"{twin}: appears twice; keep one of them")
    return mapping


def _parsed(text: str) -> Any:
    """Parse JSON or YAML, as Snakemake does; JSON may contain tabs, which YAML refuses."""
    try:
        return json.loads(text, object_pairs_hook=_once)
    except ValueError:
        return yaml.load(text, _Loader)


def read(path: str | Path) -> dict[str, Any]:
    """Read a mapping from a YAML file.

    Raises
    ------
    ShapesweepError
        If the file cannot be read, or is not a mapping in YAML.
    """
    try:
        raw = _parsed(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ShapesweepError(f"{path}: {(error.strerror or 'not readable').lower()}") from None
    except ShapesweepError as error:
        raise ShapesweepError(f"{path}: {error}") from None
    # Invalid dates and numbers, and deep nesting, raise errors other than YAMLError.
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise ShapesweepError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise ShapesweepError(f"{path}: expected keys and values")
    if _size(raw, {}) > MOST:
        raise ShapesweepError(f"{path}: alias expansion is too large or recursive")
    return raw


def _size(value: Any, sizes: dict[int, float]) -> float:
    """Return the number of values, with aliases expanded; infinite if a value contains itself."""
    if id(value) not in sizes:
        sizes[id(value)] = math.inf
        inner = value.values() if isinstance(value, dict) else value
        inner = [] if isinstance(value, str | bytes) or not isinstance(inner, Iterable) else inner
        sizes[id(value)] = 1 + sum(_size(part, sizes) for part in inner)
    return sizes[id(value)]
