"""A text, and models that are so small that every test session creates them."""

import json

import torch
import transformers
from safetensors.torch import load_file, save_file

#: The transformers class of the models in each family.
AUTO = {"decoder": transformers.AutoModelForCausalLM, "encoder": transformers.AutoModelForMaskedLM}
TEXT = "\n\n".join(
    f"The {n}th bird of the {n % 7}th tree sang song {n * n % 101}." for n in range(4000)
)


SHAPE = {
    **{"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2},
    **{"num_attention_heads": 2, "vocab_size": 300, "max_position_embeddings": 64},
}


def tiny_llama(**more):
    return transformers.LlamaConfig(**(SHAPE | {"num_hidden_layers": 3} | more))


def tiny_bert(**more):
    return transformers.BertConfig(**(SHAPE | more))


def tiny_neox(width=16):
    shape = {"hidden_size": width, "intermediate_size": 2 * width}
    return transformers.GPTNeoXConfig(**(SHAPE | shape))


def tiny_bloom():
    return transformers.BloomConfig(vocab_size=300, hidden_size=16, n_layer=2, n_head=2)


def trajectory(config, steps, seed=0, kind=transformers.AutoModelForCausalLM):
    """Yield (step, model) along a straight line in weight space, with a little noise.

    The checks of continuity accept this line as a training run. A real training run would take
    longer.
    """
    torch.manual_seed(seed)
    model = kind.from_config(config).eval()
    direction = [torch.randn_like(weights) * 0.02 for weights in model.parameters()]
    last_step = 0
    for step in steps:
        with torch.no_grad():
            for weights, change in zip(model.parameters(), direction, strict=True):
                noise = 1e-4 * torch.randn_like(weights)
                weights += change * (step - last_step) / max(*steps, 1) + noise
        last_step = step
        yield step, model


def shard(folder, n=2):
    """Replace `model.safetensors` by shards and an index."""
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    files = [f"model-{k + 1:05}-of-{n:05}.safetensors" for k in range(n)]
    places = {name: files[k % n] for k, name in enumerate(weights)}
    for file in files:
        part = {name: weights[name] for name in weights if places[name] == file}
        save_file(part, folder / file, metadata={"format": "pt"})
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}), encoding="utf-8")
