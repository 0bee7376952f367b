"""An adapter that cannot be merged into its base model is refused with a reason of one line."""

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from helpers.adapters import edit, edit_weights, refusal, save_adapter, save_base
from helpers.models import tiny_neox

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

FIRST = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"


def drop(weights):
    del weights[FIRST]


def add(weights):
    weights[FIRST.replace("q_proj", "k_proj")] = torch.ones(4, 16)


def rename(weights):
    for name in list(weights):
        weights[name.replace("base_model.model.", "model.")] = weights.pop(name)


def nan(weights):
    weights[FIRST][1, 1] = torch.nan


def reshape(weights):
    weights[FIRST] = torch.ones(4, 17)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (drop, f"weights of the adapter are missing: {FIRST}"),
        (add, "weights of the adapter are not used by its base model, a "),
        (rename, "weights of the adapter are missing: base_model.model"),
        (nan, f"{FIRST} holds NaN or infinite values"),
        (
            reshape,
            f"another shape than in its base model, a LlamaForCausalLM: {FIRST}",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(folders, change, reason):
    adapter, base = folders
    save_adapter(adapter, base, target_modules=["q_proj"])
    edit_weights(adapter, change)
    assert reason in refusal(adapter, base)


@pytest.mark.parametrize(
    "more",
    [
        {"modules_to_save": ["lm_head"]},
        {"modules_to_save": ["norm"]},
        {"bias": "all"},
        {"bias": "lora_only"},
        {"trainable_token_indices": [4]},
        {"use_dora": True},
        {"lora_bias": True},
    ],
    ids=lambda more: next(iter(more)),
)
def test_weights_that_the_settings_announce_must_be_there(tmp_path, more):
    adapter, base = tmp_path / "adapter", tmp_path / "base"
    save_base(base, attention_bias=True)
    save_adapter(adapter, base, target_modules=["q_proj"])
    edit(adapter, **more)
    assert "weights of the adapter are missing: " in refusal(adapter, base)


def test_adapter_of_another_vocabulary_is_refused(folders):
    adapter, base = folders
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    model.resize_token_embeddings(310)
    adapted = peft.get_peft_model(model, peft.LoraConfig(target_modules=["q_proj"]))
    adapted.save_pretrained(adapter, save_embedding_layers=True)
    assert "another shape than in its base model, a " in refusal(adapter, base)
    assert "embed_tokens.weight" in refusal(adapter, base)


#: Changes of `adapter_config.json`, with words of the reason.
REFUSED = [
    (
        {"target_modules": ["nonexistent"]},
        "not found in the base model",
    ),
    ({"peft_type": "PROMPT_TUNING"}, "peft_type is 'PROMPT_TUNING', but only"),
    ({"peft_type": "IA3"}, "peft_type is 'IA3', but only"),
    ({"peft_type": ["LORA"]}, "peft_type is ['LORA'], but only"),
    ({"peft_type": None}, "peft_type is None, but only"),
    (
        {"auto_mapping": {"base_model_class": "Own", "parent_library": "transformers_modules.x"}},
        "auto_mapping names the module 'transformers_modules.x', but remote code",
    ),
    ({"auto_mapping": "x"}, "auto_mapping names the module None"),
    (
        {
            "auto_mapping": {
                "base_model_class": "MistralForCausalLM",
                "parent_library": "transformers.models.mistral.modeling_mistral",
            }
        },
        "the adapter belongs to a 'MistralForCausalLM', but its base is a LlamaForCausalLM",
    ),
    *(
        ({"init_lora_weights": initial}, f"init_lora_weights is {initial!r}, which changes")
        for initial in ("loftq", "corda", "pissa_niter_4", "lora_ga", ["pissa"])
    ),
    ({"layer_replication": [[0, 2], [1, 3]]}, "layer_replication is not supported"),
    ({"alora_invocation_tokens": [4]}, "alora_invocation_tokens is not supported"),
    ({"use_qalora": True}, "use_qalora is not supported"),
    ({"megatron_config": {"x": 1}}, "megatron_config is not supported"),
    ({"arrow_config": {"top_k": 1}}, "arrow_config is not supported"),
    ({"of_a_newer_version": 0.5}, "of_a_newer_version is not supported"),
    ({"r": -1}, "does not fit its base model: ValueError"),
    ({"r": "x"}, "does not fit its base model: TypeError"),
    ({"r": 10**9}, "a rank is above 10,000"),
    ({"rank_pattern": {"q_proj": 10**9}}, "a rank is above 10,000"),
    ({"r": 5}, "have another shape than in its base model"),
    ({"task_type": "x\ny"}, "does not fit its base model: ValueError"),
]


@pytest.mark.parametrize(("change", "reason"), REFUSED)
def test_settings_that_cannot_be_merged_are_refused(folders, change, reason):
    adapter, base = folders
    save_adapter(adapter, base, target_modules=["q_proj"])
    edit(adapter, **change)
    assert reason in refusal(adapter, base)


def test_base_of_another_class_is_refused(folders, tmp_path):
    adapter, base = folders
    save_adapter(adapter, base, target_modules=["q_proj"])
    save_base(tmp_path / "neox", transformers.GPTNeoXForCausalLM(tiny_neox()))
    assert "Target modules" in refusal(adapter, tmp_path / "neox")
    save_base(tmp_path / "small", num_hidden_layers=2)
    assert "are not used by its base model, a " in refusal(adapter, tmp_path / "small")
    save_base(tmp_path / "wide", hidden_size=32)
    assert "another shape than in its base model, a " in refusal(adapter, tmp_path / "wide")


def test_pickle_of_other_objects_is_not_read(folders):
    adapter, base = folders
    save_adapter(adapter, base, target_modules=["q_proj"])
    (adapter / "adapter_model.safetensors").unlink()
    torch.save({"x": print}, adapter / "adapter_model.bin")
    assert "contains objects other than tensors" in refusal(adapter, base)
    torch.save({"x": 1}, adapter / "adapter_model.bin")
    assert "contains objects other than tensors" in refusal(adapter, base)
    (adapter / "adapter_model.bin").write_bytes(b"version https://git-lfs")
    assert "adapter_model.bin" in refusal(adapter, base)


def test_damaged_base_is_named(folders):
    adapter, base = folders
    save_adapter(adapter, base, target_modules=["q_proj"])
    weights = load_file(base / "model.safetensors")
    weights["model.norm.weight"][0] = torch.nan
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    reason = "its base model: model.norm.weight holds NaN or infinite values"
    assert refusal(adapter, base) == reason
