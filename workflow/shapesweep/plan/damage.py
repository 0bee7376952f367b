"""Find damaged results, which are files that are empty or truncated.

Snakemake treats an existing file as complete. Jobs check the files that they read. No job reads
figures and pages, so the workflow checks these when it starts.
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
#: Number of bytes to read: enough for the longest ending and for whitespace.
_TAIL = 16


def damaged(paths: Iterable[str | Path]) -> list[Path]:
    """Return the files that exist, but are empty or truncated."""
    return [path for path in map(Path, paths) if path.is_file() and not _is_whole(path)]


def incomplete(folder: str | Path, extensions: Sequence[str]) -> list[Path]:
    """Return the files of a folder that are missing, empty or truncated.

    Parameters
    ----------
    folder : path-like
        Folder of figures. Snakemake checks only whether the folder exists, and not which files it
        contains.
    extensions : sequence of str
        Extensions of the files of a figure. Each figure in the folder should have all of them.
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
