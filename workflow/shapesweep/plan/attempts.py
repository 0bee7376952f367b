"""Attempts: what failed for a reason that may pass is tried again under another name.

Snakemake takes a file that exists as done. The name of an output is its fingerprint, and the second
attempt is `<fingerprint>-2`.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from shapesweep.errors import ShapesweepError
from shapesweep.storage.digests import DIGITS
from shapesweep.storage.tables import read_metadata

#: The name of an attempt, as a regular expression.
NAME = rf"[0-9a-f]{{{DIGITS}}}(-[1-9]\d*)?"


def name(fingerprint: str, failed: Callable[[str], bool]) -> str:
    """The name of the attempt that did not fail for a reason that may pass, or of the next one.

    Parameters
    ----------
    fingerprint : str
    failed : callable
        Whether the attempt of a name failed for such a reason.
    """
    attempt, number = fingerprint, 1
    while failed(attempt):
        number += 1
        attempt = f"{fingerprint}-{number}"
    return attempt


def is_transient(table: Path) -> bool:
    """Whether a table says that something failed for a reason that may pass."""
    if not table.is_file():
        return False
    try:
        metadata: Mapping[str, Any] = read_metadata(table)
    except ShapesweepError:
        # The job that reads the table says that it is damaged.
        return False
    return bool(metadata.get("transient"))
