"""The record of the checks of the registry: the file `checked.json` beside the suites.

`shapesweep check-registry` writes the record, and the reference of the suites shows it.
"""

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Literal

from pydantic import Field, TypeAdapter

from shapesweep.config.registry import REGISTRY
from shapesweep.errors import ShapesweepError
from shapesweep.storage import atomic
from shapesweep.validation import Strict

#: The record that is part of the project.
CHECKED = REGISTRY / "checked.json"


class Difference(Strict):
    """A property in which the registry and the Hub differ."""

    where: str
    what: str
    registry: str
    hub: str


class Check(Strict):
    """The last check of a suite."""

    date: date
    outcome: Literal["agrees", "differs", "not reached"]
    differences: list[Difference] = Field([])


_RECORD = TypeAdapter(dict[str, Check])


def read(path: str | Path) -> dict[str, Check]:
    """Return the last check of each suite; empty if there is no record.

    Raises
    ------
    ShapesweepError
        If the record is damaged.
    """
    try:
        return _RECORD.validate_python(json.loads(Path(path).read_bytes()))
    except FileNotFoundError:
        return {}
    except (ValueError, RecursionError):
        raise ShapesweepError(
            f"{path}: damaged; restore or remove it, and check the registry again"
        ) from None


def update(path: str | Path, checks: Mapping[str, Check]) -> None:
    """Add checks to the record, and keep the checks of all other suites.

    Raises
    ------
    ShapesweepError
        If the record is damaged.
    """
    record = dict(sorted({**read(path), **checks}.items()))
    text = json.dumps(_RECORD.dump_python(record, mode="json"), indent=1, ensure_ascii=False)
    with atomic.file(path) as partial:
        partial.write_text(f"{text}\n", encoding="utf-8")
