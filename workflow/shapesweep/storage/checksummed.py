"""Parquet files with a CRC-32 over the whole file, which is verified on read.

Parquet's own checksums cover only its pages: a flipped bit in a page header or in the footer could
change numbers unnoticed. The checksum is stored in the file's metadata and computed with zeros in
its place, as tar does. Other programs can read the file like any other Parquet file. Files without
a checksum, from an earlier version or another program, are read without this check.
"""

import mmap
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_KEY, _BLANK = "crc32", b"00000000"
#: The key in Parquet's footer, followed by the header of a string of eight characters.
_MARK = _KEY.encode() + b"\x18\x08"


class Writer(pq.ParquetWriter):
    """Writes Parquet to a path, and adds the checksum when it is closed."""

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
    """Read a Parquet file, and verify its checksum.

    Raises
    ------
    FileNotFoundError
    OSError, pyarrow.ArrowException
        If the file is damaged, or is not Parquet.
    """
    return pq.read_table(_whole(path))


def read_schema(path: str | Path) -> pa.Schema:
    """Read only the columns and the metadata of a file, and verify its checksum."""
    return pq.read_schema(_whole(path))


def open_file(path: str | Path) -> pq.ParquetFile:
    """Verify a file that may be larger than memory, and open it to be read in parts."""
    with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as content:
        _check(content)
    return pq.ParquetFile(Path(path).absolute(), memory_map=True)


def _whole(path: str | Path) -> pa.BufferReader:
    """The verified contents of a file; changes to the file after this do not matter."""
    content = Path(path).read_bytes()
    _check(content)
    return pa.BufferReader(content)


def _check(content: bytes | mmap.mmap) -> None:
    """Raise an OSError if the contents of a file do not match its checksum."""
    start = content.rfind(_MARK) + len(_MARK)
    if start < len(_MARK):
        # Without a checksum: the name of the program that wrote it is at the end of the footer, if
        # the file is complete.
        is_whole = bool(pq.read_metadata(pa.BufferReader(content)).created_by)
    else:
        is_whole = content[start : start + len(_BLANK)] == _crc32(content, start)
    if not is_whole:
        raise OSError("its bytes are not those that were written")


def _crc32(content: bytes | mmap.mmap, start: int) -> bytes:
    end = start + len(_BLANK)
    # Views into a file must be released before the file is closed.
    with memoryview(content) as view, view[:start] as before, view[end:] as behind:
        return b"%08x" % zlib.crc32(behind, zlib.crc32(_BLANK, zlib.crc32(before)))
