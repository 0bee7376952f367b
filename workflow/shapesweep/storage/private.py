"""Create private folders inside folders that users share, such as `/tmp` or a scratch disk."""

import contextlib
import os
import stat
from pathlib import Path

from shapesweep.errors import ShapesweepError


def private_folder(path: str | Path, advice: str) -> Path:
    """Return a folder that only this user may read; the folder is created if needed.

    Parameters
    ----------
    path : path-like
    advice : str
        Advice to the user, at the end of the error message if the path cannot be used.

    Raises
    ------
    ShapesweepError
        If the path is a link or a file, or belongs to another user.
    """
    path = Path(path)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700, parents=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise ShapesweepError(f"{path}: is not a folder that belongs to you; {advice}")
    # Snakemake may have created the folder with the usual permissions.
    path.chmod(0o700)
    return path
