"""Hostile checkpoints and texts cause a one-line error, and no code from a checkpoint is run."""

import json
import shutil
import struct

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.hub_suites import Evil
from helpers.shards import extract
from shapesweep import corpora
from shapesweep.checkpoint import facts, files
from shapesweep.checkpoint.files import model_files
from shapesweep.checkpoint.load import load
from shapesweep.checkpoint.tokenizer import load_tokenizer
from shapesweep.corpora import _documents, read_text
from shapesweep.errors import CheckpointError, ShapesweepError
from shapesweep.storage.manifests import Checkpoint

WRONG = [None, True, -1, 0, 1.5, 10**30, 1e308, "x", "\0", "../x", [], [[]], {}, {"a": 1}]


@pytest.fixture
def folder(runs, tmp_path):
    """A valid checkpoint."""
    return shutil.copytree(runs / "decoder/checkpoint-0", tmp_path / "model")


@pytest.fixture
def extract_with(folder, tmp_path, settings):
    """A function that changes settings of the corpus, and then extracts the shards."""

    def extract_with(**more):
        checkpoint = Checkpoint("local", "r", "v", seed=0, step=5, commit="c")
        corpus = settings.corpus.model_copy(update=more)
        chosen = settings.model_copy(update={"corpus": corpus, "corpora": ["text"]})
        extract(checkpoint, folder, chosen, tmp_path / "shards")

    return extract_with


def refusal(folder):
    """Load a checkpoint. If loading fails, return the error message, which is a single line."""
    try:
        files.inspect(folder)
        load(folder)
    except CheckpointError as error:
        assert str(error).isprintable()
        assert len(str(error)) < 400
        return str(error)
    return None


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_damaged_config_is_loaded_or_refused_in_one_line(folder, data):
    path = folder / "config.json"
    content = path.read_bytes()
    described = json.loads(content)
    key = data.draw(st.sampled_from([*described, "auto_map", "quantization_config"]))
    try:
        damaged = described | {key: data.draw(st.sampled_from(WRONG))}
        path.write_text(json.dumps(damaged), encoding="utf-8")
        refusal(folder)
    finally:
        path.write_bytes(content)


@pytest.mark.parametrize("number", [10**6, 10**30])
@pytest.mark.parametrize("key", ["num_hidden_layers", "n_routed_experts"])
@pytest.mark.parametrize("is_nested", [False, True])
def test_a_config_with_too_many_layers_is_refused(folder, key, number, is_nested):
    described = json.loads((folder / "config.json").read_bytes())
    described |= {"text_config": {key: number}} if is_nested else {key: number}
    (folder / "config.json").write_text(json.dumps(described), encoding="utf-8")
    assert refusal(folder) == f"config.json: {key} is above 10,000"
    # The plan ignores a layer count above 10,000.
    assert facts.n_layers({key: number}) is None


def safetensors(header, length=None):
    """Return the bytes of a safetensors file. `length` replaces the true length of the header."""
    data = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(data) if length is None else length) + data + bytes(64)


def tensor(start, end, shape=(4,), dtype="F32"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\0", bytes(8), bytes(99), b"\xff" * 99),
        *(safetensors({}, length) for length in (2**63, 2**64 - 1)),
        *(safetensors(header) for header in (b"{", b"[" * 9999, b"[]")),
        safetensors({"a": tensor(0, 2**40)}),
        safetensors({"a": tensor(48, 16)}),
        safetensors({"a": tensor(0, 16), "b": tensor(8, 24)}),
        safetensors({"a": tensor(0, 16, (2**62, 2**62))}),
        safetensors({"a": tensor(-16, 0)}),
        safetensors({"a": tensor(0, 16, dtype="EVIL")}),
        safetensors({"../a": tensor(0, 64, (16,))}),
    ],
)
def test_an_invalid_safetensors_header_is_refused(folder, content):
    (folder / "model.safetensors").write_bytes(content)
    assert refusal(folder)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
def test_a_pickle_runs_no_code_whatever_its_file_name(folder, tmp_path, name):
    (folder / "model.safetensors").unlink()
    torch.save({"weight": Evil(tmp_path / "touched")}, folder / name)
    assert refusal(folder)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize(
    "shard", ["../model.safetensors", "/etc/passwd", "a/b", "a\nb", "", "..", 3, None]
)
def test_an_index_must_name_plain_files(folder, shard):
    (folder / "model.safetensors").rename(folder.parent / "model.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": shard}}), encoding="utf-8")
    assert files.inspect(folder).status == (f"damaged:{index.name}",)
    assert [path.parent for path in model_files(folder)] == [folder, folder]


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"3", b"\xff\xfe", b"{}", b"[" * 99_999])
def test_a_damaged_tokenizer_is_loaded_or_refused_in_one_line(folder, name, content):
    (folder / name).write_bytes(content)
    try:
        tokenizer = load_tokenizer(folder, "one two three")
        _documents.special_tokens(tokenizer, "one two three")
    except CheckpointError as error:
        assert str(error).isprintable()


def test_a_tokenizer_with_a_larger_vocabulary_is_refused(tokenizers, settings, text_file):
    words = {settings.corpus.text: read_text(str(text_file))}
    with pytest.raises(CheckpointError, match="tokenizer does not belong to the model"):
        corpora.build(["text"], words, tokenizers["decoder"], settings.corpus, 20)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"a few words", "contains 0 documents"),
        ("ü".encode("latin-1") * 9999, "is not UTF-8"),
    ],
    ids=["empty", "too short", "not UTF-8"],
)
def test_errors_name_texts_without_documents(extract_with, tmp_path, content, message):
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    with pytest.raises(ShapesweepError, match=message) as caught:
        extract_with(text=str(path))
    assert str(path) in str(caught.value)
    assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize(
    "content",
    [b"\0" * 99_999, b"word " * 99_999, b"\xef\xbb\xbf" + b"a b c\r\n" * 9999, b" \n" * 9999],
)
def test_unusual_texts_are_measured(extract_with, tmp_path, content):
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    extract_with(text=str(path))
    assert (tmp_path / "shards/text/layer-0.parquet").is_file()


@pytest.mark.parametrize("more", [{"length": 2**60}, {"documents": 2**60}, {"seed": 2**62}])
def test_extreme_corpus_settings_are_refused_or_measured(extract_with, text_file, more):
    try:
        extract_with(**more)
    except ShapesweepError as error:
        assert str(text_file) in str(error)


@pytest.mark.parametrize("name", ["absent", "", ".", "a\0b"])
def test_a_text_must_be_a_file(name):
    with pytest.raises(ShapesweepError, match=r"corpus\.text: there is no file"):
        read_text(name)
