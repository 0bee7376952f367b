"""Load checkpoints, and verify that every weight exists, has the right shape and is finite."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shapesweep.checkpoint.facts import MAX_PARTS, architecture, description
from shapesweep.checkpoint.files import WEIGHTS
from shapesweep.errors import CheckpointError, UnexpectedError, described, raise_if_memory


def load(
    folder: str | Path,
    ignored_weights: Sequence[str] = (),
    remote_code: bool = False,
) -> Any:
    """Load a checkpoint in float32 with the class in its `config.json`, and check every weight.

    Parameters
    ----------
    folder : path-like
    ignored_weights : sequence of str
        Regular expressions for names of weights that the model may leave unused. The model's class
        may ignore further weights.
    remote_code : bool
        Whether to run code from the folder, if transformers does not have the model's class.

    Returns
    -------
    transformers.PreTrainedModel
        The model, on the CPU and in evaluation mode.

    Raises
    ------
    CheckpointError
        If a weight is missing or unused, has the wrong shape or is not finite; if a file is
        damaged; or if the model needs remote code that is not allowed.
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
        raise CheckpointError(
            f"config.json names no architecture that transformers supports: {named!r}"
        )
    if is_remote:
        model_class = _remote_class(config, remote_code)
    has_safetensors = any((folder / name).is_file() for name in WEIGHTS[:2])
    try:
        model, loaded = model_class.from_pretrained(
            folder,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=is_remote and remote_code,
            weights_only=True,
            use_safetensors=None if has_safetensors else False,
            # With this option, transformers raises no error for weights of the wrong shape, but
            # lists them in `loaded`, which is checked below.
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except Exception as error:  # loaders raise all kinds of errors for damaged files
        raise_if_memory(error)
        if "Weights only load failed" in str(error):
            # Replace torch's message, which gives the unsafe advice to unpickle the file.
            raise CheckpointError(
                "its pickle contains objects other than tensors, so the file is not read"
            ) from None
        raise UnexpectedError(f"cannot be loaded: {_described(error, folder)}") from error
    for kind, words in (
        ("missing_keys", "weights are missing"),
        ("unexpected_keys", "weights are not used by the model"),
        ("mismatched_keys", "weights have the wrong shape"),
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
    # Cached keys and values are not needed.
    model.config.use_cache = False
    return model.eval()


def _remote_class(config: dict[str, Any], allowed: bool) -> Any:
    """Return the transformers class that loads remote code from the repository of the weights."""
    import transformers

    auto_map = config["auto_map"]
    if not allowed:
        raise CheckpointError(
            "needs remote code, which is not run unless hub.remote_code allows it"
        )
    named = [key for key in ("AutoModelForCausalLM", "AutoModelForMaskedLM") if key in auto_map]
    # The code of a class `org/name--file.Class` would be downloaded from the newest commit of
    # another repository.
    if not named or "--" in json.dumps(auto_map):
        raise CheckpointError("needs remote code that is not in its own repository")
    return getattr(transformers, named[0])


def _check_counts(config: Mapping[str, Any]) -> None:
    """Raise an error if a config, or a config nested in it, states too many layers or experts."""
    for key, value in config.items():
        if isinstance(value, dict):
            _check_counts(value)
        is_count = re.search("layer|expert", key) and not re.search("size|dim|capacity", key)
        if is_count and isinstance(value, int) and value > MAX_PARTS:
            raise CheckpointError(f"config.json: {key[:80]} is above {MAX_PARTS:,}")


def _described(error: Exception, folder: Path) -> str:
    """Return the class and the message of an exception, without the path of the checkpoint."""
    text = described(error)
    # Remove the folder only where it begins a path. Its name may be part of another path or a URL.
    text = re.sub(rf"(?<![\w./-]){re.escape(str(folder))}/", "", text)
    return text.replace(str(folder), "") if folder.is_absolute() else text
