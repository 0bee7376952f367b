"""Whole or not at all: what is made goes to a sibling of its own and is renamed at the end.

So it survives whatever ends a process: two that make the same (one of them left behind by a sweep
that was killed) do not touch each other's, and what the dead have left is removed by the next.
"""

import contextlib
import errno
import fcntl
import glob
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

#: Seconds in which a process that has made a temporary folder has locked it.
GRACE = 60.0


def folder(path: str | Path) -> AbstractContextManager[Path]:
    """Make a folder whole or not at all, in a `with`: it is given the empty folder to write to.

    Parameters
    ----------
    path : path-like
        A folder that is there already is replaced.
    """
    return _whole(Path(path), tempfile.mkdtemp, 0o777)


def file(path: str | Path) -> AbstractContextManager[Path]:
    """Make a file whole or not at all, in a `with`: it is given the empty file to write to.

    Parameters
    ----------
    path : path-like
        A file that is there already is replaced.

    Raises
    ------
    IsADirectoryError
        If a folder stands there.
    """
    if Path(path).is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    return _whole(Path(path), _empty_file, 0o666)


@contextlib.contextmanager
def temporary(parent: str | Path, name: str) -> Iterator[Path]:
    """An empty folder that is removed at the end of the `with`.

    Parameters
    ----------
    parent : path-like
        Created if needed. Folders in it that dead processes of this machine have left are removed.
    name : str
        For people who look into the parent.
    """
    parent = Path(parent)
    parent.mkdir(parents=True, exist_ok=True)
    # Locks of another machine are not seen on every network file system.
    prefix = f".{name}.{glob.escape(socket.gethostname())}."
    # A new folder may not be locked yet.
    start = time.time() - GRACE
    _remove_dead(path for path in parent.glob(f"{prefix}*.partial") if _time(path) < start)
    partial = Path(tempfile.mkdtemp(prefix=prefix, suffix=".partial", dir=parent))
    with _held(partial):
        try:
            yield partial
        finally:
            _remove(partial)


def partials(path: str | Path) -> list[Path]:
    """What is being made, or was when its maker died, to become a path."""
    path = Path(path)
    return list(path.parent.glob(f".{glob.escape(path.name)}.*.partial"))


def empty(folder: Path) -> None:
    """Remove all that is in a folder; what cannot be removed is an error."""
    for path in folder.iterdir():
        _remove(path, surely=True)


@contextlib.contextmanager
def _whole(path: Path, make: Callable[..., str], mode: int) -> Iterator[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_dead(partials(path))
    partial = Path(make(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
    # Only who makes it may read what `tempfile` makes; a result is for all whom umask lets.
    partial.chmod(mode & ~_umask())
    with _held(partial):
        try:
            yield partial
            # Where a file is to be, a folder that has come meanwhile is somebody's.
            if path.is_dir() and partial.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            partial.replace(path)
        except BaseException:
            _remove(partial)
            raise


def _remove_dead(left: Iterable[Path]) -> None:
    """Remove what dead processes have left; what living ones make is locked."""
    for path in left:
        with contextlib.suppress(OSError), _held(path):
            _remove(path)


def _time(path: Path) -> float:
    """Modification time of a folder; that of now, if it is gone."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()


def _empty_file(**where: Any) -> str:
    opened, name = tempfile.mkstemp(**where)
    os.close(opened)
    return name


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


def _remove(path: Path, surely: bool = False) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=not surely)
    else:
        path.unlink(missing_ok=not surely)


def _umask() -> int:
    # It can only be read by setting it.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
