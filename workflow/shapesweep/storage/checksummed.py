"""Sealed Parquet: whatever bit of a file is changed, it is seen before anything is read.

Parquet has checksums of its own, but of its pages alone: a bit of a page's header or of the footer
could turn and make other numbers. So a file's metadata has the CRC-32 of the whole file, reckoned
with zeros in its place, as tar does. Other programs read such a file as any other; a file without
the seal, of an earlier version or another program, is read as it is.
"""

import mmap
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_KEY, _BLANK = "crc32", b"00000000"
#: How Parquet's footer has it: the key, then a text of eight characters.
_MARK = _KEY.encode() + b"\x18\x08"


class Writer(pq.ParquetWriter):
    """Writes Parquet to a path, and seals it when it is closed."""

    def __init__(self, where: str | Path, *arguments: Any, **options: Any) -> None:
        # pyarrow would read a relative path such as `a:b/c` as a URI.
        super().__init__(Path(where).absolute(), *arguments, **options)

    def close(self) -> None:
        """Finish the file."""
        if not self.is_open:
            return
        self.add_key_value_metadata({_KEY: _BLANK.decode()})
        super().close()
        with Path(self.where).open("r+b") as file, mmap.mmap(file.fileno(), 0) as written:
            start = written.rfind(_MARK) + len(_MARK)
            written[start : start + len(_BLANK)] = b"%08x" % zlib.crc32(written)


def read(path: str | Path) -> pa.Table:
    """Read a Parquet file whose every bit is as it was written.

    Raises
    ------
    FileNotFoundError
    OSError, pyarrow.ArrowException
        If it is damaged, or no Parquet.
    """
    return pq.read_table(_whole(path))


def read_schema(path: str | Path) -> pa.Schema:
    """Read the columns and the metadata alone, from a file that is whole as well."""
    return pq.read_schema(_whole(path))


def open_file(path: str | Path) -> pq.ParquetFile:
    """Open a file that is whole as well, to be read part by part: it may be larger than memory."""
    with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as content:
        _check(content)
    return pq.ParquetFile(Path(path).absolute(), memory_map=True)


def _whole(path: str | Path) -> pa.BufferReader:
    """A file's contents, which are what is read afterwards, whatever happens to the file."""
    content = Path(path).read_bytes()
    _check(content)
    return pa.BufferReader(content)


def _check(content: bytes | mmap.mmap) -> None:
    """Raise an OSError unless a file's contents are what was sealed."""
    start = content.rfind(_MARK) + len(_MARK)
    if start < len(_MARK):
        # Without a seal: whoever wrote it has signed at the footer's end, if all of it is there.
        is_whole = bool(pq.read_metadata(pa.BufferReader(content)).created_by)
    else:
        is_whole = content[start : start + len(_BLANK)] == _crc32(content, start)
    if not is_whole:
        raise OSError("its bytes are not those that were written")


def _crc32(content: bytes | mmap.mmap, start: int) -> bytes:
    end = start + len(_BLANK)
    # Views have to go before a file is closed that they look into.
    with memoryview(content) as view, view[:start] as before, view[end:] as behind:
        return b"%08x" % zlib.crc32(behind, zlib.crc32(_BLANK, zlib.crc32(before)))
