"""Damage: a Parquet file of which a bit or an end is lost is named, and never other numbers."""

import json
import random
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

METADATA = {"pooling": "tokens", "causal": True, "n_prefix": 1, "n_suffix": 0}


def write_shard(path):
    rng = np.random.default_rng(0)
    writer = ShardWriter(path, 3, METADATA)
    for document in range(2):
        place = np.arange(4, dtype=np.int32)
        columns = [pa.array(column) for column in (place * 0 + document, place, place + 7)]
        writer.append(columns, rng.standard_normal((4, 3)).astype(np.float32))
    writer.close()


def test_a_folder_with_a_colon_is_no_address(tmp_path, monkeypatch):
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
    found = read_shard(path)
    columns = (found.document, found.position, found.token, found.activation)
    return found.metadata, *(column.tobytes() for column in columns)


def manifest(path):
    return tables.read_arrow(path, schemas.MANIFEST).to_pylist()


def samples(path):
    return tables.read_arrow(path, schemas.SAMPLES).to_pylist(), tables.read_metadata(path)


KINDS = {"shard": (write_shard, shard), "manifest": (write_manifest, manifest)}
KINDS["samples"] = write_samples, samples
every_kind = pytest.mark.parametrize(("write", "read"), KINDS.values(), ids=KINDS)


def outcomes(path, read, damaged):
    """What is read of each of some contents: counted as whole, or as named; anything else fails."""
    before, counts = read(path), {"whole": 0, "named": 0}
    for content in damaged:
        path.write_bytes(content)
        try:
            assert read(path) == before
            counts["whole"] += 1
        except ShapesweepError as error:
            assert str(error).startswith(f"{path}: ")
            assert "\n" not in str(error)
            counts["named"] += 1
    return counts


@every_kind
def test_every_bit_that_turns_is_seen_or_changes_nothing(tmp_path, write, read):
    path = tmp_path / "file.parquet"
    write(path)
    content = path.read_bytes()

    mark = content.rindex(b"crc32") - 2
    seal = range(mark, mark + 20)
    # Of the seal every bit, of all other bytes one: CRC-32 misses none by its making.
    bits = [(n, bit) for n in range(len(content)) for bit in (range(8) if n in seal else [n % 8])]

    def turned():
        for n, bit in bits:
            yield content[:n] + bytes([content[n] ^ 1 << bit]) + content[n + 1 :]

    counts = outcomes(path, read, turned())
    # Only the name of the seal may turn unseen: what it seals is whole then.
    assert counts["whole"] <= 8 * len("crc32--")
    assert sum(counts.values()) == len(bits)


@every_kind
def test_no_beginning_of_a_file_is_taken_for_the_file(tmp_path, write, read):
    path = tmp_path / "file.parquet"
    write(path)
    content = path.read_bytes()
    ends = sorted({*range(0, len(content), 9), *range(len(content) - 99, len(content))})
    counts = outcomes(path, read, (content[:end] for end in ends))
    assert counts == {"whole": 0, "named": len(ends)}


@every_kind
def test_runs_of_zeros_and_noise_are_seen(tmp_path, write, read):
    path = tmp_path / "file.parquet"
    write(path)
    content, rng = path.read_bytes(), random.Random(0)

    def spoilt():
        for _ in range(300):
            start, length = rng.randrange(len(content)), rng.randrange(1, 600)
            for run in (bytes(length), rng.randbytes(length)):
                whole = content[:start] + run + content[start + length :]
                if whole[: len(content)] != content:
                    yield whole

    counts = outcomes(path, read, spoilt())
    assert counts["whole"] == 0


def test_a_sealed_file_is_any_readers_parquet(tmp_path):
    path = tmp_path / "file.parquet"
    write_shard(path)
    read = pq.read_table(path, partitioning=None)
    assert read.equals(checksummed.read(path))
    assert len(pq.read_metadata(path).metadata[b"crc32"]) == 8


def test_what_was_written_before_there_were_seals_is_read(tmp_path):
    path = tmp_path / "file.parquet"
    schema = schemas.SAMPLES.with_metadata({"shapesweep": json.dumps({"a": 1})})
    columns = {"revision": ["one"], "tensor_class": ["head"], "value": [0.5]}
    pq.write_table(pa.table(columns, schema=schema), path)
    assert tables.read(path, schemas.SAMPLES).value.tolist() == [0.5]
    assert tables.read_metadata(path) == {"a": 1}
    pq.write_table(pa.table({"value": [0.5]}), path)
    assert cloud_file._read_parquet(path)[0].tolist() == [[0.5]]
