"""Write files and folders atomically, so that each appears completely or not at all.

Contents are written to a temporary path beside the final path, and the temporary path is renamed at
the end. Two processes that write the same path do not disturb each other. A lock file shows whether
the process that writes a temporary path is still running. The next process that writes the same
final path removes the temporary paths of terminated processes.
"""

import contextlib
import errno
import fcntl
import glob
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

#: Maximum number of attempts to replace a folder that other processes write at the same time.
REPLACEMENTS = 100


def folder(path: str | Path) -> AbstractContextManager[Path]:
    """Write a folder atomically. Fill the empty folder that the `with` statement provides.

    Parameters
    ----------
    path : path-like
        Final path; an existing folder is replaced.
    """
    return _atomic(Path(path), Path.mkdir)


def file(path: str | Path) -> AbstractContextManager[Path]:
    """Write a file atomically. Fill the empty file that the `with` statement provides.

    Parameters
    ----------
    path : path-like
        Final path; an existing file is replaced.

    Raises
    ------
    IsADirectoryError
        If the path is a folder.
    """
    if Path(path).is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    return _atomic(Path(path), Path.touch)


@contextlib.contextmanager
def temporary(parent: str | Path, name: str) -> Iterator[Path]:
    """Create an empty folder that is removed at the end of the `with` statement.

    Parameters
    ----------
    parent : path-like
        Parent folder, which is created if needed. Folders of terminated processes are removed from
        the parent.
    name : str
        Word in the name of the folder that states its purpose.
    """
    with _reserved(Path(parent), name) as partial:
        # Other users may have access to the parent folder.
        partial.mkdir(0o700)
        try:
            yield partial
        finally:
            _remove(partial)


def partials(path: str | Path) -> list[Path]:
    """Return the temporary paths of a final path, also those of terminated processes."""
    path = Path(path)
    return list(path.parent.glob(f".{glob.escape(path.name)}.*.partial"))


def empty(folder: Path) -> None:
    """Remove all contents of a folder; raise an error if something cannot be removed."""
    for path in folder.iterdir():
        _remove(path, surely=True)


@contextlib.contextmanager
def _atomic(path: Path, create: Callable[[Path], None]) -> Iterator[Path]:
    with _reserved(path.parent, path.name) as partial:
        create(partial)
        try:
            yield partial
            _replace(partial, path)
        except BaseException:
            _remove(partial)
            raise


def _replace(partial: Path, path: Path) -> None:
    """Rename a temporary path to the final path, and replace what exists there."""
    for _ in range(REPLACEMENTS):
        # A file never replaces a folder, because the folder may contain files of a user.
        if path.is_dir() and partial.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        try:
            partial.replace(path)
            return
        except OSError as error:
            # If another process has written the final folder in the meantime, try again.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
    partial.replace(path)


@contextlib.contextmanager
def _reserved(parent: Path, name: str) -> Iterator[Path]:
    """Reserve a new temporary path, and hold its lock until the context ends.

    Every temporary path has a lock file while its process is running. The lock file is locked
    before the temporary path is created, and removed after the temporary path is removed or
    renamed. The lock file is a regular file that is open for writing. Otherwise, a network file
    system would not lock the file across machines.
    """
    parent.mkdir(parents=True, exist_ok=True)
    _remove_dead(parent, name)
    descriptor, lock = _locked(parent, name)
    try:
        yield lock.with_suffix(".partial")
    finally:
        lock.unlink(missing_ok=True)
        os.close(descriptor)


def _locked(parent: Path, name: str) -> tuple[int, Path]:
    while True:
        descriptor, path = tempfile.mkstemp(prefix=f".{name}.", suffix=".lock", dir=parent)
        # On a file system without locks, the files of terminated processes are never removed.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Another process may have removed the lock file before this process locked it.
        if os.fstat(descriptor).st_nlink:
            return descriptor, Path(path)
        os.close(descriptor)


def _remove_dead(parent: Path, name: str) -> None:
    """Remove the files and folders of terminated processes, whose locks are free."""
    left = parent.glob(f".{glob.escape(name)}.*")
    for path in [path for path in left if path.suffix in (".partial", ".lock")]:
        lock = path.with_suffix(".lock")
        with contextlib.suppress(OSError), contextlib.ExitStack() as held:
            # A temporary path without a lock file also belongs to a terminated process.
            with contextlib.suppress(FileNotFoundError):
                file = held.enter_context(lock.open("r+b"))
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _remove(path.with_suffix(".partial"))
            lock.unlink(missing_ok=True)


def _remove(path: Path, surely: bool = False) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=not surely)
    else:
        path.unlink(missing_ok=not surely)
