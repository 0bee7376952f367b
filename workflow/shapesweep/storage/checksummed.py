"""Read and write Parquet files with a CRC-32 of the whole file, which is verified on read.

Parquet's own checksums cover only pages, so a flipped bit in a page header or in the footer could
change numbers unnoticed. At first, the file is written with zeros as the checksum in its metadata.
Then the checksum of this file is computed, and replaces the zeros. Other programs can read the file
like any other Parquet file. Files from an earlier version or another program have no checksum, and
their contents are not verified.
"""

import mmap
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_KEY, _BLANK = "crc32", b"00000000"
#: The bytes before the checksum in the footer: the key, and the header of a string of length 8.
_MARK = _KEY.encode() + b"\x18\x08"


class Writer(pq.ParquetWriter):
    """Writes a Parquet file, and adds the checksum when the writer is closed."""

    def __init__(self, where: str | Path, *arguments: Any, **options: Any) -> None:
        # pyarrow would interpret a relative path such as `a:b/c` as a URI.
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
    """Read the schema of a file, which includes the metadata, and verify the file's checksum."""
    return pq.read_schema(_whole(path))


def open_file(path: str | Path) -> pq.ParquetFile:
    """Verify a file that may be larger than memory, and open the file for reading in parts."""
    with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as content:
        _check(content)
    return pq.ParquetFile(Path(path).absolute(), memory_map=True)


def _whole(path: str | Path) -> pa.BufferReader:
    """Read and verify a whole file, so that later changes of the file have no effect."""
    content = Path(path).read_bytes()
    _check(content)
    # Arrow must own the memory, because an Arrow thread frees the memory after the last column is
    # read. If the memory belonged to a Python object, the thread would need Python's interpreter
    # lock. While Python exits, a request for the lock aborts the process
    # (https://github.com/apache/arrow/issues/34314).
    owned = pa.allocate_buffer(len(content))
    memoryview(owned).cast("B")[:] = content
    return pa.BufferReader(owned)


def _check(content: bytes | mmap.mmap) -> None:
    """Raise an OSError if the contents of a file do not match its checksum."""
    start = content.rfind(_MARK) + len(_MARK)
    if start < len(_MARK):
        # The file has no checksum. The footer of a complete file ends with the name of the program
        # that wrote the file.
        is_whole = bool(pq.read_metadata(pa.BufferReader(content)).created_by)
    else:
        is_whole = content[start : start + len(_BLANK)] == _crc32(content, start)
    if not is_whole:
        raise OSError("its bytes differ from the bytes that were written")


def _crc32(content: bytes | mmap.mmap, start: int) -> bytes:
    end = start + len(_BLANK)
    # Views into a file must be released before the file is closed.
    with memoryview(content) as view, view[:start] as before, view[end:] as behind:
        return b"%08x" % zlib.crc32(behind, zlib.crc32(_BLANK, zlib.crc32(before)))
