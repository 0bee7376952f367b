"""Checkpoints with incomplete or wrong weights are never loaded."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from helpers.hub_suites import changed
from helpers.models import TEXT, tiny_llama
from shapesweep.checkpoint import facts, files, load, weight_sample
from shapesweep.checkpoint.tokenizer import load_tokenizer
from shapesweep.errors import CheckpointError
from shapesweep.storage.files import sha256


@pytest.fixture
def folder(tmp_path, make_checkpoint):
    make_checkpoint(tmp_path)
    return tmp_path


def edit(folder, change):
    path = folder / "model.safetensors"
    path.write_bytes(changed(path.read_bytes(), change))


def configure(folder, name="config.json", **more):
    """Set keys in a JSON file of the checkpoint."""
    config = json.loads((folder / name).read_text(encoding="utf-8"))
    (folder / name).write_text(json.dumps(config | more), encoding="utf-8")


def test_complete_checkpoint_is_loaded_in_float32(folder):
    assert files.inspect(folder).status == ()
    model = load.load(folder)
    assert type(model).__name__ == "LlamaForCausalLM"
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_files_have_their_size_time_and_digest(folder):
    seen = files.inspect(folder, lambda path, _stat: sha256(path))
    assert facts.architecture(seen.config) == "LlamaForCausalLM"
    assert [file.path for file in seen.files] == ["config.json", "model.safetensors"]
    for file in seen.files:
        stat = (folder / file.path).stat()
        assert (file.size, file.modified) == (stat.st_size, stat.st_mtime_ns)
        assert file.sha256 == sha256(folder / file.path)
    edit(folder, lambda w: w["model.norm.weight"].fill_(2))
    assert files.inspect(folder, lambda path, _stat: sha256(path)).commit != seen.commit


def test_files_are_not_hashed_unless_requested(folder):
    seen = files.inspect(folder)
    assert seen.commit == ""
    assert [file.sha256 for file in seen.files] == [None, None]


def test_half_precision_is_loaded_in_float32(tmp_path, make_checkpoint):
    make_checkpoint(tmp_path).half().save_pretrained(tmp_path)
    assert {p.dtype for p in load.load(tmp_path).parameters()} == {torch.float32}


def test_message_is_intact_if_the_folder_is_the_working_directory(folder, monkeypatch):
    configure(folder, rope_parameters={"rope_type": "model.layers.0"})
    monkeypatch.chdir(folder)
    with pytest.raises(CheckpointError, match=r"model\.layers\.0"):
        load.load(Path())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda w: w.pop("model.layers.1.mlp.up_proj.weight"),
            r"weights are missing: model\.layers\.1\.mlp\.up_proj",
        ),
        (
            lambda w: w.update({"model.layers.9.extra": torch.ones(2)}),
            r"are not used by the model: model\.layers\.9\.extra",
        ),
        (lambda w: w.update({"model.norm.weight": torch.ones(7)}), r"model\.norm\.weight"),
        (
            lambda w: w["model.norm.weight"].fill_(float("nan")),
            r"model\.norm\.weight holds NaN",
        ),
    ],
    ids=["missing", "superfluous", "another shape", "NaN"],
)
def test_error_names_a_wrong_weight(folder, change, message):
    edit(folder, change)
    with pytest.raises(CheckpointError, match=message):
        load.load(folder)


def test_truncated_file_is_found_without_loading(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    assert files.inspect(folder).status == ("damaged:model.safetensors",)
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load.load(folder)


def test_status_names_a_missing_shard(folder):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    weight_map = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}), encoding="utf-8")
    status = files.inspect(folder).status
    assert status == ("missing_weights:model-00002-of-00002.safetensors",)


def test_pickled_weights_are_loaded(folder):
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(weights, folder / "pytorch_model.bin")
    assert load.load(folder).num_parameters() > 0


def test_remote_code_is_not_run(folder):
    configure(folder, auto_map={"AutoModelForCausalLM": "modeling.Evil"})
    (folder / "modeling.py").write_text("raise SystemExit", encoding="utf-8")
    # transformers itself contains the model's class, so the class in the repository is not needed.
    assert type(load.load(folder)).__module__.startswith("transformers.")
    configure(folder, architectures=["EvilForCausalLM"])
    with pytest.raises(CheckpointError, match="remote code"):
        load.load(folder)
    configure(folder, auto_map={"AutoModelForCausalLM": "elsewhere/repository--modeling.Evil"})
    with pytest.raises(CheckpointError, match="is not in its own repository"):
        load.load(folder, remote_code=True)


def test_code_of_a_checkpoint_is_run_only_if_allowed(folder):
    auto_map = {"AutoModelForCausalLM": "modeling_own.OwnForCausalLM"}
    configure(folder, auto_map=auto_map, architectures=["OwnForCausalLM"])
    code = "import transformers\n\nclass OwnForCausalLM(transformers.LlamaForCausalLM): ...\n"
    (folder / "modeling_own.py").write_text(code, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"unless hub\.remote_code allows it"):
        load.load(folder)
    assert type(load.load(folder, remote_code=True)).__name__ == "OwnForCausalLM"


def test_unused_weights_are_refused_unless_they_are_ignored(folder):
    edit(folder, lambda w: w.update({"model.layers.0.self_attn.masked_bias": torch.zeros(1)}))
    with pytest.raises(CheckpointError, match=r"not used by the model: .*masked_bias"):
        load.load(folder)
    load.load(folder, ignored_weights=[r"masked_bias$"])


def test_sample_has_the_same_weights_of_every_checkpoint(folder, make_checkpoint):
    model = load.load(folder)
    first = weight_sample.sample(model)
    assert list(first) == ["head", "embedding", "feed_forward", "attention"]
    assert all(0 < len(values) <= 2048 for values in first.values())
    with torch.no_grad():
        for weights in model.parameters():
            weights += 1
    for kind, values in weight_sample.sample(model).items():
        np.testing.assert_allclose(values, first[kind] + 1, atol=1e-6)


@pytest.mark.parametrize("name", ["tokenizer_config.json", "config.json"])
def test_remote_code_of_a_tokenizer_is_refused(folder, name):
    configure(folder, name, auto_map={"AutoTokenizer": ["evil.Evil", None]})
    with pytest.raises(CheckpointError, match="its tokenizer needs remote code"):
        load_tokenizer(folder, TEXT)


@pytest.mark.parametrize("text", ["[]", "null", '"x"', "{", '{"architectures": [3]}', "{}"])
def test_invalid_configuration_is_a_checkpoint_error(folder, text):
    (folder / "config.json").write_text(text, encoding="utf-8")
    files.inspect(folder)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load.load(folder)


@pytest.mark.parametrize("number", [True, -1, 1.5, "3", None, 10**30, [3]])
def test_invalid_number_of_layers_is_none(number):
    assert facts.n_layers({"num_hidden_layers": number}) is None


@pytest.mark.parametrize(
    ("message", "folder", "shown"),
    [
        ("docs/x.json is damaged", "docs", "x.json is damaged"),
        ("see https://hf.co/docs/install", "docs", "see https://hf.co/docs/install"),
        ("no file named a in /data/run.", "/data/run", "no file named a in ."),
    ],
)
def test_only_the_folder_of_the_checkpoint_is_removed_from_a_message(message, folder, shown):
    assert load._described(OSError(message), Path(folder)) == f"OSError: {shown}"


def test_tied_weights_are_not_missing(tmp_path, make_checkpoint):
    make_checkpoint(tmp_path, config=tiny_llama(tie_word_embeddings=True))
    assert load.load(tmp_path).num_parameters() > 0


def test_tokenizer_may_be_in_the_parent_folder(tmp_path, make_checkpoint, tokenizers):
    make_checkpoint(tmp_path / "checkpoint-1", tokenizer=False)
    with pytest.raises(CheckpointError, match="has no tokenizer"):
        load_tokenizer(tmp_path / "checkpoint-1", TEXT)
    tokenizers["decoder"].save_pretrained(tmp_path)
    assert len(load_tokenizer(tmp_path / "checkpoint-1", TEXT)) == 300
