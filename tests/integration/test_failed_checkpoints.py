"""Checkpoints that cannot be measured never cost the rest of the sweep."""

import json
import shutil

import pytest
import torch
import transformers
from tokenizers import Tokenizer, models

from helpers.models import SHAPE, tiny_llama
from helpers.workflow import complete, read, settings, write


def unknown_activation(folder):
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    text = json.dumps(config | {"hidden_act": "no such function"})
    (folder / "config.json").write_text(text, encoding="utf-8")


def tokenizer_without_tokens(folder):
    # A tokenizer of single characters drops characters that its vocabulary lacks.
    Tokenizer(models.BPE({"é": 0}, [])).save(str(folder / "tokenizer.json"))


def tokenizer_that_panics(folder):
    # The Rust code of tokenizers panics if a template names a token that its table lacks.
    tokenizer = json.loads((folder / "tokenizer.json").read_bytes())
    single = [
        {"SpecialToken": {"id": "<x>", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
    ]
    template = {"type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": {}}
    text = json.dumps(tokenizer | {"post_processor": template})
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")


def infinite_states(folder):
    model = transformers.LlamaForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        model.model.layers[0].mlp.down_proj.weight.fill_(3e38)
        model.model.layers[0].mlp.up_proj.weight.fill_(100)
    model.save_pretrained(folder)


def images_instead_of_text(folder):
    shape = SHAPE | {"image_size": 8, "patch_size": 4}
    transformers.ViTModel(transformers.ViTConfig(**shape)).save_pretrained(folder)


def no_blocks(folder):
    transformers.LlamaForCausalLM(tiny_llama(num_hidden_layers=0)).save_pretrained(folder)


def small_vocabulary(folder):
    transformers.LlamaForCausalLM(tiny_llama(vocab_size=20)).save_pretrained(folder)


#: Functions that change a checkpoint so that it cannot be measured, with words of the reason.
FAILURES = {
    unknown_activation: "cannot be loaded: KeyError: 'no such function'",
    tokenizer_without_tokens: "its tokenizer finds no tokens in the text",
    tokenizer_that_panics: "PanicException",
    infinite_states: "layer 1 (block) has infinite or NaN values",
    images_instead_of_text: "ViTModel",
    no_blocks: "LlamaForCausalLM",
    small_vocabulary: "the tokenizer does not belong to the model",
}


@pytest.mark.parametrize("more", [[], ["--keep-going"]])
def test_failures_are_named_and_the_other_checkpoint_has_tables(tmp_path, runs, text_file, more):
    good = runs / "decoder" / "checkpoint-0"
    for change in FAILURES:
        shutil.copytree(good, tmp_path / change.__name__)
        change(tmp_path / change.__name__)
    paths = {change.__name__: str(tmp_path / change.__name__) for change in FAILURES}
    suite = {"source": "local", "runs": paths | {"good": str(good)}}
    write(tmp_path, settings(text_file, suites={"s": suite}, corpora=["text"]))
    complete(tmp_path, "--workflow-profile", "none", *more)
    assert set(read(tmp_path, "geometry").run) == {"good"}
    failures = read(tmp_path, "failures").set_index("run")
    assert len(failures) == len(FAILURES)
    summary = (tmp_path / "results/summary.txt").read_text(encoding="utf-8")
    for change, reason in FAILURES.items():
        failure = failures.loc[change.__name__]
        assert reason in failure.reason
        assert not failure.measured
        assert (tmp_path / "results" / failure.log).is_file()
        assert f"not measured: s/{change.__name__}/main: {failure.reason}" in summary
    assert (tmp_path / "results/figures/dome.svg").is_file()
    assert (tmp_path / "results/report.html").is_file()
