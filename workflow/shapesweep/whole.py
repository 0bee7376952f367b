"""Whole or not at all: what is made goes to a sibling of its own and is renamed at the end.

So it survives whatever ends a process: two that make the same (one of them left behind by a sweep
that was killed) do not touch each other's, and what the dead have left is removed by the next.
"""

import contextlib
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def folder(path: str | Path) -> Iterator[Path]:
    """Make a folder whole or not at all.

    Parameters
    ----------
    path : path-like
        A folder that is there already is replaced.

    Yields
    ------
    Path
        The empty folder to write to.
    """
    path = Path(path)
    _clear(path)
    partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
    # Only who makes it may read a folder of `mkdtemp`; a result is for all whom umask lets.
    partial.chmod(0o777 & ~_umask())
    with _held(partial):
        try:
            yield partial
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        shutil.rmtree(path, ignore_errors=True)
        partial.replace(path)


@contextlib.contextmanager
def file(path: str | Path) -> Iterator[Path]:
    """Make a file whole or not at all.

    Parameters
    ----------
    path : path-like
        A file that is there already is replaced.

    Yields
    ------
    Path
        The empty file to write to.
    """
    path = Path(path)
    _clear(path)
    opened, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    os.close(opened)
    partial = Path(name)
    partial.chmod(0o666 & ~_umask())
    with _held(partial):
        try:
            yield partial
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        partial.replace(path)


def partials(path: str | Path) -> list[Path]:
    """What is being made, or was when its maker died, to become a path."""
    path = Path(path)
    return list(path.parent.glob(f".{glob.escape(path.name)}.*.partial"))


def empty(folder: Path) -> None:
    """Remove all that is in a folder."""
    for path in folder.iterdir():
        _remove(path)


def _clear(path: Path) -> None:
    """Make room for what will be made, and remove what the dead have left of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in partials(path):
        with contextlib.suppress(OSError), _held(left):
            _remove(left)


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    """Hold a lock on what is being made, which ends with its maker.

    Raises
    ------
    OSError
        If another holds it.
    """
    opened = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(opened)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _umask() -> int:
    # It can only be read by setting it.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
