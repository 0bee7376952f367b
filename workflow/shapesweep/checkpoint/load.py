"""Load checkpoints, and verify that every weight exists, has the right shape and is finite."""

import contextlib
import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shapesweep.checkpoint import adapters, buffers, layouts
from shapesweep.checkpoint.facts import MAX_PARTS, architecture, description
from shapesweep.checkpoint.files import (
    ADAPTER,
    WEIGHTS,
    is_adapter,
    model_files,
)
from shapesweep.checkpoint.heads import depend_on, is_head
from shapesweep.checkpoint.pinned import only_pinned
from shapesweep.checkpoint.prefixes import Removal, removals
from shapesweep.checkpoint.weight_files import masks, not_floats, repeated, weight_names
from shapesweep.errors import (
    CheckpointError,
    UnexpectedError,
    described,
    listed,
    raise_if_memory,
)

#: Classes of transformers that load remote code.
_AUTO = ("AutoModelForCausalLM", "AutoModelForMaskedLM", "AutoModelForSeq2SeqLM")
_LOG = logging.getLogger(__name__)


def load(
    folder: str | Path,
    ignored_weights: Sequence[str] = (),
    remote_code: bool = False,
    base: str | Path | None = None,
) -> Any:
    """Load a checkpoint in float32 with the class in its `config.json`, and check every weight.

    Every tensor of the model comes from the files that `files.model_files` returns, or is computed
    by the class of the model. Other files in the folder have no effect. Prefixes that wrappers add
    to the names of weights, such as `_orig_mod.`, are removed and logged if all names then match.
    An adapter is merged into its base model.

    Parameters
    ----------
    folder : path-like
    ignored_weights : sequence of str
        Regular expressions for names of weights that the model may leave unused. The model's class
        may ignore further weights, and heads may be unused (`heads.is_head`).
    remote_code : bool
        Whether to run code from the folder, if transformers does not have the model's class.
    base : path-like, optional
        Folder of the base model, if the checkpoint is an adapter. `ignored_weights` and
        `remote_code` then concern the base model.

    Returns
    -------
    transformers.PreTrainedModel
        The model, on the CPU and in evaluation mode. Its attribute `unused_weights` lists the
        weights that the model does not use, and `missing_weights` lists the weights of heads that
        the files lack. Missing weights are NaN.

    Raises
    ------
    CheckpointError
        If a weight that hidden states need is missing, if a weight is unused, has the wrong shape
        or is not finite; if a file is damaged; if the model needs remote code that is not allowed;
        or if an adapter does not fit its base model.
    """
    import transformers

    folder = Path(folder)
    if base is not None:
        with adapters.errors_of_base():
            model = load(base, ignored_weights, remote_code)
        return _finite(adapters.merge(model, folder))
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    if is_adapter(folder):
        raise CheckpointError(f"is an adapter ({ADAPTER[0]}), but has no base model")
    config = description(folder)
    refusal = layouts.refusal(folder, model_files(folder), config or {})
    if refusal:
        raise CheckpointError(refusal.partition(": ")[2])
    if not config:
        raise CheckpointError("config.json is missing or damaged")
    _check_config(config)
    if (folder / ADAPTER[0]).is_file():
        raise CheckpointError(
            f"whole weights and an adapter ({ADAPTER[0]}) are in one folder, and it is unknown "
            "whether the weights already contain the adapter; move one of them to another folder"
        )
    model_class = _class(config)
    is_remote = model_class is None
    pinned: contextlib.AbstractContextManager[Path]
    if is_remote:
        model_class = _remote_class(config, remote_code)
        # A download contains only files of the manifest. Another folder would change the name of
        # the module that transformers creates from the code.
        pinned, more = contextlib.nullcontext(folder), {"trust_remote_code": True}
    else:
        pinned, more = only_pinned(folder), {}
    names, integers = [], []
    with contextlib.suppress(CheckpointError):  # the loader describes a damaged file
        names, integers = weight_names(folder), not_floats(folder)
    base_prefix = getattr(model_class, "base_model_prefix", "")
    twice = repeated(names, base_prefix)
    if twice:
        raise CheckpointError(
            f"weights are in the files twice: {listed(twice)}; remove the wrong ones"
        )
    with pinned as place:
        model, removal = _with_all_keys(
            lambda mapping: _from_files(model_class, place, folder, key_mapping=mapping, **more),
            removals(names, base_prefix),
            lambda model, loaded: _check_keys(model, loaded, ignored_weights, folder),
        )
    # The names of the weights, which are checked first, may show a known kind of quantisation.
    if integers:
        raise CheckpointError(
            f"weights are not floats: {listed(integers)}; measure the checkpoint before it was "
            "quantised"
        )
    stored = None
    if is_remote:
        stored = [removal(name) for name in names]
        absent = set(buffers.absent_weights(model, stored)) - set(model.missing_weights)
        if absent:
            raise CheckpointError(f"weights are missing: {listed(sorted(absent))}")
    buffers.restore(model, stored)
    _finite(model)
    # Cached keys and values are not needed, and hidden states are read by their name.
    model.config.use_cache = False
    model.config.return_dict = True
    # Classifiers refuse batches if the position of the last token is unknown. No token has this id.
    text_config = model.config.get_text_config()
    if type(model).__name__.endswith("Classification") and text_config.pad_token_id is None:
        text_config.pad_token_id = -1
    return model.eval()


def _with_all_keys(
    from_files: Callable[[dict[str, str] | None], tuple[Any, Any]],
    attempts: Iterable[Removal],
    check: Callable[[Any, Any], None],
) -> tuple[Any, Removal]:
    """Load a model, and remove prefixes from the names of weights if all names then match.

    Parameters
    ----------
    from_files : callable
        Loads a model with a `key_mapping`; returns the model and the keys that do not match.
    attempts : iterable of Removal
        The prefixes to remove, in the order in which to try them.
    check : callable
        Raises a CheckpointError if keys do not match.

    Raises
    ------
    CheckpointError
        If no attempt succeeds: the error about the names as they are in the files.
    """
    refused = CheckpointError("")
    for removal in attempts:
        # The next model needs the memory. The traceback of the error also holds the model.
        model = None
        try:
            model, loaded = from_files(removal.key_mapping() or None)
            check(model, loaded)
        except CheckpointError as error:
            refused = refused if removal else error.with_traceback(None)
        else:
            if removal:
                _LOG.warning("removed from the names of the weights: %s", removal)
            return model, removal
    raise refused


def _finite(model: Any) -> Any:
    """Return a model, after a check that all of its weights and buffers are finite.

    Raises
    ------
    CheckpointError
        If one of them is not finite, and is not a missing weight.
    """
    import torch

    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        is_finite = not tensor.is_floating_point() or torch.isfinite(tensor).all()
        if not is_finite and name not in model.missing_weights:
            raise CheckpointError(f"{name} holds NaN or infinite values")
    return model


def _check_keys(
    model: Any, loaded: Mapping[str, Any], ignored_weights: Sequence[str], folder: Path
) -> None:
    """Check which weights are missing, unused or misshapen, and list the heads among them."""
    if any(0 in shape for _, shape, _ in loaded.get("mismatched_keys", ())):
        raise CheckpointError(layouts.empty_weights(folder))
    keys = {
        kind: sorted(
            str(k[0] if isinstance(k, tuple) else k) for k in loaded.get(f"{kind}_keys", ())
        )
        for kind in ("missing", "unexpected", "mismatched")
    }
    model.unused_weights = [
        key
        for key in keys["unexpected"]
        if is_head(key) or any(re.search(pattern, key) for pattern in ignored_weights)
    ]
    others = set(keys["unexpected"]) - set(model.unused_weights)
    model.unused_weights += masks(folder, others)
    quantized = layouts.quantized({}, set(keys["unexpected"]) - set(model.unused_weights))
    if quantized:
        raise CheckpointError(quantized.partition(": ")[2])
    model.missing_weights = [key for key in keys["missing"] if is_head(key)]
    for wrong, words in (
        (set(keys["missing"]) - set(model.missing_weights), "weights are missing"),
        (set(keys["unexpected"]) - set(model.unused_weights), "weights are not used by the model"),
        (set(keys["mismatched"]), "weights have the wrong shape"),
    ):
        if wrong:
            raise CheckpointError(f"{words}: {listed(sorted(wrong))}")
    if model.missing_weights and depend_on(model.eval(), model.missing_weights):
        raise CheckpointError(f"weights are missing: {listed(model.missing_weights)}")


def notes(model: Any) -> list[str]:
    """Return a line for missing heads, and a line for unused weights, if there are any."""
    found = {
        "weights of heads are missing": model.missing_weights,
        "weights are not used": model.unused_weights,
    }
    return [
        f"{words}, on which no hidden state depends: {listed(names)}"
        for words, names in found.items()
        if names
    ]


def _from_files(model_class: Any, pinned: Path, folder: Path, **more: Any) -> tuple[Any, Any]:
    """Load a model from the files in `pinned`; messages leave out the path of `folder`.

    Returns
    -------
    model : transformers.PreTrainedModel
    loaded : dict
        The keys that are missing, unexpected or have the wrong shape.
    """
    import torch

    has_safetensors = any((pinned / name).is_file() for name in WEIGHTS[:2])
    try:
        found: tuple[Any, Any] = model_class.from_pretrained(
            pinned,
            dtype=torch.float32,
            local_files_only=True,
            weights_only=True,
            use_safetensors=None if has_safetensors else False,
            # With this option, transformers raises no error for weights of the wrong shape, but
            # lists them, and the caller checks them.
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **more,
        )
        return found
    except Exception as error:  # loaders raise all kinds of errors for damaged files
        raise_if_memory(error)
        if "Weights only load failed" in str(error):
            # Replace torch's message, which gives the unsafe advice to unpickle the file.
            raise CheckpointError(
                "its pickle contains objects other than tensors, so the file is not read"
            ) from None
        reason = _described(_described(error, pinned), folder)
        raise UnexpectedError(f"cannot be loaded: {reason}") from error


def _class(config: Mapping[str, Any]) -> Any:
    """Return the class of transformers that a `config.json` names, or that fits its `model_type`.

    The result is None if the model needs remote code.
    """
    import transformers
    from transformers.models.auto import modeling_auto

    named = architecture(config)
    found = getattr(transformers, named, None) if named else None
    if hasattr(found, "from_pretrained"):
        return found
    if isinstance(config.get("auto_map"), dict):
        return None
    if named:
        raise CheckpointError(
            f"config.json names no architecture that transformers supports: {named!r}; if "
            "transformers has the class under another name, write this name into architectures"
        )
    # Prefer the class with which a model of this type is pre-trained.
    kinds = ["MASKED_LM", "SEQ_TO_SEQ_CAUSAL_LM", "CAUSAL_LM"]
    if config.get("is_encoder_decoder"):
        kinds.insert(0, "SEQ_TO_SEQ_CAUSAL_LM")
    if config.get("is_decoder"):
        kinds.insert(0, "CAUSAL_LM")
    for kind in kinds:
        names = getattr(modeling_auto, f"MODEL_FOR_{kind}_MAPPING_NAMES")
        known = names.get(config.get("model_type"))
        if known:
            return getattr(transformers, known if isinstance(known, str) else known[0])
    raise CheckpointError(
        "config.json names no architecture, and transformers has no language model of the "
        f"model_type {config.get('model_type')!r}"
    )


def _remote_class(config: dict[str, Any], allowed: bool) -> Any:
    """Return the transformers class that loads remote code from the repository of the weights."""
    import transformers

    auto_map = config["auto_map"]
    if not allowed:
        raise CheckpointError(
            "needs remote code, which is not run unless hub.remote_code allows it"
        )
    named = [key for key in _AUTO if key in auto_map]
    # The code of a class `org/name--file.Class` would be downloaded from the newest commit of
    # another repository.
    if not named or "--" in json.dumps(auto_map):
        raise CheckpointError("needs remote code that is not in its own repository")
    return getattr(transformers, named[0])


def _check_config(config: Mapping[str, Any]) -> None:
    """Raise an error if a config names other files of weights, or states too many parts."""
    if config.get("transformers_weights"):
        raise CheckpointError(
            f"config.json: transformers_weights names {config['transformers_weights']!r:.120}; "
            "remove this key, and name the file of weights model.safetensors"
        )
    _check_counts(config)


def _check_counts(config: Mapping[str, Any]) -> None:
    """Raise an error if a config, or a config nested in it, states too many layers or experts."""
    for key, value in config.items():
        if isinstance(value, dict):
            _check_counts(value)
        is_count = re.search("layer|expert", key) and not re.search("size|dim|capacity", key)
        if is_count and isinstance(value, int) and value > MAX_PARTS:
            raise CheckpointError(f"config.json: {key[:80]} is above {MAX_PARTS:,}")


def _described(error: Exception | str, folder: Path) -> str:
    """Return the class and the message of an exception, without the path of the checkpoint."""
    text = error if isinstance(error, str) else described(error)
    # Remove the folder only where it begins a path. Its name may be part of another path or a URL.
    text = re.sub(rf"(?<![\w./-]){re.escape(str(folder))}/", "", text)
    return text.replace(str(folder), "") if folder.is_absolute() else text
