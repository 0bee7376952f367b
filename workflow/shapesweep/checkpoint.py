"""The checkpoint: weights, verified. Nothing is trusted because of its name.

Takes in a folder in Hugging Face format; hands on what its files are and a model
whose every weight was found, has the right shape, and is finite.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapesweep.errors import CheckpointError, raise_if_memory
from shapesweep.files import WEIGHTS, LocalFile, model_files, shards_of, tokenizer_files
from shapesweep.schema import LARGEST

#: Most layers or experts that a model may have. The loader builds all of them before it reads a
#: weight, so a wrong number would fill the memory.
MAX_PARTS = 10_000


def family(architecture: str) -> str:
    """Encoder, decoder or other, by the name of a transformers class."""
    if architecture.endswith("ForMaskedLM") or architecture == "BertForPreTraining":
        return "encoder"
    if architecture.endswith(("ForCausalLM", "LMHeadModel")):
        return "decoder"
    return "other"


def architecture(config: Mapping[str, Any]) -> str:
    """The class that a `config.json` names; empty if none."""
    named = config.get("architectures")
    return named[0] if isinstance(named, list) and named and isinstance(named[0], str) else ""


def n_layers(config: Mapping[str, Any]) -> int | None:
    """The number of blocks that a `config.json` names; None above `MAX_PARTS`."""
    named = _first_int(config, "num_hidden_layers", "n_layer", "num_layers")
    return named if named is not None and named <= MAX_PARTS else None


def vocabulary(config: Mapping[str, Any]) -> int | None:
    """The number of entries that a `config.json` names."""
    return _first_int(config, "vocab_size")


def width(config: Mapping[str, Any]) -> int | None:
    """The length of a hidden state, as a `config.json` names it."""
    return _first_int(config, "hidden_size", "n_embd", "d_model")


def description(folder: str | Path, name: str = "config.json") -> dict[str, Any] | None:
    """What a folder's `config.json` says; None where it is absent or no mapping in JSON."""
    try:
        read = json.loads((Path(folder) / name).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) else None


@dataclass(frozen=True)
class Inspection:
    """What the files of a checkpoint's folder say, without loading them.

    Attributes
    ----------
    architecture : str
    n_layers : int or None
    files : tuple of LocalFile
    commit : str or None
        Digest of the files' names and contents; None if they were not hashed.
    status : tuple of str
        `missing_config`, `missing_weights`, `missing_weights:<file>`, `damaged:<file>`.
    """

    architecture: str
    n_layers: int | None
    files: tuple[LocalFile, ...]
    commit: str | None
    status: tuple[str, ...]


def inspect(
    folder: str | Path, digest: Callable[[Path, os.stat_result], str] | None = None
) -> Inspection:
    """Describe a checkpoint without loading it.

    Parameters
    ----------
    folder : path-like
    digest : callable, optional
        The sha256 of a file with this stat result; without it, files are not hashed.

    Returns
    -------
    Inspection
    """
    folder = Path(folder)
    files = model_files(folder)
    status: list[str] = []
    config: dict[str, Any] = {}
    if folder / "config.json" not in files:
        status.append("missing_config")
    else:
        config = description(folder) or {}
        if not config:
            status.append("damaged:config.json")
    weights = [path for path in files if path.name != "config.json"]
    if not weights:
        status.append("missing_weights")
    for path in weights:
        if path.name.endswith(".index.json"):
            wanted = shards_of(path)
            if not wanted:
                status.append(f"damaged:{path.name}")
            status += [f"missing_weights:{s}" for s in wanted if not (folder / s).is_file()]
        elif path.suffix == ".safetensors" and not _whole_safetensors(path):
            status.append(f"damaged:{path.name}")
    found = []
    for path in files:
        stat = path.stat()
        contents = digest(path, stat) if digest else None
        found.append(LocalFile(path.name, stat.st_size, contents, "", stat.st_mtime_ns))
    pin = hashlib.sha256("".join(f"{file.path} {file.sha256}\n" for file in found).encode())
    commit = pin.hexdigest()[:40] if digest else None
    return Inspection(architecture(config), n_layers(config), tuple(found), commit, tuple(status))


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


def sample(model: Any, n_weights: int = 2048) -> dict[str, NDArray[np.float32]]:
    """The same few weights of every checkpoint of a run, by the class of their matrix.

    Parameters
    ----------
    model : transformers.PreTrainedModel
    n_weights : int
        Of each class at most, as many of each of its matrices, but one of each at least.

    Returns
    -------
    dict of ndarray of float32
        `embedding`, `attention`, `feed_forward`, `head` and `other`, those that there are. The
        order of a class depends on the names and shapes of its weights alone.
    """
    import torch

    ends = {"embedding": model.get_input_embeddings(), "head": model.get_output_embeddings()}
    known = {id(one.weight): kind for kind, one in reversed(ends.items()) if one is not None}
    by_class: dict[str, list[tuple[str, Any]]] = {}
    for name, weights in sorted((n, p) for n, p in model.named_parameters() if p.ndim > 1):
        kind = known.get(id(weights)) or _tensor_class(name)
        by_class.setdefault(kind, []).append((name, weights))
    made = {}
    for kind, matrices in by_class.items():
        share, taken = max(1, n_weights // len(matrices)), []
        for name, weights in matrices:
            rng = np.random.default_rng([*name.encode(), weights.numel()])
            size = min(share, weights.numel())
            places = np.sort(rng.choice(weights.numel(), size, replace=False))
            chosen = weights.detach().reshape(-1)[torch.from_numpy(places).to(weights.device)]
            taken.append(chosen.float().cpu().numpy())
        made[kind] = np.concatenate(taken)
    return made


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
    place = files[0].parent
    for name in ("tokenizer_config.json", "config.json"):
        code = (description(place, name) or {}).get("auto_map")
        if isinstance(code, dict) and "AutoTokenizer" in code:
            raise CheckpointError("its tokenizer needs remote code, which is never run")
    try:
        return transformers.AutoTokenizer.from_pretrained(
            place, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:
        raise_if_memory(error)
        reason = _one_line(error, place)
        raise CheckpointError(f"its tokenizer cannot be loaded: {reason}") from None


def _remote_class(config: dict[str, Any], allowed: bool) -> Any:
    """The transformers class that finds a model's own code, which must lie beside its weights."""
    import transformers

    places = config["auto_map"]
    if not allowed:
        raise CheckpointError("needs remote code, which is not run unless hub.remote_code says so")
    named = [key for key in ("AutoModelForCausalLM", "AutoModelForMaskedLM") if key in places]
    # `org/name--file.Class` would be fetched from elsewhere, at whatever commit is there now.
    if not named or "--" in json.dumps(places):
        raise CheckpointError("needs remote code that does not lie in its own repository")
    return getattr(transformers, named[0])


def _tensor_class(name: str) -> str:
    """What kind of matrix a parameter is, by the words that architectures share."""
    words = {
        "embedding": r"embed|wte|wpe",
        "attention": r"attn|attention",
        "feed_forward": r"mlp|ffn|feed_?forward|fc\d|dense_h|dense_4h|intermediate|output\.dense",
    }
    return next((kind for kind, fits in words.items() if re.search(fits, name)), "other")


def _check_counts(config: Mapping[str, Any]) -> None:
    """Refuse a configuration that has, at any depth, too many layers or experts."""
    for key, value in config.items():
        if isinstance(value, dict):
            _check_counts(value)
        is_count = re.search("layer|expert", key) and not re.search("size|dim|capacity", key)
        if is_count and isinstance(value, int) and value > MAX_PARTS:
            raise CheckpointError(f"config.json: {key[:80]} is above {MAX_PARTS:,}")


def _first_int(config: Mapping[str, Any], *keys: str) -> int | None:
    found = (config.get(key) for key in keys)
    return next(
        (n for n in found if isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= LARGEST),
        None,
    )


def _has_safetensors(folder: Path) -> bool:
    return any((folder / name).is_file() for name in WEIGHTS[:2])


def _whole_safetensors(path: Path) -> bool:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np"):
            return True
    except (SafetensorError, OSError):
        return False


def _one_line(error: Exception, folder: Path) -> str:
    text = re.sub(r"\s+", " ", str(error))
    # Only a whole path: the folder's name may also be part of another path, or of an address.
    text = re.sub(rf"(?<![\w./-]){re.escape(str(folder))}/", "", text)
    if folder.is_absolute():
        text = text.replace(str(folder), "")
    text = text.strip() or type(error).__name__
    return text if len(text) <= 200 else text[:199] + "…"
