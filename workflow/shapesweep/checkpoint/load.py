"""The checkpoint: weights, verified. Nothing is trusted because of its name.

Takes in a folder in Hugging Face format; hands on what its files are and a model
whose every weight was found, has the right shape, and is finite.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shapesweep.checkpoint.facts import MAX_PARTS, architecture, description
from shapesweep.checkpoint.files import WEIGHTS, tokenizer_files
from shapesweep.errors import CheckpointError, raise_if_memory


def load(
    folder: str | Path,
    ignored_weights: Sequence[str] = (),
    remote_code: bool = False,
) -> Any:
    """Load a checkpoint by its own class, in float32, and check every weight.

    Parameters
    ----------
    folder : path-like
    ignored_weights : sequence of str
        Regular expressions of weights that may be without a place in the model, besides those
        that its class itself ignores.
    remote_code : bool
        Whether to run code that lies in the folder, where transformers has none of that name.

    Returns
    -------
    transformers.PreTrainedModel
        On the CPU, in evaluation mode.

    Raises
    ------
    CheckpointError
        If a weight is missing, superfluous, of another shape or not finite, if the file
        is damaged, or if the model needs code of its own.
    """
    import torch
    import transformers

    folder = Path(folder)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    config = description(folder)
    if not config:
        raise CheckpointError("config.json is missing or damaged")
    _check_counts(config)
    named = architecture(config)
    model_class: Any = getattr(transformers, named, None) if named else None
    is_remote = not hasattr(model_class, "from_pretrained")
    if is_remote and not isinstance(config.get("auto_map"), dict):
        raise CheckpointError(f"config.json names no architecture that transformers has: {named!r}")
    if is_remote:
        model_class = _remote_class(config, remote_code)
    try:
        model, loaded = model_class.from_pretrained(
            folder,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=is_remote and remote_code,
            weights_only=True,
            use_safetensors=(None if _has_safetensors(folder) else False),
            # Only so that they are reported: below, any is an error.
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except Exception as error:  # whatever a damaged file makes a loader raise is its own reason
        raise_if_memory(error)
        if "Weights only load failed" in str(error):
            # torch advises to unpickle it after all; whoever reads this should not.
            raise CheckpointError("its pickle holds more than tensors, and is not read") from None
        raise CheckpointError(f"cannot be loaded: {_one_line(error, folder)}") from None
    for kind, words in (
        ("missing_keys", "weights are missing"),
        ("unexpected_keys", "weights have no place in the model"),
        ("mismatched_keys", "weights have another shape"),
    ):
        keys = sorted(str(k[0] if isinstance(k, tuple) else k) for k in loaded.get(kind, ()))
        if kind == "unexpected_keys":
            keys = [key for key in keys if not any(re.search(p, key) for p in ignored_weights)]
        if keys:
            more = f" and {len(keys) - 4} more" if len(keys) > 4 else ""
            raise CheckpointError(f"{words}: {', '.join(keys[:4])}{more}")
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CheckpointError(f"{name} holds NaN or infinite values")
    # Keys and values of a document are not needed again.
    model.config.use_cache = False
    return model.eval()


def load_tokenizer(folder: str | Path) -> Any:
    """The tokenizer of a checkpoint: from its folder, else from the run's folder above it.

    Raises
    ------
    CheckpointError
        If neither has one.
    """
    import transformers

    transformers.logging.set_verbosity_error()
    files = tokenizer_files(folder)
    if not files:
        raise CheckpointError("has no tokenizer, and neither has the folder above it")
    tokenizer_folder = files[0].parent
    for name in ("tokenizer_config.json", "config.json"):
        code = (description(tokenizer_folder, name) or {}).get("auto_map")
        if isinstance(code, dict) and "AutoTokenizer" in code:
            raise CheckpointError("its tokenizer needs remote code, which is never run")
    try:
        return transformers.AutoTokenizer.from_pretrained(
            tokenizer_folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        raise_if_memory(error)
        reason = _one_line(error, tokenizer_folder)
        raise CheckpointError(f"its tokenizer cannot be loaded: {reason}") from None


def _remote_class(config: dict[str, Any], allowed: bool) -> Any:
    """The transformers class that finds a model's own code, which must lie beside its weights."""
    import transformers

    auto_map = config["auto_map"]
    if not allowed:
        raise CheckpointError("needs remote code, which is not run unless hub.remote_code says so")
    named = [key for key in ("AutoModelForCausalLM", "AutoModelForMaskedLM") if key in auto_map]
    # `org/name--file.Class` would be fetched from elsewhere, at whatever commit is there now.
    if not named or "--" in json.dumps(auto_map):
        raise CheckpointError("needs remote code that does not lie in its own repository")
    return getattr(transformers, named[0])


def _check_counts(config: Mapping[str, Any]) -> None:
    """Refuse a configuration that has, at any depth, too many layers or experts."""
    for key, value in config.items():
        if isinstance(value, dict):
            _check_counts(value)
        is_count = re.search("layer|expert", key) and not re.search("size|dim|capacity", key)
        if is_count and isinstance(value, int) and value > MAX_PARTS:
            raise CheckpointError(f"config.json: {key[:80]} is above {MAX_PARTS:,}")


def _has_safetensors(folder: Path) -> bool:
    return any((folder / name).is_file() for name in WEIGHTS[:2])


def _one_line(error: Exception, folder: Path) -> str:
    text = re.sub(r"\s+", " ", str(error))
    # Only a whole path: the folder's name may also be part of another path, or of an address.
    text = re.sub(rf"(?<![\w./-]){re.escape(str(folder))}/", "", text)
    if folder.is_absolute():
        text = text.replace(str(folder), "")
    text = text.strip() or type(error).__name__
    return text if len(text) <= 200 else text[:199] + "…"
