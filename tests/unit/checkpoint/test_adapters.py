"""An adapter is merged into its base model, or refused with a reason of one line."""

import socket
import warnings

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from helpers.adapters import edit, edit_weights, outputs, refusal, save_adapter, save_base
from helpers.models import SHAPE, tiny_bert, tiny_neox
from shapesweep import cli
from shapesweep.checkpoint.adapters import inspect
from shapesweep.checkpoint.load import load
from shapesweep.storage.files import sha256

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def assert_same_outputs(merged, adapted):
    # Both compute in float32, in another order. States are of order 1, so their errors are some
    # 1e-6.
    for mine, theirs in zip(outputs(merged), outputs(adapted), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=2e-5)


#: Keys of `peft.LoraConfig`, and the scale of a module's change.
SCALES = {
    "plain": ({}, 12 / 4),
    "rank-stabilized": ({"use_rslora": True}, 12 / 4**0.5),
    "own alpha": ({"alpha_pattern": {"q_proj": 2}}, 2 / 4),
    "own rank": ({"rank_pattern": {"q_proj": 6}}, 12 / 6),
}


@pytest.mark.parametrize("option", SCALES)
def test_merged_weights_are_those_of_arithmetic(folders, option):
    adapter, base = folders
    more, scale = SCALES[option]
    save_adapter(adapter, base, target_modules=["q_proj"], **more)
    before, found = load(base).state_dict(), load(adapter, base=base).state_dict()
    assert found.keys() == before.keys()
    changes = load_file(adapter / "adapter_model.safetensors")
    for name, weights in found.items():
        expected = before[name].double()
        if "q_proj" in name:
            a, b = (
                changes[f"base_model.model.{name.replace('weight', f'lora_{part}.weight')}"]
                for part in "AB"
            )
            expected = expected + scale * b.double() @ a.double()
            assert (expected - before[name]).abs().max() > 0.01
        # float32 rounds weights of order 1 by 6e-8. The product of matrices adds a few roundings.
        torch.testing.assert_close(weights.double(), expected, rtol=0, atol=1e-6)


#: Keys of `peft.LoraConfig` with which the merged model must compute what the adapted model does.
OPTIONS = {
    "all-linear": {"target_modules": "all-linear"},
    "DoRA": {"target_modules": ["q_proj", "down_proj"], "use_dora": True},
    "rank-stabilized": {"target_modules": ["q_proj"], "use_rslora": True},
    "some layers": {"target_modules": ["q_proj"], "layers_to_transform": [1]},
    "patterns": {"target_modules": ["q_proj"], "rank_pattern": {"0.self_attn.q_proj": 2}},
    "bias of adapter": {"target_modules": ["q_proj"], "lora_bias": True},
    "bias": {"target_modules": ["q_proj"], "bias": "all"},
    "bias of adapted": {"target_modules": ["q_proj"], "bias": "lora_only"},
    "embedding": {"target_modules": ["embed_tokens", "v_proj"]},
    "head": {"target_modules": ["lm_head", "v_proj"]},
    "embedding and head": {"target_modules": ["lm_head", "embed_tokens"]},
    "whole norm": {"target_modules": ["q_proj"], "modules_to_save": ["norm"]},
    "whole embedding": {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
    "whole ends": {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head"]},
    "tied ends": {
        **{"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]},
        "ensure_weight_tying": True,
    },
    "tokens": {"target_modules": ["q_proj"], "trainable_token_indices": [4, 9]},
    "gaussian": {"target_modules": ["q_proj"], "init_lora_weights": "gaussian"},
    "orthogonal": {"target_modules": ["q_proj"], "init_lora_weights": "orthogonal"},
    "pissa": {"target_modules": ["q_proj"], "init_lora_weights": "pissa"},
    "olora": {"target_modules": ["q_proj"], "init_lora_weights": "olora"},
    "another task": {"target_modules": ["q_proj"], "task_type": "FEATURE_EXTRACTION"},
    "no task": {"target_modules": ["q_proj"], "task_type": None},
}


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("option", OPTIONS)
def test_merged_model_computes_what_the_adapted_model_computes(tmp_path, option, tied):
    adapter, base = tmp_path / "adapter", tmp_path / "base"
    save_base(base, tie_word_embeddings=tied, attention_bias=True)
    adapted = save_adapter(adapter, base, **OPTIONS[option])
    assert_same_outputs(load(adapter, base=base), adapted)
    changes = zip(outputs(adapted), outputs(load(base)), strict=True)
    assert max((mine - theirs).abs().max() for mine, theirs in changes) > 0.01


@pytest.mark.parametrize(
    ("model", "targets", "kind"),
    [
        (
            transformers.GPTNeoXForCausalLM(tiny_neox()),
            ["query_key_value"],
            transformers.AutoModelForCausalLM,
        ),
        (
            transformers.GPT2LMHeadModel(
                transformers.GPT2Config(vocab_size=300, n_embd=16, n_layer=2, n_head=2)
            ),
            ["c_attn"],
            transformers.AutoModelForCausalLM,
        ),
        (
            transformers.BertForMaskedLM(tiny_bert()),
            ["query", "value"],
            transformers.AutoModelForMaskedLM,
        ),
        (
            transformers.MixtralForCausalLM(
                transformers.MixtralConfig(
                    **SHAPE, num_local_experts=4, num_key_value_heads=2, head_dim=8
                )
            ),
            ["q_proj", "v_proj"],
            transformers.AutoModelForCausalLM,
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, torch.nn.Module) else "",
)
def test_adapters_of_other_classes_are_merged(tmp_path, model, targets, kind):
    adapter, base = tmp_path / "adapter", tmp_path / "base"
    save_base(base, model)
    task = None if isinstance(model, transformers.BertForMaskedLM) else "CAUSAL_LM"
    adapted = save_adapter(adapter, base, kind=kind, target_modules=targets, task_type=task)
    merged = load(adapter, base=base)
    assert type(merged) is type(model)
    assert_same_outputs(merged, adapted)


def test_head_that_the_base_lacks_comes_from_the_adapter(tmp_path):
    adapter, base = tmp_path / "adapter", tmp_path / "base"
    kind = transformers.AutoModelForSequenceClassification
    save_base(base, transformers.LlamaForSequenceClassification(transformers.LlamaConfig(**SHAPE)))
    path = base / "model.safetensors"
    weights = {name: tensor for name, tensor in load_file(path).items() if "score" not in name}
    save_file(weights, path, metadata={"format": "pt"})
    assert load(base).missing_weights == ["score.weight"]
    more = {"kind": kind, "task_type": "SEQ_CLS", "target_modules": ["q_proj"]}
    adapted = save_adapter(adapter, base, **more)
    merged = load(adapter, base=base)
    assert merged.missing_weights == []
    score = adapted.base_model.model.score.modules_to_save.default.weight
    torch.testing.assert_close(merged.score.weight, score, rtol=0, atol=0)


def test_half_precision_is_merged_in_float32(folders):
    adapter, base = folders
    save_adapter(adapter, base, target_modules=["q_proj"], modules_to_save=["norm"])
    edit_weights(adapter, lambda w: w.update({k: v.bfloat16() for k, v in w.items()}))
    merged = load(adapter, base=base)
    assert {weights.dtype for weights in merged.parameters()} == {torch.float32}
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_same_outputs(merged, peft.PeftModel.from_pretrained(model, adapter).eval())


def test_pickle_of_tensors_is_read(folders):
    adapter, base = folders
    adapted = save_adapter(adapter, base, target_modules=["q_proj"])
    path = adapter / "adapter_model.safetensors"
    torch.save(load_file(path), adapter / "adapter_model.bin")
    path.unlink()
    assert_same_outputs(load(adapter, base=base), adapted)


@pytest.mark.parametrize(
    "rename",
    [
        *(
            lambda name, prefix=prefix: prefix + name
            for prefix in ("_orig_mod.", "module.", "_fsdp_wrapped_module.")
        ),
        lambda name: name.replace(".weight", ".default.weight"),
        lambda name: name.replace("model.layers", "model._checkpoint_wrapped_module.layers"),
    ],
)
def test_names_that_wrappers_change_are_read(folders, rename):
    adapter, base = folders
    adapted = save_adapter(adapter, base, target_modules=["q_proj", "v_proj"])

    def change(weights):
        for name in list(weights):
            weights[rename(name)] = weights.pop(name)

    edit_weights(adapter, change)
    assert_same_outputs(load(adapter, base=base), adapted)


def test_floats_of_8_bits_are_read(folders):
    adapter, base = folders
    save_adapter(adapter, base)
    kept = {}

    def change(weights):
        for name, tensor in weights.items():
            weights[name] = tensor.to(torch.float8_e4m3fn)
            kept[name] = weights[name].float()

    edit_weights(adapter, change)
    small = load(adapter, base=base)
    edit_weights(adapter, lambda weights: weights.update(kept))
    for mine, theirs in zip(outputs(small), outputs(load(adapter, base=base)), strict=True):
        assert mine.equal(theirs)


def test_loading_changes_no_random_numbers_and_opens_no_connection(folders, monkeypatch):
    adapter, base = folders
    save_adapter(adapter, base, target_modules=["q_proj"])
    edit(adapter, base_model_name_or_path="organisation/model", revision="main")

    def refuse(*_):
        raise AssertionError("opens a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    torch.manual_seed(5)
    load(adapter, base=base)
    found = torch.rand(1)
    torch.manual_seed(5)
    load(base)
    assert torch.equal(found, torch.rand(1))


def test_other_files_of_the_adapter_have_no_effect(folders):
    adapter, base = folders
    adapted = save_adapter(adapter, base, target_modules=["q_proj"])
    torch.save({"x": torch.ones(1)}, adapter / "adapter_model.bin")
    (adapter / "config.json").write_text("{}", encoding="utf-8")
    (adapter / "other").mkdir()
    save_adapter(adapter / "other", base, seed=7, target_modules=["v_proj"])
    assert_same_outputs(load(adapter, base=base), adapted)


def test_embedding_that_is_stored_beside_the_adapter_is_used(folders):
    adapter, base = folders
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    torch.nn.init.normal_(model.get_input_embeddings().weight)
    more = {"target_modules": ["q_proj"], "init_lora_weights": False}
    adapted = peft.get_peft_model(model, peft.LoraConfig(**more)).eval()
    adapted.save_pretrained(adapter, save_embedding_layers=True)
    assert_same_outputs(load(adapter, base=base), adapted)


def test_newer_options_that_are_not_used_are_accepted(folders):
    adapter, base = folders
    adapted = save_adapter(adapter, base, target_modules=["q_proj"])
    edit(adapter, of_a_newer_version=None, another=False)
    assert_same_outputs(load(adapter, base=base), adapted)


def digest(path, stat):
    return sha256(path)


def test_inspection_lists_the_files_of_both_folders(folders):
    adapter, base = folders
    save_adapter(adapter, base, target_modules=["q_proj"])
    seen = inspect(adapter, base, digest)
    assert seen.status == ()
    assert seen.config["architectures"] == ["LlamaForCausalLM"]
    assert [file.path for file in seen.files] == [
        *("adapter_config.json", "adapter_model.safetensors"),
        *(str(base / name) for name in ("config.json", "model.safetensors")),
    ]
    save_base(base, hidden_size=32)
    changed = inspect(adapter, base, digest)
    assert changed.commit != seen.commit


def test_commit_does_not_depend_on_the_place_of_the_base(folders, tmp_path):
    adapter, base = folders
    save_adapter(adapter, base, target_modules=["q_proj"])
    commit = inspect(adapter, base, digest).commit
    base.rename(tmp_path / "moved")
    assert inspect(adapter, tmp_path / "moved", digest).commit == commit


def test_adapter_without_base_is_refused_with_the_name_of_the_base(folders):
    adapter, base = folders
    save_adapter(adapter, base, target_modules=["q_proj"])
    name = "org/model\n" + "x" * 500
    edit(adapter, base_model_name_or_path=name)
    (status,) = inspect(adapter).status
    assert status.startswith("adapter_without_base: set the key base of the run to the model")
    shown = r"(org/model\n" + "x" * 69 + ")"
    assert status.endswith(f"{shown}: a folder, or org/name@<commit>")
    edit(adapter, base_model_name_or_path=None)
    (status,) = inspect(adapter).status
    assert status.endswith("the adapter changes: a folder, or org/name@<commit>")
    assert refusal(adapter, None) == "is an adapter (adapter_config.json), but has no base model"


def test_defects_of_both_folders_are_named(folders):
    adapter, base = folders
    save_adapter(adapter, base, target_modules=["q_proj"])
    (adapter / "adapter_config.json").write_text("[]", encoding="utf-8")
    (adapter / "adapter_model.safetensors").write_bytes(b"x")
    (base / "model.safetensors").unlink()
    assert inspect(adapter, base).status == (
        *("damaged:adapter_config.json", "damaged:adapter_model.safetensors"),
        "base:missing_weights",
    )
    (adapter / "adapter_model.safetensors").unlink()
    assert "missing_weights" in inspect(adapter, base).status


def test_command_checks_an_adapter_with_its_base(folders, capsys):
    adapter, base = folders
    save_adapter(adapter, base, target_modules=["q_proj"])
    assert cli.main(["checkpoint", str(adapter), "--base", str(base)]) == 0
    assert "LlamaForCausalLM (decoder), 3 blocks" in capsys.readouterr().out
    assert cli.main(["checkpoint", str(base), "--base", str(base)]) == 0
    assert cli.main(["checkpoint", str(adapter)]) == 2
    assert "adapter_without_base" in capsys.readouterr().err
    assert cli.main(["checkpoint", str(adapter), "--base", str(base / "absent")]) == 2
    assert "absent: there is no such folder" in capsys.readouterr().err
