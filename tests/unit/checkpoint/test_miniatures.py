"""Miniatures of transformers' classes: shapesweep does with them what the documentation says.

Tests use a sample of the classes, or all classes if SHAPESWEEP_ALL is set.
"""

import importlib.util
import os
from pathlib import Path

import pytest
import transformers

from helpers import miniatures, verdicts

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/reference/models.md").read_text(encoding="utf-8")
#: Decoders, encoders and encoder-decoders; models with experts, with blocks of several kinds,
#: without attention, and with hidden states that are not a vector per token.
SAMPLE = [
    *("LlamaForCausalLM", "GPT2LMHeadModel", "GPTNeoXForCausalLM", "OPTForCausalLM"),
    *("BloomForCausalLM", "FalconForCausalLM", "Gemma3ForCausalLM", "OlmoeForCausalLM"),
    *("DeepseekV3ForCausalLM", "Qwen3NextForCausalLM", "JambaForCausalLM", "MambaForCausalLM"),
    *("RwkvForCausalLM", "Gemma3nForCausalLM", "BertForMaskedLM", "BertLMHeadModel"),
    *("ModernBertForMaskedLM", "DebertaV2ForMaskedLM", "XLMWithLMHeadModel", "AlbertForMaskedLM"),
    *("T5ForConditionalGeneration", "BartForConditionalGeneration", "Gemma4AssistantForCausalLM"),
]
CLASSES = list(miniatures.kinds()) if os.environ.get("SHAPESWEEP_ALL") else SAMPLE


@pytest.fixture(scope="module")
def models():
    """The script `docs/models.py`."""
    spec = importlib.util.spec_from_file_location("models", ROOT / "docs/models.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", CLASSES)
def test_page_says_what_shapesweep_does(models, name):
    assert models.line(models.row(name)) in PAGE.splitlines()


def test_page_lists_every_class_and_counts_the_rows(models):
    rows = models.rows(PAGE)
    assert [name for name, *_ in rows] == [f"`{name}`" for name in miniatures.kinds()]
    assert models.numbers(rows) in PAGE
    assert models.in_readme(rows) in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("config", "key", "n_kinds"),
    [
        (transformers.Olmo3Config(), "layer_types", 2),
        (transformers.NemotronHConfig(), "layers_block_type", 4),
        (transformers.SmolLM3Config(), "no_rope_layers", 2),
    ],
)
def test_miniature_has_one_block_of_each_kind(config, key, n_kinds):
    small = miniatures.shrunken(config)
    assert small.num_hidden_layers == len(getattr(small, key)) == n_kinds
    assert set(getattr(small, key)) == set(getattr(config, key))


def test_other_states_and_losses_are_found(tmp_path, monkeypatch):
    def changed(*arguments):
        states = original_states(*arguments)
        return [*states[:-1], states[-1] + 2 * verdicts.TOLERANCE]

    original_states, original_loss = verdicts.original_states, verdicts.original_loss
    monkeypatch.setattr(verdicts, "original_states", changed)
    with pytest.raises(AssertionError):
        verdicts.verdict("LlamaForCausalLM", tmp_path)
    monkeypatch.setattr(verdicts, "original_states", original_states)
    monkeypatch.setattr(verdicts, "original_loss", lambda *both: 1.0001 * original_loss(*both))
    with pytest.raises(AssertionError):
        verdicts.verdict("LlamaForCausalLM", tmp_path)
