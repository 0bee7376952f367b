"""Facts of a checkpoint that its `config.json` and its class name give, without loading it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shapesweep.storage.schemas import LARGEST

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


def _first_int(config: Mapping[str, Any], *keys: str) -> int | None:
    found = (config.get(key) for key in keys)
    return next(
        (n for n in found if isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= LARGEST),
        None,
    )
