"""The architectures of the paper are measured from the Hub, as their authors publish them."""

import json

import pytest
import torch
import transformers

from helpers.hub_suites import files, pickled
from helpers.models import SHAPE, tiny_bert, tiny_llama, trajectory
from helpers.plans import HUB
from helpers.workflow import complete, read, settings, write

ENCODER, DECODER = transformers.AutoModelForPreTraining, transformers.AutoModelForCausalLM
#: The configuration of each model, the class that is saved, and the class that `config.json` names.
#: bert-base and roberta-base contain a pooler, which their classes do not use.
MODELS = {
    "albert": (
        transformers.AlbertConfig(**SHAPE, embedding_size=8),
        ENCODER,
        "AlbertForMaskedLM",
    ),
    "bert": (tiny_bert(), ENCODER, "BertForMaskedLM"),
    "roberta": (transformers.RobertaConfig(**SHAPE), ENCODER, "RobertaForMaskedLM"),
    "gpt2": (
        transformers.GPT2Config(vocab_size=300, n_embd=16, n_layer=2, n_head=2, n_positions=64),
        DECODER,
        "GPT2LMHeadModel",
    ),
    "opt": (
        transformers.OPTConfig(
            **{"vocab_size": 300, "hidden_size": 16, "ffn_dim": 32, "num_hidden_layers": 2},
            **{"num_attention_heads": 2, "word_embed_proj_dim": 8, "max_position_embeddings": 64},
            do_layer_norm_before=False,
        ),
        DECODER,
        "OPTForCausalLM",
    ),
    "llama": (tiny_llama(num_hidden_layers=2), DECODER, "LlamaForCausalLM"),
    "mistral": (
        transformers.MistralConfig(**SHAPE, num_key_value_heads=1),
        DECODER,
        "MistralForCausalLM",
    ),
}
STEPS = (0, 8)


def published(model, name, named, folder):
    """Return the files of a model as its authors publish them."""
    found = files(model, folder)
    config = json.loads(found["config.json"]) | {"architectures": [named]}
    found["config.json"] = json.dumps(config).encode()
    if name == "roberta":
        state = model.state_dict() | {"roberta.pooler.dense.weight": torch.ones(16, 16)}
        found["pytorch_model.bin"] = pickled(state)
        del found["model.safetensors"]
    return found


def test_models_of_the_paper_are_measured_from_the_hub(standin, tmp_path, text_file, tokenizers):
    for name, (config, kind, named) in MODELS.items():
        family = "encoder" if kind is ENCODER else "decoder"
        tokenizer = files(tokenizers[family], tmp_path / "t")
        for step, model in trajectory(config, STEPS, kind=kind):
            found = published(model, name, named, tmp_path / "m")
            standin.add(f"paper/{name}", f"step{step}", found | tokenizer)
    suite = HUB | {"repositories": [f"paper/{name}" for name in MODELS]}
    more = {"corpora": ["text"], "budget": {"checkpoints": {"paper": "last"}}}
    write(tmp_path, settings(text_file, suites={"paper": suite}, **more))
    complete(tmp_path)
    assert set(read(tmp_path, "failures").reason) == {"empty_main"}
    geometry = read(tmp_path, "geometry")
    layers = geometry[geometry.metric == "anisotropy"].drop_duplicates(
        ["run", "step", "layer", "layer_kind"]
    )
    for name, (_, kind, named) in MODELS.items():
        mine = geometry[geometry.run == name]
        assert set(mine.architecture) == {named}
        assert set(mine.family) == {"encoder" if kind is ENCODER else "decoder"}
        assert set(mine.step) == set(STEPS)
        kinds = ["embedding", "block", "block"]
        # The projection of OPT-350m is not a final norm.
        kinds += ["final_norm"] if name in ("gpt2", "llama", "mistral") else []
        for step in STEPS:
            found = layers[(layers.run == name) & (layers.step == step)]
            assert sorted(found.layer_kind) == sorted(kinds)
    losses = read(tmp_path, "losses")
    assert losses.groupby("run").size().to_dict() == dict.fromkeys(MODELS, len(STEPS))
    # A uniform distribution over 300 tokens has a loss of ln(300) = 5.70.
    assert losses.value.to_numpy() == pytest.approx(5.7, abs=0.5)
    budgets = read(tmp_path, "budgets")
    assert budgets.groupby("run").layer.apply(list).to_dict() == {key: [0, 1, 2] for key in MODELS}
    assert (tmp_path / "results/figures/families.svg").is_file()
