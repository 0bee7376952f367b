"""Checkpoints as other versions of transformers and other trainers save them are measured."""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from helpers.models import shard, tiny_llama
from shapesweep.checkpoint import facts, files
from shapesweep.checkpoint.load import load, notes
from shapesweep.errors import CheckpointError

IDS = torch.tensor([[3, 1, 4, 1, 5]])


def states(model):
    with torch.inference_mode():
        return torch.stack(model.eval()(IDS, output_hidden_states=True).hidden_states)


def configure(folder, **more):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_bytes()) | more), encoding="utf-8")


@pytest.fixture
def llama(tmp_path):
    """A model and its folder."""
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(tiny_llama())
    model.save_pretrained(tmp_path)
    return model, tmp_path


#: Models, the name of their attention, and the width of the window of every second block.
OLD = {
    "gpt2": (transformers.GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=300), "attn", 0),
    "gptj": (
        transformers.GPTJConfig(n_embd=16, n_layer=2, n_head=2, vocab_size=300, rotary_dim=4),
        "attn",
        0,
    ),
    "gpt_neo": (
        transformers.GPTNeoConfig(
            **{"hidden_size": 16, "num_layers": 2, "num_heads": 2, "vocab_size": 300},
            **{"attention_types": [[["global", "local"], 1]], "window_size": 4},
        ),
        "attn.attention",
        4,
    ),
}


@pytest.mark.parametrize("score", [-1e9, -1e4])
@pytest.mark.parametrize("name", OLD)
def test_masks_that_old_versions_saved_are_not_weights(name, score, tmp_path):
    config, attention, window = OLD[name]
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config)
    model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    mask = torch.ones(1, 1, 32, 32, dtype=torch.uint8).tril()
    for block in range(2):
        own = mask ^ mask.tril(-window) if window and block % 2 else mask
        weights[f"transformer.h.{block}.{attention}.bias"] = own
        weights[f"transformer.h.{block}.{attention}.masked_bias"] = torch.tensor(score)
    torch.save(weights, tmp_path / "pytorch_model.bin")
    loaded = load(tmp_path)
    assert states(loaded).equal(states(model))
    (line,) = notes(loaded)
    assert f"transformer.h.0.{attention}.masked_bias" in line


@pytest.mark.parametrize(
    "tensor", [torch.ones(48), torch.ones(1, 1, 4, 4), torch.tensor(0.5)], ids=repr
)
def test_a_bias_that_is_no_mask_is_refused(tensor, tmp_path):
    config, attention, _ = OLD["gptj"]
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights[f"transformer.h.0.{attention}.bias"] = tensor
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="weights are not used by the model: transformer"):
        load(tmp_path)


@pytest.mark.parametrize(
    "more",
    [
        {"architectures": ["FSDPLlamaForCausalLM"]},
        {"_attn_implementation": "flash_attention_2"},
        {"attn_implementation": "flash_attention_3"},
        {"_attn_implementation_internal": "kernels-community/flash-attn"},
        {"return_dict": False},
        {"quantization_config": {}},
        {"quantization_config": None},
    ],
    ids=str,
)
def test_keys_of_a_trainer_in_the_config_do_not_matter(llama, more):
    model, folder = llama
    configure(folder, **more)
    loaded = load(folder)
    assert type(loaded) is type(model)
    assert states(loaded).equal(states(model))
    assert facts.architecture(files.inspect(folder).config) == "LlamaForCausalLM"


def test_index_without_metadata_is_read(llama):
    model, folder = llama
    shard(folder)
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_bytes())
    del index["metadata"]
    path.write_text(json.dumps(index), encoding="utf-8")
    assert states(load(folder)).equal(states(model))


@pytest.mark.parametrize("name", ["config.json", "a" * 300 + ".bin", "..", "a/b.bin", 3, ""])
def test_index_that_names_other_files_is_damaged(llama, name):
    _, folder = llama
    shard(folder)
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_bytes())
    index["weight_map"] = dict.fromkeys(index["weight_map"], name)
    path.write_text(json.dumps(index), encoding="utf-8")
    assert "damaged:model.safetensors.index.json" in files.inspect(folder).status
    with pytest.raises(CheckpointError):
        load(folder)


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "model."])
def test_weights_that_are_in_a_file_twice_are_refused(llama, prefix):
    _, folder = llama
    path = folder / "model.safetensors"
    weights = load_file(path)
    again = {
        f"{prefix}{name}" if prefix != "model." else name.removeprefix(prefix): tensor + 1
        for name, tensor in weights.items()
    }
    save_file(weights | again, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="weights are in the files twice"):
        load(folder)


def test_weights_that_are_in_two_shards_are_refused(llama):
    _, folder = llama
    shard(folder)
    index = json.loads((folder / "model.safetensors.index.json").read_bytes())["weight_map"]
    first, second = sorted(set(index.values()))[:2]
    name = next(name for name, file in index.items() if file == first)
    weights = load_file(folder / second) | {name: load_file(folder / first)[name] + 1}
    save_file(weights, folder / second, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=f"weights are in the files twice: {name};"):
        load(folder)


@pytest.mark.parametrize(
    "contents", [[torch.ones(2)], torch.ones(2), {1: torch.ones(2)}], ids=["list", "tensor", "int"]
)
def test_pickle_without_names_is_refused(llama, contents):
    _, folder = llama
    (folder / "model.safetensors").unlink()
    torch.save(contents, folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError):
        load(folder)
