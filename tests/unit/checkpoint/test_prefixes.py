"""Prefixes that wrappers add to the names of weights are removed if all names then match."""

import copy
import logging

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

from helpers.models import shard, tiny_bert, tiny_llama, tiny_neox
from shapesweep.checkpoint.load import load
from shapesweep.checkpoint.prefixes import removals
from shapesweep.errors import CheckpointError

MODELS = {
    "llama": lambda: transformers.LlamaForCausalLM(tiny_llama()),
    "llama, tied": lambda: transformers.LlamaForCausalLM(tiny_llama(tie_word_embeddings=True)),
    "gpt-neox": lambda: transformers.GPTNeoXForCausalLM(tiny_neox()),
    "gpt2, tied": lambda: transformers.GPT2LMHeadModel(
        transformers.GPT2Config(n_embd=16, n_layer=2, n_head=2, vocab_size=300)
    ),
    "bert": lambda: transformers.BertForMaskedLM(tiny_bert()),
    "mixtral": lambda: transformers.MixtralForCausalLM(
        transformers.MixtralConfig(
            **{"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2},
            **{"num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 300},
            num_local_experts=4,
        )
    ),
}


def blocks(model):
    """Return the list of blocks of a model."""
    return max(
        (m for m in model.modules() if isinstance(m, torch.nn.ModuleList)),
        key=lambda found: found[0].__class__.__name__.endswith(("Layer", "Block")),
    )


def compiled_blocks(model):
    layers = blocks(model)
    for k in range(len(layers)):
        layers[k] = torch.compile(layers[k])
    return model


def checkpointed_blocks(model):
    layers = blocks(model)
    for k in range(len(layers)):
        layers[k] = checkpoint_wrapper(layers[k])
    return model


class Lightning(torch.nn.Module):
    """A module that holds the model in an attribute."""

    def __init__(self, model, name="model"):
        super().__init__()
        setattr(self, name, model)


WRAPPERS = {
    "_orig_mod.": torch.compile,
    "blocks._orig_mod.": compiled_blocks,
    "blocks and model _orig_mod.": lambda model: torch.compile(compiled_blocks(model)),
    "_checkpoint_wrapped_module.": checkpointed_blocks,
    "module.": torch.nn.DataParallel,
    "module.module.": lambda model: torch.nn.DataParallel(torch.nn.DataParallel(model)),
    "module._orig_mod.": lambda model: torch.nn.DataParallel(torch.compile(model)),
    "model.": Lightning,
    "net.": lambda model: Lightning(model, "net"),
    "model.model._orig_mod.": lambda model: Lightning(Lightning(torch.compile(model))),
    "_forward_module.": lambda model: Lightning(model, "_forward_module"),
    "_fsdp_wrapped_module.": lambda model: Lightning(model, "_fsdp_wrapped_module"),
}


def save(model, wrapped, folder, kind):
    """Save a model with the names of weights that its wrapper has."""
    model.save_pretrained(folder)
    stored = set(load_file(folder / "model.safetensors"))
    names = dict(wrapped.named_parameters())
    # Only the buffers that save_pretrained stores are stored.
    names |= {n: b for n, b in wrapped.named_buffers() if n.rpartition(".")[2] in stored}
    (folder / "model.safetensors").unlink()
    weights = {name: value.detach().clone() for name, value in names.items()}
    if "bin" in kind:
        is_zip = kind == "bin"
        path = folder / "pytorch_model.bin"
        torch.save(weights, path, _use_new_zipfile_serialization=is_zip)
        return
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    if kind == "shards":
        shard(folder)


def states(model):
    with torch.inference_mode():
        out = model.eval()(input_ids=torch.arange(5, 21)[None], output_hidden_states=True)
    return (*out.hidden_states, out.logits)


def wrapped_folder(folder, kind, wrap, stored="safetensors"):
    torch.manual_seed(0)
    model = MODELS[kind]()
    save(model, wrap(copy.deepcopy(model)), folder, stored)
    return model


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("kind", MODELS)
def test_states_equal_those_of_the_model_that_was_wrapped(tmp_path, kind, wrapper):
    model = wrapped_folder(tmp_path, kind, WRAPPERS[wrapper])
    for mine, original in zip(states(load(tmp_path)), states(model), strict=True):
        torch.testing.assert_close(mine, original, rtol=0, atol=0)


@pytest.mark.parametrize("stored", ["shards", "bin", "bin of torch 1.5"])
@pytest.mark.parametrize("kind", ["llama, tied", "gpt-neox"])
def test_prefixes_are_removed_from_all_kinds_of_files(tmp_path, kind, stored, caplog):
    wrap = WRAPPERS["blocks and model _orig_mod."]
    model = wrapped_folder(tmp_path, kind, wrap, stored)
    with caplog.at_level(logging.WARNING):
        loaded = load(tmp_path)
    assert caplog.messages == ["removed from the names of the weights: _orig_mod."]
    for mine, original in zip(states(loaded), states(model), strict=True):
        torch.testing.assert_close(mine, original, rtol=0, atol=0)


def test_head_that_was_wrapped_is_read(tmp_path):
    def wrap(model):
        model.lm_head = torch.compile(model.lm_head)
        return model

    wrapped_folder(tmp_path, "llama", wrap)
    loaded = load(tmp_path)
    assert loaded.missing_weights == loaded.unused_weights == []


def test_names_without_wrappers_are_not_changed(tmp_path, caplog):
    for kind in MODELS:
        MODELS[kind]().save_pretrained(tmp_path / kind)
        load(tmp_path / kind)
    assert caplog.messages == []


@pytest.mark.parametrize("prefix", ["_orig_mod.", "net."])
@pytest.mark.parametrize("change", ["missing", "superfluous", "partly"])
def test_other_differences_are_refused_with_the_names_of_the_file(tmp_path, prefix, change):
    MODELS["llama"]().save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    weights = {f"{prefix}{name}": value for name, value in load_file(path).items()}
    if change == "missing":
        del weights[f"{prefix}model.layers.1.mlp.up_proj.weight"]
    elif change == "superfluous":
        weights[f"{prefix}model.layers.9.extra"] = torch.ones(2)
    else:
        weights["odd.weight"] = torch.ones(2)
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"weights are missing: model\.embed_tokens"):
        load(tmp_path)


def test_parts_are_removed_in_steps():
    names = ["model.net.a.weight", "model.net.b.c.weight"]
    assert [str(removal) for removal in removals(names)] == ["", "model.", "model.net."]
    assert [str(removal) for removal in removals(names, "model")] == ["", "model.net."]
    assert [str(removal) for removal in removals([])] == [""]
    (first, *_) = removals(["module.submodule.module.w", "module.my_module.w"])
    assert [first("module.submodule.module.w"), first("module.my_module.w")] == [
        "submodule.w",
        "my_module.w",
    ]
