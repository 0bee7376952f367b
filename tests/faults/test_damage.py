"""Flipped bits or missing bytes in Parquet files may cause errors, but never wrong numbers."""

import json
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shapesweep.errors import ShapesweepError
from shapesweep.geometry import cloud_file
from shapesweep.storage import checksummed, manifests, schemas, tables
from shapesweep.storage.files import File
from shapesweep.storage.manifests import Checkpoint
from shapesweep.storage.shards import ShardWriter, read_shard

#: A program that reads a table, and exits while a pyarrow thread is still freeing the memory.
#: Because of the long switch interval, a thread that needs Python's lock waits until Python exits.
#: Therefore, the pyarrow thread must not need this lock.
EXIT = """
import sys
from shapesweep.storage import checksummed
sys.setswitchinterval(3)
table = checksummed.read(sys.argv[1])
"""
METADATA = {"pooling": "tokens", "causal": True, "n_prefix": 1, "n_suffix": 0}


def write_shard(path):
    rng = np.random.default_rng(0)
    writer = ShardWriter(path, 3, METADATA)
    for document in range(2):
        position = np.arange(4, dtype=np.int32)
        numbers = (position * 0 + document, position, position + 7, position + 10 * document)
        columns = [pa.array(column) for column in numbers]
        writer.append(columns, rng.standard_normal((4, 3)).astype(np.float32))
    writer.close()


def test_a_path_with_a_colon_is_not_read_as_a_url(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path("sweep:v2/layer-00.parquet")
    path.parent.mkdir()
    write_shard(path)
    assert read_shard(path).activation.shape == (8, 3)
    assert checksummed.open_file(path).metadata.num_rows == 8


def write_manifest(path):
    files = (File("a", 3, "c0", "d"),)
    names = ("one", "two")
    manifests.write([Checkpoint("s", "r", name, step=512, files=files) for name in names], path)


def write_samples(path):
    rows = [{"revision": "one", "tensor_class": "head", "value": value} for value in (0.5, -2.0)]
    tables.write(rows, schemas.SAMPLES, path, {"vocabulary": 300})


def shard(path):
    read = read_shard(path)
    columns = (read.document, read.position, read.token, read.context, read.activation)
    return read.metadata, *(column.tobytes() for column in columns)


def manifest(path):
    return tables.read_arrow(path, schemas.MANIFEST).to_pylist()


def samples(path):
    return tables.read_arrow(path, schemas.SAMPLES).to_pylist(), tables.read_metadata(path)


KINDS = {
    "shard": (write_shard, shard),
    "manifest": (write_manifest, manifest),
    "samples": (write_samples, samples),
}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def intact(request, tmp_path):
    """A file of each kind, and the function that reads it."""
    write, read = request.param
    write(tmp_path / "file.parquet")
    return tmp_path / "file.parquet", read


def outcomes(intact, damaged):
    """Write each of the damaged contents to a file, read the file, and count the outcomes.

    Reading must either return the original table or raise an error that names the file. Any other
    outcome fails the test.
    """
    path, read = intact
    before, counts = read(path), {"unchanged": 0, "error": 0}
    for content in damaged:
        path.write_bytes(content)
        try:
            assert read(path) == before
            counts["unchanged"] += 1
        except ShapesweepError as error:
            assert str(error).startswith(f"{path}: ")
            assert "\n" not in str(error)
            counts["error"] += 1
    return counts


def test_every_flipped_bit_is_detected_or_harmless(intact):
    content = intact[0].read_bytes()
    start = content.rindex(b"crc32") - 2
    checksum = range(start, start + 20)
    # Flip every bit of the checksum. In each other byte of the file, flip only one bit, because
    # CRC-32 detects every single flipped bit.
    bits = [
        (n, bit) for n in range(len(content)) for bit in (range(8) if n in checksum else [n % 8])
    ]
    flipped = (content[:n] + bytes([content[n] ^ 1 << bit]) + content[n + 1 :] for n, bit in bits)
    counts = outcomes(intact, flipped)
    # A flipped bit in the key `crc32` may go unnoticed, because the data are still intact.
    # All other flipped bits must be detected.
    assert counts["unchanged"] <= 8 * len("crc32--")
    assert sum(counts.values()) == len(bits)


def test_truncated_files_are_detected(intact):
    content = intact[0].read_bytes()
    ends = sorted({*range(0, len(content), 9), *range(len(content) - 99, len(content))})
    counts = outcomes(intact, (content[:end] for end in ends))
    assert counts == {"unchanged": 0, "error": len(ends)}


def test_blocks_of_zeros_and_noise_are_detected(intact):
    content, rng = intact[0].read_bytes(), random.Random(0)

    def damaged():
        for _ in range(300):
            start, length = rng.randrange(len(content)), rng.randrange(1, 600)
            for block in (bytes(length), rng.randbytes(length)):
                changed = content[:start] + block + content[start + length :]
                if changed[: len(content)] != content:
                    yield changed

    assert outcomes(intact, damaged())["unchanged"] == 0


def test_files_with_a_checksum_are_ordinary_parquet(tmp_path):
    path = tmp_path / "file.parquet"
    write_shard(path)
    read = pq.read_table(path, partitioning=None)
    assert read.equals(checksummed.read(path))
    assert len(pq.read_metadata(path).metadata[b"crc32"]) == 8


def test_files_without_a_checksum_are_read(tmp_path):
    path = tmp_path / "file.parquet"
    schema = schemas.SAMPLES.with_metadata({"shapesweep": json.dumps({"a": 1})})
    columns = {"revision": ["one"], "tensor_class": ["head"], "value": [0.5]}
    pq.write_table(pa.table(columns, schema=schema), path)
    assert tables.read(path, schemas.SAMPLES).value.tolist() == [0.5]
    assert tables.read_metadata(path) == {"a": 1}
    pq.write_table(pa.table({"value": [0.5]}), path)
    assert cloud_file._read_parquet(path)[0].tolist() == [[0.5]]


def test_a_process_may_exit_right_after_it_has_read_a_file(tmp_path):
    path = tmp_path / "file.parquet"
    rows = np.random.default_rng(0).standard_normal((1000, 10))
    part = pa.table({f"column {number}": column for number, column in enumerate(rows.T)})
    with checksummed.Writer(path, part.schema) as writer:
        for _ in range(10):
            writer.write_table(part)
    # If the pyarrow thread needed Python's lock, about four in five processes would abort.
    for _ in range(3):
        subprocess.run([sys.executable, "-c", EXIT, path], check=True)
