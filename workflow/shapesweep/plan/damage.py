"""Damaged results: files that are empty or cut off.

Snakemake considers an existing file as done. Jobs check the files that they read; no job reads
figures and pages, so the plan checks them.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

#: The last bytes of complete files, by suffix.
_ENDS = {
    ".html": b"</html>",
    ".parquet": b"PAR1",
    ".pdf": b"%%EOF",
    ".png": b"IEND\xaeB`\x82",
    ".svg": b"</svg>",
}
#: Bytes to read: the longest ending, and white space.
_TAIL = 16


def damaged(paths: Iterable[str | Path]) -> list[Path]:
    """Those of the given files that exist, and are empty or cut off."""
    return [path for path in map(Path, paths) if path.is_file() and not _is_whole(path)]


def incomplete(folder: str | Path, extensions: Sequence[str]) -> list[Path]:
    """The files of a folder that are missing, empty or cut off.

    Parameters
    ----------
    folder : path-like
        Snakemake looks at the folder, and not at the files in it.
    extensions : sequence of str
        Extensions of the files that each name should have.
    """
    names = {path.stem for path in Path(folder).glob("[!.]*.*")}
    paths = [Path(folder, f"{name}.{kind}") for name in sorted(names) for kind in extensions]
    return [path for path in paths if not path.is_file() or not _is_whole(path)]


def _is_whole(path: Path) -> bool:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL))
        end = file.read()
    if path.suffix in _ENDS:
        return end.rstrip().endswith(_ENDS[path.suffix])
    # Text files end with a newline.
    return end.endswith(b"\n")
