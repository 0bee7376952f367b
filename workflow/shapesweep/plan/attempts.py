"""Attempts: outputs of transient failures are tried again under another name.

Snakemake considers an existing file as done. The name of an output is its fingerprint, and its
second attempt is `<fingerprint>-2`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from shapesweep.errors import ShapesweepError
from shapesweep.storage.digests import DIGITS
from shapesweep.storage.tables import read_metadata

#: Regular expression of the name of an attempt.
NAME = rf"[0-9a-f]{{{DIGITS}}}(-[1-9]\d*)?"


def name(fingerprint: str, failed: Callable[[str], bool]) -> str:
    """The name of the first attempt without a transient failure, which may be a new attempt.

    Parameters
    ----------
    fingerprint : str
    failed : callable
        Whether the attempt of a name is a transient failure.
    """
    attempt, number = fingerprint, 1
    while failed(attempt):
        number += 1
        attempt = f"{fingerprint}-{number}"
    return attempt


def is_transient(table: Path) -> bool:
    """Whether a table records a transient failure."""
    if not table.is_file():
        return False
    try:
        metadata: Mapping[str, Any] = read_metadata(table)
    except ShapesweepError:
        # The job that reads the table reports the damage.
        return False
    return bool(metadata.get("transient"))
