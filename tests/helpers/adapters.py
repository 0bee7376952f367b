"""Adapters with random weights, which peft itself saves."""

import json

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from helpers.models import tiny_llama
from shapesweep.checkpoint.load import load
from shapesweep.errors import CheckpointError


def save_base(folder, model=None, **more):
    """Save a base model, which is a tiny Llama unless another model is given."""
    torch.manual_seed(1)
    model = model or transformers.LlamaForCausalLM(tiny_llama(**more))
    model.save_pretrained(folder)


def save_adapter(folder, base, seed=2, scale=0.1, kind=transformers.AutoModelForCausalLM, **more):
    """Save an adapter whose trained weights are random, and return the adapted model.

    Parameters
    ----------
    folder, base : Path
    seed : int
    scale : float
        Standard deviation of the change of a trained weight.
    kind : class of transformers that loads the base model
    more : keys of `peft.LoraConfig`
    """
    settings = {"r": 4, "lora_alpha": 12, "task_type": "CAUSAL_LM", **more}
    model = kind.from_pretrained(base, dtype=torch.float32)
    adapted = peft.get_peft_model(model, peft.LoraConfig(**settings))
    torch.manual_seed(seed)
    with torch.no_grad():
        for weights in adapted.parameters():
            if weights.requires_grad:
                weights += scale * torch.randn_like(weights)
    adapted.save_pretrained(folder)
    return adapted.eval()


def outputs(model):
    """Return the hidden states and the logits of a model."""
    with torch.no_grad():
        found = model(input_ids=torch.arange(3, 27)[None], output_hidden_states=True)
    return [*found.hidden_states, *(found[name] for name in ("logits",) if name in found)]


def edit(folder, **changes):
    path = folder / "adapter_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**settings, **changes}), encoding="utf-8")


def edit_weights(folder, change):
    path = folder / "adapter_model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})


def refusal(adapter, base):
    with pytest.raises(CheckpointError) as caught:
        load(adapter, base=base)
    assert "\n" not in str(caught.value)
    return str(caught.value)
