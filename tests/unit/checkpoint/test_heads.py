"""Weights on which no hidden state depends may be missing or unused; all others may not."""

import json

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from helpers.models import tiny_bert, tiny_llama
from shapesweep import cli
from shapesweep.checkpoint.heads import is_head
from shapesweep.checkpoint.load import load
from shapesweep.errors import CheckpointError


def save(folder, model, named=None, **more):
    """Save a model as if it were of another class."""
    model.save_pretrained(folder)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | {"architectures": [named]} | more
    text = json.dumps({key: value for key, value in config.items() if value not in (None, [None])})
    path.write_text(text, encoding="utf-8")
    return folder


def states(model):
    batch = torch.arange(5, 21)[None]
    with torch.inference_mode():
        return model.eval()(batch, output_hidden_states=True).hidden_states


def assert_same_states(model, folder):
    loaded = load(folder)
    for mine, theirs in zip(states(loaded), states(model), strict=True):
        torch.testing.assert_close(mine, theirs)
    return loaded


def test_superfluous_heads_are_named(tmp_path):
    # bert-base-uncased contains a pooler and a head for the next sentence.
    model = transformers.BertForPreTraining(tiny_bert())
    loaded = assert_same_states(model, save(tmp_path, model, "BertForMaskedLM"))
    assert loaded.unused_weights == [
        *("bert.pooler.dense.bias", "bert.pooler.dense.weight"),
        *("cls.seq_relationship.bias", "cls.seq_relationship.weight"),
    ]
    assert loaded.missing_weights == []


@pytest.mark.parametrize("named", ["BertModel", "BertForMaskedLM", "BertForSequenceClassification"])
def test_missing_heads_are_named(tmp_path, named, capsys):
    model = transformers.BertModel(tiny_bert(), add_pooling_layer=False)
    loaded = assert_same_states(model, save(tmp_path, model, named))
    assert loaded.missing_weights
    assert all(is_head(name) for name in loaded.missing_weights)
    assert cli.main(["checkpoint", str(tmp_path)]) == 0
    words = f"{tmp_path}: weights of heads are missing, on which no hidden state depends: "
    assert words + loaded.missing_weights[0] in capsys.readouterr().out


@pytest.mark.parametrize(
    "name", ["bert.embeddings.LayerNorm.weight", "bert.encoder.layer.1.output"]
)
def test_other_missing_weights_are_refused(tmp_path, name):
    save(tmp_path, transformers.BertForMaskedLM(tiny_bert()), "BertForMaskedLM")
    path = tmp_path / "model.safetensors"
    kept = {key: value for key, value in load_file(path).items() if not key.startswith(name)}
    save_file(kept, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="weights are missing: bert"):
        load(tmp_path)


@pytest.mark.parametrize(
    "name", ["model.layers.3.mlp.up_proj.weight", "model.layers.0.score.weight", "model.extra"]
)
def test_other_superfluous_weights_are_refused(tmp_path, name):
    save(tmp_path, transformers.LlamaForCausalLM(tiny_llama()), "LlamaForCausalLM")
    path = tmp_path / "model.safetensors"
    save_file(load_file(path) | {name: torch.ones(2)}, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=f"weights are not used by the model: {name}"):
        load(tmp_path)


def test_weights_that_only_look_like_a_head_are_refused(tmp_path, monkeypatch):
    # The weights of this head are also the embedding.
    config = tiny_llama(tie_word_embeddings=True)
    save(tmp_path, transformers.LlamaForCausalLM(config), "LlamaForCausalLM")
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    del tensors["model.embed_tokens.weight"]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="weights are missing: "):
        load(tmp_path)


@pytest.mark.parametrize(
    ("model", "more", "named"),
    [
        (transformers.BertForMaskedLM(tiny_bert()), {}, "BertForMaskedLM"),
        (transformers.BertLMHeadModel(tiny_bert(is_decoder=True)), {}, "BertLMHeadModel"),
        (transformers.LlamaForCausalLM(tiny_llama()), {}, "LlamaForCausalLM"),
        (transformers.BertModel(tiny_bert()), {}, "BertForMaskedLM"),
    ],
)
def test_configuration_without_a_class_is_read_by_its_model_type(tmp_path, model, more, named):
    loaded = assert_same_states(model, save(tmp_path, model, **more))
    assert type(loaded).__name__ == named


def test_model_type_that_is_no_language_model_is_refused(tmp_path):
    save(tmp_path, transformers.BertModel(tiny_bert()), model_type="vit")
    with pytest.raises(CheckpointError, match="no language model of the model_type 'vit'"):
        load(tmp_path)
