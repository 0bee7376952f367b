"""Record failures: if a step fails for a checkpoint, the step writes the reason instead of data.

A folder with a `failed.json` contains no other files. The table of failures collects the reasons.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from shapesweep.errors import CheckpointError, ShapesweepError, TransientError, UnexpectedError
from shapesweep.storage import schemas
from shapesweep.storage.axis import Axis, Runs
from shapesweep.storage.manifests import Checkpoint

_NAME, _COLUMNS = "failed.json", schemas.FAILURES.names
_NO_BUDGET = "no dimension budget: "


def record(folder: Path, checkpoint: Checkpoint, error: CheckpointError) -> None:
    """Write the reason for a failure into a folder."""
    text = json.dumps(as_row(checkpoint, error), indent=1, ensure_ascii=False)
    (folder / _NAME).write_text(text, encoding="utf-8")


def as_row(checkpoint: Checkpoint, error: CheckpointError) -> dict[str, Any]:
    """Return a row of `schemas.FAILURES`, with the reason why a checkpoint is not measured."""
    return {
        **{key: getattr(checkpoint, key) for key in ("suite", "run", "revision", "step")},
        "reason": str(error),
        "measured": False,
        "transient": isinstance(error, TransientError),
        "unexpected": isinstance(error, UnexpectedError),
        # The table of failures of the sweep contains the path.
        "log": None,
    }


def without_budget(checkpoint: Checkpoint, error: CheckpointError) -> dict[str, Any]:
    """Return a row of `schemas.FAILURES`, with the reason why there is no dimension budget."""
    why = f"{_NO_BUDGET}{error}"
    return {**as_row(checkpoint, error), "measured": True, "reason": why}


def kind(row: Any) -> str:
    """Return the kind of a failure: not measured, incomplete, or doubtful."""
    if not row.measured:
        return "not measured"
    return "incomplete" if row.reason.startswith(_NO_BUDGET) else "doubtful"


def explanation(row: Any) -> str:
    """Return the reason for a failure, with the log of an unexpected error.

    Parameters
    ----------
    row : namedtuple
        A row of `schemas.FAILURES`.
    """
    again = "; the next sweep tries again" if row.transient else ""
    log = f"; log: {row.log}" if row.unexpected and row.log else ""
    return f"{row.reason}{again}{log}"


def name(row: Any, on_tokens: Runs = frozenset()) -> str:
    """Return the run and revision of a failed checkpoint; without a revision, the run and step.

    Parameters
    ----------
    row : namedtuple
        A row of `schemas.FAILURES` or `schemas.MANIFEST`.
    on_tokens : set of (str, str)
        Suite and name of the runs whose steps are numbers of tokens.
    """
    if not pd.isna(row.revision):
        return f"{row.run}/{row.revision}"
    along = Axis(on_tokens=(row.suite, row.run) in on_tokens)
    return row.run if pd.isna(row.step) else f"{row.run}/{along.at(row.step)}"


def recorded(folder: str | Path) -> dict[str, Any] | None:
    """Return the row that `record` wrote into a folder; None if there is no row."""
    path = Path(folder) / _NAME
    if not path.is_file():
        return None
    row = read_json(path)
    if not set(_COLUMNS) <= set(row):
        raise ShapesweepError(f"{path}: damaged; remove its folder, and run again")
    return row


def is_transient(folder: str | Path) -> bool:
    """Whether a folder contains a transient failure; a damaged record counts as transient."""
    try:
        return bool((recorded(folder) or {}).get("transient"))
    except ShapesweepError:
        return True


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file from a folder of shards.

    Raises
    ------
    ShapesweepError
        If the file is absent or damaged.
    """
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ShapesweepError(f"{path}: no such file; run snakemake first") from None
    except (OSError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ShapesweepError(f"{path}: damaged; remove it, and run again")
    return found


def raise_recorded(folder: str | Path) -> None:
    """Raise the failure that is recorded in a folder.

    Raises
    ------
    CheckpointError
        If the folder contains a failure.
    """
    failure = recorded(folder)
    if failure is not None:
        kinds = {"transient": TransientError, "unexpected": UnexpectedError}
        found = next((each for name, each in kinds.items() if failure[name]), CheckpointError)
        raise found(failure["reason"])
