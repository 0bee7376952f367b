"""Attempts: after a transient failure, an output is computed again under another name.

Snakemake treats an existing file as complete. The name of an output is its fingerprint, and the
name of its second attempt is `<fingerprint>-2`.
"""

import itertools
from pathlib import Path

from shapesweep.errors import ShapesweepError
from shapesweep.storage import failures
from shapesweep.storage.digests import DIGITS
from shapesweep.storage.tables import read_metadata

#: Regular expression for the name of an attempt.
NAME = rf"[0-9a-f]{{{DIGITS}}}(-[1-9]\d*)?"


def name(folder: Path, fingerprint: str, ending: str = "") -> str:
    """Return the name of the first attempt without a transient failure. It may be a new attempt.

    Parameters
    ----------
    folder : Path
        Folder of the attempts.
    fingerprint : str
    ending : str
        `folder/<name><ending>` is the table or folder that records a failure.
    """
    later = (f"{fingerprint}-{number}" for number in itertools.count(2))
    names = itertools.chain([fingerprint], later)
    return next(each for each in names if not _is_transient(Path(folder, f"{each}{ending}")))


def _is_transient(output: Path) -> bool:
    """Return whether a table or a folder records a transient failure."""
    if not output.is_file():
        return failures.is_transient(output)
    try:
        return bool(read_metadata(output).get("transient"))
    except ShapesweepError:
        # If the table is damaged, the job that reads the table reports the damage.
        return False
