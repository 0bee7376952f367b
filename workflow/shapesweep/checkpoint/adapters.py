"""LoRA adapters: checkpoints that contain changes of the weights of a base model.

peft merges the adapter into the base model, in float32. The result is a model of the base's class.
"""

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from shapesweep.checkpoint import files, layouts
from shapesweep.checkpoint.facts import MAX_PARTS, description
from shapesweep.checkpoint.files import ADAPTER, Digest, Inspection, is_adapter, model_files
from shapesweep.checkpoint.pinned import only_pinned
from shapesweep.checkpoint.prefixes import without_wrappers
from shapesweep.errors import (
    CheckpointError,
    UnexpectedError,
    described,
    listed,
    printable,
    raise_if_memory,
)

#: Keys of `adapter_config.json` that peft honours when it merges an adapter, and keys that concern
#: only training. Any other key must have its default: it may change the base model or the forward
#: pass in a way that merging ignores, or name modules to import.
KNOWN = {
    *("r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora", "lora_bias"),
    *("target_modules", "exclude_modules", "target_parameters", "fan_in_fan_out", "bias"),
    *("layers_to_transform", "layers_pattern", "modules_to_save", "trainable_token_indices"),
    *("ensure_weight_tying", "init_lora_weights", "lora_dropout"),
    *("eva_config", "loftq_config", "corda_config", "lora_ga_config"),
    *("peft_type", "peft_version", "task_type", "auto_mapping", "inference_mode"),
    *("base_model_name_or_path", "revision", "megatron_core", "qalora_group_size"),
}
#: Initial weights that leave the base model as it is, or (`pissa` and `olora`) change it by a
#: factorization of its weights, which peft computes again.
INITIAL = (True, False, "gaussian", "orthogonal", "eva", "pissa", "olora")


def inspect(
    folder: str | Path, base: str | Path | None = None, digest: Digest | None = None
) -> Inspection:
    """Describe a checkpoint, which may be an adapter, without loading it.

    Parameters
    ----------
    folder : path-like
    base : path-like, optional
        Folder of the base model, if it is known.
    digest : callable, optional
        Function that computes the sha256 of a file. Without a function, files are not hashed.

    Returns
    -------
    Inspection
        For an adapter, `config` is that of the base model, and `files` and `commit` include the
        files of the base model, which have absolute paths.
    """
    if not is_adapter(folder):
        return files.inspect(folder, digest)
    paths = model_files(folder)
    mine = files.local_files(paths, digest)
    settings = description(folder, ADAPTER[0])
    status = [] if settings else [f"damaged:{ADAPTER[0]}"]
    status += [f"unreadable:{file.path}" for file in mine if digest and file.sha256 is None]
    if len(paths) == 1:
        status.append("missing_weights")
    elif paths[1].suffix == ".safetensors" and not files.whole_safetensors(paths[1]):
        status.append(f"damaged:{paths[1].name}")
    if base is None:
        status.append(f"adapter_without_base: {_advice(settings or {})}")
        return Inspection({}, mine, "", tuple(status))
    theirs = files.inspect(base, digest)
    contents = [(file.path, file.sha256) for file in mine]
    return Inspection(
        theirs.config,
        (*mine, *(_absolute(file, Path(base)) for file in theirs.files)),
        files.pin([*contents, ("base", theirs.commit)]) if digest else "",
        (*status, *(f"base:{defect}" for defect in theirs.status)),
    )


def _absolute(file: files.LocalFile, folder: Path) -> files.LocalFile:
    return dataclasses.replace(file, path=str((folder / file.path).absolute()))


def _advice(settings: Mapping[str, Any]) -> str:
    """Return what to write in a definition, so that an adapter can be measured."""
    name = settings.get("base_model_name_or_path")
    of = f" ({printable(name)[:80]})" if isinstance(name, str) and name else ""
    return (
        f"set the key base of the run to the model that the adapter changes{of}: a folder, or "
        "org/name@<commit>"
    )


@contextlib.contextmanager
def errors_of_base() -> Iterator[None]:
    """Say in messages that the base model cannot be loaded."""
    try:
        yield
    except CheckpointError as error:
        raise type(error)(f"its base model: {error}") from error.__cause__


def merge(model: Any, folder: Path) -> Any:
    """Merge an adapter into its base model.

    Parameters
    ----------
    model : transformers.PreTrainedModel
        The base model in float32. It is changed in place.
    folder : Path
        Folder of the adapter. Only the files that `files.model_files` returns are read.

    Returns
    -------
    transformers.PreTrainedModel
        The model with merged weights, which has the class of the base model.

    Raises
    ------
    CheckpointError
        If the adapter is of another kind than LoRA, or uses options that cannot be merged; if a
        file is damaged; or if the weights of the adapter do not fit the base model.
    """
    import peft
    import torch

    if not is_adapter(folder):
        raise CheckpointError("has a base model, but is not an adapter")
    paths = model_files(folder)
    settings = description(folder, ADAPTER[0])
    if not settings or len(paths) == 1:
        raise CheckpointError(f"{ADAPTER[0]} is damaged" if not settings else "missing_weights")
    _check_settings(settings, model)
    saved = _weights(paths[1])
    stored = {_plain(name): tensor for name, tensor in saved.items()}
    if len(stored) < len(saved):
        raise CheckpointError(f"{paths[1].name} contains weights twice, with and without a prefix")
    with only_pinned(folder) as pinned:
        name = str(pinned)
        if stored.keys() != saved.keys():
            _write(stored, pinned)
        # peft initialises weights before it reads them. Other random numbers must not change.
        with torch.random.fork_rng(devices=[]), _as_checkpoint_errors(name):
            adapted = peft.PeftModel.from_pretrained(
                model,
                name,
                config=peft.PeftConfig.from_pretrained(name),
                torch_device="cpu",
                # Weights of the wrong shape are found by comparison below.
                ignore_mismatched_sizes=True,
            )
            _check_weights(adapted, stored)
            _untie(adapted)
            merged = adapted.merge_and_unload()
    weights = dict(merged.named_parameters(remove_duplicate=False))
    # An adapter may contain a head that the base model lacks.
    merged.missing_weights = [
        name for name in merged.missing_weights if not torch.isfinite(weights[name]).all()
    ]
    return merged.eval()


def _check_settings(settings: Mapping[str, Any], model: Any) -> None:
    """Raise an error if an adapter cannot be merged into a model, according to its settings."""
    import peft

    kind = settings.get("peft_type")
    if kind != "LORA":
        raise CheckpointError(
            f"{ADAPTER[0]}: peft_type is {kind!r:.80}, but only adapters of the type LORA can be "
            "measured"
        )
    patterns = settings.get("rank_pattern")
    ranks = [settings.get("r"), *(patterns.values() if isinstance(patterns, dict) else ())]
    # peft allocates the weights of an adapter before it reads them.
    if any(isinstance(rank, int) and rank > MAX_PARTS for rank in ranks):
        raise CheckpointError(f"{ADAPTER[0]}: a rank is above {MAX_PARTS:,}")
    mapping = settings.get("auto_mapping") or {}
    library = mapping.get("parent_library") if isinstance(mapping, dict) else None
    if mapping and not str(library).startswith("transformers."):
        raise CheckpointError(
            f"{ADAPTER[0]}: auto_mapping names the module {library!r:.80}, but remote code of "
            "adapters is never run"
        )
    trained, mine = mapping.get("base_model_class"), type(model).__name__
    if mapping and trained != mine:
        raise CheckpointError(f"the adapter belongs to a {trained!r:.80}, but its base is a {mine}")
    initial = settings.get("init_lora_weights", True)
    if initial not in INITIAL:
        raise CheckpointError(
            f"{ADAPTER[0]}: init_lora_weights is {initial!r:.80}, which changes the base model in "
            "a way that the files do not record; convert the adapter with peft (`save_pretrained` "
            "with path_initial_model_for_weight_conversion)"
        )
    fields = {field.name: field for field in dataclasses.fields(peft.LoraConfig)}
    for key, value in settings.items():
        default = fields[key].default if key in fields else None
        # Values of unused options of newer versions of peft are empty.
        if key not in KNOWN and value and value != default and key != "runtime_config":
            raise CheckpointError(f"{ADAPTER[0]}: {key[:80]} is not supported")


def _weights(path: Path) -> dict[str, Any]:
    """Read the weights of an adapter, and check that they are finite."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            stored = load_file(path)
        else:
            stored = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises all kinds of errors for damaged files
        raise_if_memory(error)
        if "Weights only load failed" in str(error):
            raise CheckpointError(
                f"{path.name} contains objects other than tensors, so the file is not read"
            ) from None
        known = isinstance(error, SafetensorError | OSError | RuntimeError | ValueError | EOFError)
        kind = CheckpointError if known else UnexpectedError
        raise kind(f"{path.name} is damaged: {described(error)}") from None
    if not isinstance(stored, dict) or not all(map(torch.is_tensor, stored.values())):
        raise CheckpointError(f"{path.name} contains objects other than tensors")
    if any(tensor.numel() == 0 for tensor in stored.values()):
        raise CheckpointError(layouts.empty_weights(path.parent))
    for name, tensor in stored.items():
        # Not all operations exist for floats of 8 bits.
        if not torch.isfinite(tensor.double()).all():
            raise CheckpointError(f"{path.name}: {name} holds NaN or infinite values")
    return stored


def _plain(name: str) -> str:
    """Return the name of a weight as peft saves it.

    Wrappers of a model add prefixes. If the weights were saved without peft, their names contain
    the name of the adapter, `default`.
    """
    return re.sub(r"(\.lora_\w+)\.default(?=\.|$)", r"\1", without_wrappers(name))


def _write(stored: Mapping[str, Any], folder: Path) -> None:
    """Replace the weights of an adapter in a temporary folder."""
    from safetensors.torch import save_file

    for name in ADAPTER[1:]:
        (folder / name).unlink(missing_ok=True)
    # Tensors in a safetensors file share no memory.
    save_file({name: tensor.clone() for name, tensor in stored.items()}, folder / ADAPTER[1])


@contextlib.contextmanager
def _as_checkpoint_errors(folder: str) -> Iterator[None]:
    """Convert errors of peft, and leave out the path of the temporary folder."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # peft raises all kinds of errors for unusual settings
        raise_if_memory(error)
        if isinstance(error, KeyError):
            raise CheckpointError(f"weights of the adapter are missing: {error}") from None
        reason = described(error).replace(f"{folder}/", "")
        # peft explains in a ValueError why an adapter does not fit its base model.
        kind = CheckpointError if isinstance(error, ValueError) else UnexpectedError
        raise kind(f"the adapter does not fit its base model: {reason}") from error


def _check_weights(adapted: Any, stored: Mapping[str, Any]) -> None:
    """Check that a model contains exactly the weights of an adapter.

    peft only warns about missing weights, and ignores weights that it does not know.
    """
    import peft

    # With False, peft does not look for the base model on the Hub.
    expected = peft.get_peft_model_state_dict(adapted, save_embedding_layers=False)
    # Whole embeddings may be stored beside the adapter.
    held = {**adapted.state_dict(), **expected}
    of = f"its base model, a {type(adapted.get_base_model()).__name__}"
    both = stored.keys() & held.keys()
    misshapen = {name for name in both if stored[name].shape != held[name].shape}
    for names, words in (
        (expected.keys() - stored.keys(), "weights of the adapter are missing"),
        (stored.keys() - held.keys(), f"weights of the adapter are not used by {of}"),
        (misshapen, f"weights of the adapter have another shape than in {of}"),
        (
            {n for n in both - misshapen if not stored[n].to(held[n].dtype).equal(held[n])},
            "peft changes weights of the adapter when it loads them",
        ),
    ):
        if names:
            raise CheckpointError(f"{words}: {listed(sorted(names))}")


def _untie(adapted: Any) -> None:
    """Give every adapted module its own weights, so that merging changes no other module.

    If a head is tied to the embedding, only one of them is adapted in the forward pass.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer
    from torch.nn import Parameter

    shared: dict[int, int] = {}
    for weights in dict(adapted.named_parameters(remove_duplicate=False)).values():
        shared[id(weights)] = shared.get(id(weights), 0) + 1
    for module in adapted.modules():
        if isinstance(module, BaseTunerLayer):
            layer = module.get_base_layer()
            weights = getattr(layer, "weight", None)
            if weights is not None and shared.get(id(weights), 0) > 1:
                layer.weight = Parameter(weights.detach().clone(), requires_grad=False)
