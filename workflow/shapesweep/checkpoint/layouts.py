"""Name checkpoints that are not in the Hugging Face format, and say how to convert them.

A layout is recognised by names of files and folders, a Git LFS pointer by the first bytes of a
file, and quantised weights by `config.json` or by the names of their tensors. Nothing is loaded.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from shapesweep.errors import printable
from shapesweep.storage.files import pointer_problem


@dataclass(frozen=True)
class Layout:
    """Files of another program.

    Attributes
    ----------
    name : str
    signs : tuple of str
        The layout is recognised by any of these signs. A sign is a pattern for a path relative to
        the checkpoint. Several patterns, separated by a blank, must all match.
    advice : str
        What to do. `<folder>` is the checkpoint, and `<out>` a new folder.
    """

    name: str
    signs: tuple[str, ...]
    advice: str


_ZERO = "python zero_to_fp32.py . . --safe_serialization"
_NEOX = (
    "in GPT-NeoX, run `python tools/ckpts/convert_neox_to_hf.py --input_dir {} --config_file "
    "<config.yml> --output_dir <out>`"
)
_OLMO = (
    "`python scripts/convert_olmo_to_hf_new.py --input_dir {} --output_dir <out> "
    "--tokenizer_json_path <tokenizer.json>`"
)
_MEASURE_ORIGINAL = "measure the checkpoint from which it was made"
_SAVE = (
    "load the weights into the model's class in transformers, and call `save_pretrained('<out>')`"
)
_OLD_TRANSFORMERS = (
    "install `transformers<5` and `{0}`, and run `AutoModelForCausalLM.from_pretrained('<folder>', "
    "from_{1}=True).save_pretrained('<out>')`"
)

#: Layouts in the order in which they are tried. Layouts that contain others come first.
LAYOUTS = (
    Layout(
        "GPT-NeoX (DeepSpeed pipeline)",
        ("layer_*-model_*-model_states.pt",),
        _NEOX.format("<folder>"),
    ),
    Layout(
        "GPT-NeoX (DeepSpeed pipeline)",
        ("global_step*/layer_*-model_*-model_states.pt",),
        _NEOX.format("<folder>/global_step<N>"),
    ),
    Layout(
        "NeMo 1",
        ("*.nemo", "model_config.yaml model_weights", "model_weights.ckpt"),
        "in NeMo, run `python scripts/checkpoint_converters/convert_<model>_nemo_to_hf.py "
        "--input_name_or_path <folder> --output_path <weights.bin> --hf_input_path <folder of the "
        "model on the Hub> --hf_output_path <out>`",
    ),
    Layout(
        "NeMo 2",
        ("context weights", "context/model.yaml", "context/io.json"),
        "run `nemo llm export path=<folder> target=hf output_path=<out>`",
    ),
    Layout(
        "Megatron-LM",
        (
            *("latest_checkpointed_iteration.txt", "latest_train_state.pt", "iter_[0-9]*"),
            *("mp_rank_*/model_*.pt", "release/mp_rank_[0-9]*", "common.pt"),
            *("metadata.json __*.distcp", "run_config.yaml __*.distcp", "model_optim_rng.pt"),
        ),
        "in Megatron-Bridge, run `python examples/conversion/convert_checkpoints.py export "
        "--hf-model <model on the Hub> --megatron-path <folder> --hf-path <out>`",
    ),
    Layout(
        "DeepSpeed ZeRO",
        ("zero_to_fp32.py", "global_step*", "*/mp_rank_*_model_states.pt"),
        f"in the folder, run `{_ZERO}`",
    ),
    Layout(
        "DeepSpeed ZeRO",
        ("*_optim_states.pt", "mp_rank_*_model_states.pt", "zero_pp_rank_*_model_states.pt"),
        "in the folder above, run `python zero_to_fp32.py . <out> --tag <name of this folder> "
        "--safe_serialization`",
    ),
    Layout(
        "Lightning (sharded)",
        ("meta.pt .metadata", "meta.pt __*.distcp", "*.ckpt/.metadata", "*.ckpt/__*.distcp"),
        "run `python -m lightning.pytorch.utilities.consolidate_checkpoint <folder>`, and then "
        f"{_SAVE}",
    ),
    Layout(
        "OLMo-core",
        ("model_and_optim",),
        "in OLMo-core, run `python src/examples/huggingface/convert_checkpoint_to_hf.py "
        "--checkpoint-input-path <folder> --huggingface-output-dir <out> --dtype float32`",
    ),
    Layout(
        "FSDP (sharded)",
        ("pytorch_model_fsdp_[0-9]*",),
        "in the folder, run `accelerate merge-weights pytorch_model_fsdp_0 .`",
    ),
    Layout(
        "FSDP (one file)",
        ("pytorch_model_fsdp.bin",),
        "in the folder, run `mv pytorch_model_fsdp.bin pytorch_model.bin`",
    ),
    Layout(
        "torch.distributed.checkpoint",
        (".metadata", "__*.distcp", "*/__*.distcp"),
        "run `python -m torch.distributed.checkpoint.format_utils dcp_to_torch <folder> "
        f"weights.pt`, and then {_SAVE}",
    ),
    Layout(
        "LitGPT",
        ("lit_model*.pth",),
        "run `litgpt convert_from_litgpt <folder> <out>`, rename `<out>/model.pth` to "
        "pytorch_model.bin, and copy config.json into the folder `<out>`",
    ),
    Layout(
        "original Llama",
        ("consolidated.*.pth", "params.json *.pth"),
        "in the sources of transformers, run `python "
        "src/transformers/models/llama/convert_llama_weights_to_hf.py --input_dir <folder> "
        "--output_dir <out> --num_shards <number of .pth files> --llama_version <version>`",
    ),
    Layout(
        "original Mistral",
        ("consolidated*.safetensors", "params.json *.safetensors"),
        "in the sources of transformers, run `python "
        "src/transformers/models/mistral/convert_mistral_weights_to_hf.py <folder> <out>`",
    ),
    Layout(
        "OLMo",
        ("config.yaml model.pt", "config.yaml model.safetensors"),
        f"in OLMo, run {_OLMO.format('<folder>')}",
    ),
    Layout(
        "OLMo (sharded)",
        ("config.yaml model train",),
        "in OLMo, run `python scripts/unshard.py <folder> <unsharded> --model-only`, and then "
        + _OLMO.format("<unsharded>"),
    ),
    Layout(
        "nanoGPT",
        ("ckpt.pt",),
        "copy its weights into a GPT2LMHeadModel, whose linear weights are transposed, and call "
        "`save_pretrained('<out>')`",
    ),
    Layout(
        "Composer",
        ("*-rank*.pt", "ep*-ba*.pt"),
        "in LLM Foundry, run `python scripts/inference/convert_composer_to_hf.py --composer_path "
        "<file> --hf_output_path <out>`",
    ),
    Layout(
        "fairseq",
        ("checkpoint_last.pt", "checkpoint_best.pt", "checkpoint_[0-9]*.pt", "checkpoint[0-9]*.pt"),
        f"with fairseq, {_SAVE}",
    ),
    Layout(
        "TensorFlow",
        ("tf_model*.h5", "tf_model*.h5.index.json"),
        _OLD_TRANSFORMERS.format("tensorflow", "tf"),
    ),
    Layout(
        "TensorFlow",
        (
            *("*.ckpt.index", "*.ckpt-*.index", "*.ckpt.meta", "*.ckpt-*.meta"),
            *("ckpt-*.index", "saved_model.pb", "*.h5", "*.keras", "*.data-*-of-*"),
        ),
        f"with the program that wrote it, {_SAVE}",
    ),
    Layout(
        "Flax",
        ("flax_model*.msgpack", "flax_model*.msgpack.index.json"),
        _OLD_TRANSFORMERS.format("flax", "flax"),
    ),
    Layout(
        "JAX (Orbax)",
        ("_CHECKPOINT_METADATA", "manifest.ocdbt", "*/manifest.ocdbt", "*/_METADATA", "*.msgpack"),
        f"with the program that wrote it, {_SAVE}",
    ),
    Layout(
        "MLX",
        ("weights.npz", "weights.*.npz", "weights.*.safetensors", "model.npz"),
        "rename its tensors as in transformers, and save them with safetensors as "
        "model.safetensors; if it was converted from the Hub, measure the original",
    ),
    Layout("GGUF", ("*.gguf", "ggml-*.bin"), f"its weights are quantised: {_MEASURE_ORIGINAL}"),
    Layout(
        "ONNX",
        ("*.onnx", "onnx/*.onnx", "*.onnx_data"),
        f"it cannot be converted back: {_MEASURE_ORIGINAL}",
    ),
    Layout(
        "OpenVINO",
        ("openvino_*.xml", "openvino_*.bin"),
        f"it cannot be converted back: {_MEASURE_ORIGINAL}",
    ),
    Layout(
        "Lightning",
        ("*.ckpt", "checkpoints/*.ckpt"),
        f"take the weights from `torch.load('<file>')['state_dict']`, {_SAVE}",
    ),
    Layout(
        "torchtune",
        ("hf_model_*_*.pt", "ft-model-*.safetensors"),
        f"join its files, {_SAVE}",
    ),
)

#: Endings of files of weights, and files of weights that the Trainer and PEFT write beside a model.
_ENDINGS = (".pt", ".pth", ".bin", ".safetensors", ".ckpt", ".pkl")
_OTHER_FILES = (
    *("model.safetensors", "pytorch_model.bin", "optimizer*", "scheduler*", "scaler*"),
    *("training_args.*", "rng_state*", "random_states*"),
    *("*_states*.pt", "adapter_*", "model-*-of-*", "pytorch_model-*-of-*", "trainer_state*"),
)

#: Keys of a `config.json` that describe quantised weights.
_QUANTIZED_KEYS = ("quantization_config", "compression_config", "quantization")
#: Names of tensors that quantised weights have, and other weights lack.
_QUANTIZED_NAMES = re.compile(
    r"(.*[.:])?(qweight|qzeros|_?(weight_)?qdata|g_idx|absmax|quant_map|quant_state\..+|SCB|W_q|"
    r"weight_format|weight_scale|weight_scale_inv|weight_scale_2|weight_zero_point|weight_packed|"
    r"scales|_data|codebooks|(gate_up_proj|down_proj)_blocks)"
)


def find(names: Iterable[str]) -> str:
    """Name the layout of a checkpoint that has no weights in the Hugging Face format.

    Parameters
    ----------
    names : iterable of str
        Paths of files, relative to the checkpoint.

    Returns
    -------
    str
        `other_layout: `, the layout and what to do; empty if the layout is unknown.

    Examples
    --------
    >>> find(["tokenizer.json", "weights.gguf"])[:47]
    'other_layout: the layout is GGUF (weights.gguf)'
    """
    files = sorted(names)
    if "adapter_config.json" in files:
        return ""  # The weights of an adapter have their own format.
    known = {str(path) for name in files for path in (PurePosixPath(name), *_parents(name))}
    paths = sorted(known, key=lambda path: (path.count("/"), path))
    for layout in LAYOUTS:
        for sign in layout.signs:
            seen = [next((p for p in paths if _fits(p, one)), None) for one in sign.split()]
            if all(seen):
                found = printable(" and ".join(filter(None, seen)))
                return (
                    f"other_layout: the layout is {layout.name} ({found}), not Hugging Face: "
                    f"{layout.advice}"
                )
    for name in files:
        if name.endswith(_ENDINGS) and "/" not in name and not _is_beside(name):
            shown = printable(name)
            return (
                f"other_layout: {shown} is no name of weights in the Hugging Face format: rename "
                f"it to model.safetensors or pytorch_model.bin if it has this format, or {_SAVE}"
            )
    return ""


def names_in(folder: str | Path) -> list[str]:
    """Return the relative paths of the files and folders in a folder, up to two levels deep."""
    folder = Path(folder)
    return [
        path.relative_to(folder).as_posix()
        for pattern in ("*", "*/*")
        for path in folder.glob(pattern)
    ]


def quantized(config: Mapping[str, Any], names: Iterable[str] = ()) -> str:
    """Return why a checkpoint with quantised weights is refused; empty if they are not quantised.

    Parameters
    ----------
    config : dict
        The `config.json`.
    names : iterable of str
        Names of tensors that the model does not use.

    Examples
    --------
    >>> quantized({"quantization_config": {"quant_method": "gptq", "bits": 4}})[:57]
    'quantized: the weights are quantised (quantization_config'
    """
    method = _method(config)
    if not method:
        method = next((name for name in names if _QUANTIZED_NAMES.fullmatch(name)), "")
    if not method:
        return ""
    return (
        f"quantized: the weights are quantised ({method}), so the numbers would not be those of "
        "the trained model; measure the original checkpoint, or save a dequantised checkpoint "
        "(model.dequantize() in transformers, and then save_pretrained)"
    )


def refusal(folder: str | Path, files: Sequence[Path], config: Mapping[str, Any]) -> str:
    """Return why a folder is not a checkpoint in the Hugging Face format, and what to do.

    Parameters
    ----------
    folder : path-like
    files : sequence of Path
        Configuration and weights in the Hugging Face format (`files.model_files`).
    config : dict
        The `config.json`.

    Returns
    -------
    str
        A code, a colon and the reason: `lfs_pointer: …`, `quantized: …` or `other_layout: …`.
        Empty if nothing is wrong, or if the reason is unknown.
    """
    problem = pointer_problem(files)
    if problem:
        return f"lfs_pointer: {problem}"
    if any(path.name != "config.json" for path in files):
        return quantized(config)
    return find(names_in(folder)) or quantized(config)


def empty_weights(folder: str | Path) -> str:
    """Return why weights of size 0 are refused, and what to do."""
    is_here = find(names_in(folder)).startswith("other_layout: the layout is DeepSpeed")
    advice = (
        f"delete these files, and in the folder, run `{_ZERO}`"
        if is_here
        else "save the checkpoint again with stage3_gather_16bit_weights_on_model_save: true"
    )
    return (
        f"its weights have size 0, because DeepSpeed ZeRO-3 saved them without gathering: {advice}"
    )


def _method(config: Mapping[str, Any]) -> str:
    """Return the method of quantisation in a config, or in a config nested in it; empty if none."""
    for key, value in config.items():
        if not isinstance(value, Mapping) or not value:
            continue
        if key in _QUANTIZED_KEYS:
            named = value.get("quant_method") or value.get("quant_library") or value.get("bits")
            return printable(f"{key}: {named}"[:80]) if named else key
        nested = _method(value)
        if nested:
            return nested
    return ""


def _parents(name: str) -> Collection[PurePosixPath]:
    return [parent for parent in PurePosixPath(name).parents if str(parent) != "."]


def _fits(path: str, pattern: str) -> bool:
    """Return whether a path matches a pattern, in which `*` does not match a slash."""
    parts, wanted = path.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


def _is_beside(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in _OTHER_FILES)
