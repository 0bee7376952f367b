"""Describe files of checkpoints, as the Hub or the file system lists them."""

import contextlib
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

from pydantic import Field

#: First bytes of a Git LFS pointer.
_POINTER = b"version https://git-lfs.github.com/spec/"


@dataclass(frozen=True)
class File:
    """A file of a commit, as the Hub lists it.

    Attributes
    ----------
    path : str
        Path inside the repository.
    size : int
        Size in bytes. The Hub stores no file with more than half a terabyte, so a larger size than
        2^40 makes no sense.
    sha256 : str or None
        SHA-256 of the contents; None for a small file, which is stored in git itself.
    blob : str
        Id of the file in git, which identifies the contents if `sha256` is None.
    """

    path: Annotated[str, Field(pattern=r"^[^\x00]+$")]
    size: Annotated[int, Field(ge=0, le=2**40)]
    sha256: str | None
    blob: str


@dataclass(frozen=True)
class LocalFile(File):
    """A file on this machine.

    Attributes
    ----------
    modified : int
        Modification time, in nanoseconds.
    """

    modified: int


def is_inside(path: str) -> bool:
    """Whether an untrusted relative path stays inside the folder to which it is joined."""
    pure = PurePosixPath(path)
    return not pure.is_absolute() and ".." not in pure.parts


def is_file(path: Path) -> bool:
    """Return whether a path is a file; False in a folder that cannot be read."""
    try:
        return path.is_file()
    except OSError:
        return False


def stats(paths: Iterable[str | Path]) -> list[tuple[str, int, int]]:
    """Return the names, sizes and modification times of the files that exist.

    Missing files are skipped, because a run in training may remove its checkpoints at any moment.
    """
    found = []
    for path in map(Path, paths):
        with contextlib.suppress(OSError):
            stat = path.stat()
            if path.is_file():
                found.append((path.name, stat.st_size, stat.st_mtime_ns))
    return found


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pointer_problem(paths: Iterable[str | Path]) -> str:
    """Return which files are Git LFS pointers, and what to do; empty if there is none.

    A clone without Git LFS has a text of three lines in place of every large file.
    """
    names = [Path(path).name for path in paths if _is_pointer(Path(path))]
    if not names:
        return ""
    if len(names) == 1:
        what = f"{names[0]} is a Git LFS pointer, not the file itself"
    else:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        what = f"{', '.join(names[:3])}{more} are Git LFS pointers, not the files themselves"
    return f"{what}; run `git lfs pull`"


def _is_pointer(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_POINTER)) == _POINTER
    except OSError:
        return False
