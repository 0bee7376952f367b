"""Checkpoints of other programs are named, with what to do; Hugging Face weights stay readable."""

import json
import re
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers.models import TEXT, shard
from shapesweep import cli
from shapesweep.checkpoint import layouts
from shapesweep.checkpoint.files import inspect
from shapesweep.checkpoint.load import load
from shapesweep.checkpoint.tokenizer import load_tokenizer
from shapesweep.errors import CheckpointError
from shapesweep.hub import runs
from shapesweep.hub.revisions import Listed, Repository
from shapesweep.storage.files import File

#: Files that a program writes beside `config.json`, and parts of the reason.
OTHERS = {
    "DeepSpeed, by the Trainer": (
        [
            *("latest", "zero_to_fp32.py", "trainer_state.json", "training_args.bin"),
            "global_step500/bf16_zero_pp_rank_0_mp_rank_00_optim_states.pt",
            "global_step500/mp_rank_00_model_states.pt",
            *("rng_state_0.pth", "scheduler.pt", "tokenizer.json"),
        ],
        "DeepSpeed ZeRO",
        "python zero_to_fp32.py . . --safe_serialization",
    ),
    "DeepSpeed, the folder of a step": (
        ["zero_pp_rank_0_mp_rank_00_model_states.pt", "zero_pp_rank_0_mp_rank_00_optim_states.pt"],
        "DeepSpeed ZeRO",
        "in the folder above, run `python zero_to_fp32.py . <out> --tag",
    ),
    "DeepSpeed, by Accelerate": (
        [
            *("random_states_0.pkl", "scheduler.bin", "zero_to_fp32.py", "latest"),
            "pytorch_model/mp_rank_00_model_states.pt",
        ],
        "DeepSpeed ZeRO",
        "zero_to_fp32.py",
    ),
    "GPT-NeoX": (
        [
            "latest",
            "global_step1000/layer_00-model_00-model_states.pt",
            "global_step1000/mp_rank_00_model_states.pt",
            "global_step1000/configs/160M.yml",
        ],
        "GPT-NeoX",
        "convert_neox_to_hf.py --input_dir <folder>/global_step<N>",
    ),
    "GPT-NeoX, the folder of a step": (
        ["layer_00-model_00-model_states.pt", "mp_rank_00_model_states.pt", "configs/160M.yml"],
        "GPT-NeoX",
        "convert_neox_to_hf.py --input_dir <folder> ",
    ),
    "FSDP, sharded": (
        [
            *("optimizer_0/.metadata", "optimizer_0/__0_0.distcp", "rng_state_0.pth"),
            *("pytorch_model_fsdp_0/.metadata", "pytorch_model_fsdp_0/__0_0.distcp"),
        ],
        "FSDP (sharded)",
        "accelerate merge-weights pytorch_model_fsdp_0 .",
    ),
    "FSDP, one file": (
        ["pytorch_model_fsdp.bin", "optimizer.bin"],
        "FSDP (one file)",
        "mv pytorch_model_fsdp.bin pytorch_model.bin",
    ),
    "torch.distributed.checkpoint": (
        [".metadata", "__0_0.distcp", "__1_0.distcp"],
        "torch.distributed.checkpoint",
        "python -m torch.distributed.checkpoint.format_utils dcp_to_torch <folder>",
    ),
    "OLMo-core": (
        ["model_and_optim/.metadata", "model_and_optim/__0_0.distcp", "train/rank0.pt"],
        "OLMo-core",
        "--checkpoint-input-path <folder> --huggingface-output-dir <out> --dtype float32",
    ),
    "Megatron-LM, legacy": (
        [
            "latest_checkpointed_iteration.txt",
            "iter_0000500/mp_rank_00/model_optim_rng.pt",
            "iter_0000500/mp_rank_01/model_optim_rng.pt",
        ],
        "Megatron-LM",
        "convert_checkpoints.py export",
    ),
    "Megatron-LM, the folder of a step": (
        ["mp_rank_00_000/model_optim_rng.pt"],
        "Megatron-LM",
        "Megatron-Bridge",
    ),
    "Megatron-LM, distributed": (
        [".metadata", "__0_0.distcp", "common.pt", "metadata.json"],
        "Megatron-LM",
        "Megatron-Bridge",
    ),
    "NeMo 1": (["model.nemo"], "NeMo 1", "--hf_output_path <out>"),
    "NeMo 1, extracted": (
        ["model_config.yaml", "model_weights/metadata.json", "model_weights/common.pt"],
        "NeMo 1",
        "nemo_to_hf.py",
    ),
    "NeMo 2": (
        ["context/io.json", "context/model.yaml", "weights/.metadata", "weights/__0_0.distcp"],
        "NeMo 2",
        "nemo llm export path=<folder> target=hf",
    ),
    "Lightning": (["epoch=0-step=500.ckpt", "hparams.yaml"], "Lightning", "state_dict"),
    "Lightning, folder of a run": (
        ["checkpoints/last.ckpt", "hparams.yaml", "metrics.csv"],
        "Lightning",
        "state_dict",
    ),
    "Lightning, sharded": (
        [".metadata", "__0_0.distcp", "meta.pt"],
        "Lightning (sharded)",
        "consolidate_checkpoint",
    ),
    "nanoGPT": (["ckpt.pt"], "nanoGPT", "GPT2LMHeadModel"),
    "Llama": (
        ["consolidated.00.pth", "consolidated.01.pth", "params.json", "tokenizer.model"],
        "original Llama",
        "--num_shards <number of .pth files>",
    ),
    "Mistral": (
        ["consolidated.safetensors", "params.json", "tekken.json"],
        "original Mistral",
        "convert_mistral_weights_to_hf.py <folder> <out>",
    ),
    "OLMo": (
        ["config.yaml", "model.pt", "optim.pt", "train.pt"],
        "OLMo",
        "convert_olmo_to_hf_new.py --input_dir <folder>",
    ),
    "OLMo, sharded": (
        ["config.yaml", "model/rank0.pt", "optim/rank0.pt", "train/rank0.pt"],
        "OLMo (sharded)",
        "unshard.py <folder> <unsharded> --model-only",
    ),
    "LitGPT": (
        ["lit_model.pth", "model_config.yaml", "tokenizer.json", "hyperparameters.yaml"],
        "LitGPT",
        "litgpt convert_from_litgpt <folder> <out>",
    ),
    "TensorFlow of transformers": (["tf_model.h5"], "TensorFlow", "from_tf=True"),
    "TensorFlow 1": (
        ["model.ckpt.index", "model.ckpt.meta", "model.ckpt.data-00000-of-00001", "checkpoint"],
        "TensorFlow",
        "save_pretrained",
    ),
    "Flax": (["flax_model.msgpack"], "Flax", "from_flax=True"),
    "Orbax": (
        ["_CHECKPOINT_METADATA", "default/manifest.ocdbt", "default/d/1a2b"],
        "JAX (Orbax)",
        "save_pretrained",
    ),
    "MLX": (["weights.npz", "tokenizer.model"], "MLX", "model.safetensors"),
    "GGUF": (["model-q4_k_m.gguf"], "GGUF", "measure the checkpoint from which it was made"),
    "ONNX": (["onnx/model.onnx", "onnx/model.onnx_data"], "ONNX", "measure the checkpoint"),
    "Composer": (["ep0-ba500-rank0.pt"], "Composer", "convert_composer_to_hf.py"),
    "fairseq": (["checkpoint_best.pt", "checkpoint_last.pt", "dict.txt"], "fairseq", "with fairse"),
    "another name": (["weights.safetensors"], "weights.safetensors", "rename it to"),
}
POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 1234567\n"


@pytest.fixture
def folder(tmp_path, make_checkpoint):
    make_checkpoint(tmp_path / "model")
    return tmp_path / "model"


def touch(folder, names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_bytes(b"x")


def configure(folder, **more):
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(config | more), encoding="utf-8")


def refusals(folder):
    """Return the status of a folder, and the message of the loader."""
    (status,) = inspect(folder).status
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    return status, str(caught.value)


@pytest.mark.parametrize(("names", "layout", "advice"), OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("has_config", [True, False])
def test_layout_is_named_with_what_to_do(folder, names, layout, advice, has_config, capsys):
    (folder / "model.safetensors").unlink()
    if not has_config:
        (folder / "config.json").unlink()
    touch(folder, names)
    status, message = refusals(folder)
    assert status == f"other_layout: {message}"
    assert layout in message
    assert advice in message
    assert len(message) < 400
    assert cli.main(["checkpoint", str(folder)]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("names", "layout", "advice"), OTHERS.values(), ids=OTHERS)
def test_weights_beside_another_layout_are_measured(folder, names, layout, advice):
    touch(folder, [*names, "optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"])
    assert inspect(folder).status == ()
    load(folder)


@pytest.mark.parametrize(
    "names",
    [
        [
            "training_args.bin",
            "optimizer.pt",
            "scheduler.pt",
            "rng_state_0.pth",
            "trainer_state.json",
        ],
        ["README.md", "generation_config.json"],
        ["model-00001-of-00002.safetensors"],
    ],
)
def test_folder_without_weights_is_no_other_layout(folder, names):
    (folder / "model.safetensors").unlink()
    touch(folder, names)
    assert inspect(folder).status == ("missing_weights",)


def test_adapter_that_was_trained_with_deepspeed_is_no_other_layout(folder):
    (folder / "model.safetensors").unlink()
    touch(folder, ["adapter_config.json", "adapter_model.bin", "global_step5/mp_rank_00.pt"])
    assert not any(status.startswith("other_layout") for status in inspect(folder).status)


def test_placeholders_are_code_in_the_documentation():
    for layout in layouts.LAYOUTS:
        assert "<" not in re.sub("`[^`]*`", "", layout.advice)


@pytest.mark.parametrize("beside", [[], ["global_step5/mp_rank_00_model_states.pt"]])
@pytest.mark.parametrize("kind", ["safetensors", "bin"])
def test_empty_weights_of_zero_3_are_named(folder, beside, kind):
    weights = load_file(folder / "model.safetensors")
    empty = {name: torch.zeros(0, dtype=torch.bfloat16) for name in weights}
    if kind == "bin":
        (folder / "model.safetensors").unlink()
        torch.save(empty, folder / "pytorch_model.bin")
    else:
        save_file(empty, folder / "model.safetensors", metadata={"format": "pt"})
    touch(folder, beside)
    advice = "zero_to_fp32.py" if beside else "stage3_gather_16bit_weights_on_model_save"
    with pytest.raises(CheckpointError, match=f"weights have size 0.*ZeRO-3.*{advice}"):
        load(folder)


@pytest.mark.parametrize(
    "name",
    [
        *("model.safetensors", "pytorch_model.bin", "config.json"),
        *("model-00001-of-00002.safetensors", "model.safetensors.index.json"),
    ],
)
def test_git_lfs_pointer_is_named(folder, name):
    if "bin" in name:
        (folder / "model.safetensors").unlink()
    if "-of-" in name or "index" in name:
        shard(folder)
    (folder / name).write_text(POINTER, encoding="utf-8")
    status, message = refusals(folder)
    assert status == f"lfs_pointer: {message}"
    assert message == f"{name} is a Git LFS pointer, not the file itself; run `git lfs pull`"


def test_several_git_lfs_pointers_are_counted(folder):
    shard(folder, 5)
    for path in folder.glob("model-*.safetensors"):
        path.write_text(POINTER, encoding="utf-8")
    assert "-of-00005.safetensors and 2 more are Git LFS pointers" in refusals(folder)[0]


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer.model"])
def test_git_lfs_pointer_of_a_tokenizer_is_named(folder, name):
    (folder / name).write_text(POINTER, encoding="utf-8")
    with pytest.raises(CheckpointError, match=f"{name} is a Git LFS pointer.*git lfs pull"):
        load_tokenizer(folder, TEXT)


QUANTIZED = {
    "bitsandbytes": {"quant_method": "bitsandbytes", "load_in_4bit": True},
    "bitsandbytes, old": {"load_in_8bit": True},
    "gptq": {"quant_method": "gptq", "bits": 4},
    "awq": {"quant_method": "awq", "bits": 4},
    "fp8": {"quant_method": "fp8", "activation_scheme": "dynamic"},
    "hqq": {"quant_method": "hqq", "quant_config": {}},
    "torchao": {"quant_method": "torchao", "quant_type": "int4_weight_only"},
    "compressed-tensors": {"quant_method": "compressed-tensors", "config_groups": {}},
}


@pytest.mark.parametrize("settings", QUANTIZED.values(), ids=QUANTIZED)
@pytest.mark.parametrize("is_nested", [False, True])
def test_quantized_weights_are_refused_before_a_package_is_imported(folder, settings, is_nested):
    more = {"quantization_config": settings}
    configure(folder, **({"text_config": more} if is_nested else more))
    status, message = refusals(folder)
    assert status == f"quantized: {message}"
    assert "the weights are quantised (quantization_config" in message
    assert "model.dequantize()" in message
    assert settings.get("quant_method", "") in message


@pytest.mark.parametrize(
    "parts",
    [
        ("qweight", "qzeros", "scales"),
        ("weight", "weight.absmax", "weight.quant_map", "weight.quant_state.bitsandbytes__nf4"),
        ("weight", "SCB"),
        ("weight", "weight_scale_inv"),
        ("weight_packed", "weight_scale", "weight_shape"),
        ("W_q", "scale", "zero"),
        ("weight", "scales", "biases"),
    ],
)
def test_quantized_weights_are_refused_by_the_names_of_tensors(folder, parts):
    weights = load_file(folder / "model.safetensors")
    place = "model.layers.0.mlp.up_proj."
    del weights[f"{place}weight"]
    weights |= {f"{place}{part}": torch.ones(4, 4, dtype=torch.uint8) for part in parts}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"the weights are quantised \(model\.layers\.0"):
        load(folder)


def test_ignored_weights_are_not_taken_for_quantised_weights(folder):
    weights = load_file(folder / "model.safetensors")
    weights |= {f"model.layers.0.{name}": torch.ones(1) for name in ("scales", "layer_scale")}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    load(folder, ignored_weights=["scales?$"])
    with pytest.raises(CheckpointError, match="are not used by the model"):
        load(folder, ignored_weights=["scales$"])


def test_empty_quantization_config_is_ignored(folder):
    configure(folder, quantization_config=None)
    load(folder)


def test_file_of_a_checkpoint_is_named(tmp_path, capsys):
    path = tmp_path / "model.nemo"
    path.write_bytes(b"x")
    assert cli.main(["checkpoint", str(path)]) == 2
    assert "the layout is NeMo 1 (model.nemo)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "config", "status"),
    [
        (["step5/model.gguf", "README.md"], {}, "other_layout: the layout is GGUF (model.gguf)"),
        (["step5/onnx/model.onnx"], {}, "other_layout: the layout is ONNX (onnx/model.onnx)"),
        (["step5/model.safetensors", "step5/model.gguf"], {}, None),
        (
            ["step5/model.safetensors"],
            {"quantization_config": {"quant_method": "awq"}},
            "quantized: the weights are quantised (quantization_config: awq)",
        ),
    ],
)
def test_layout_of_a_repository_is_named_before_the_download(names, config, status):
    tree = [File(name, 1, "a", "b") for name in [*names, "step5/config.json"]]
    repository = Repository(trees={"c": tree}, config=config)
    listed = Listed("run", "step5", repository="org/a", commit="c", inside="step5")
    found = runs._with_files(listed, repository, False).status
    assert [s.partition(":")[0] for s in found] == ([status.partition(":")[0]] if status else [])
    assert not status or found[0].startswith(status)


def test_trainer_folder_with_all_kinds_of_files_is_measured(folder):
    for name in ("global_step500/mp_rank_00_model_states.pt", "zero_to_fp32.py", "latest"):
        touch(folder, [name])
    shutil.copy(folder / "model.safetensors", folder / "adapter.safetensors")
    assert inspect(folder).status == ()
    assert load(folder).num_parameters() > 0
