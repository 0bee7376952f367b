"""Read facts about a checkpoint from its `config.json` and its class name."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from shapesweep.errors import printable
from shapesweep.storage.schemas import LARGEST

#: Maximum number of layers or experts of a model. The loader builds all layers before it reads a
#: weight, so a number that is too large would fill the memory.
MAX_PARTS = 10_000
#: Maximum number of levels of a file in JSON. Published files have fewer than ten.
MAX_DEPTH = 100


def family(causal: bool) -> str:
    """Return `decoder` for causal models, and `encoder` for all others."""
    return "decoder" if causal else "encoder"


def architecture(config: Mapping[str, Any]) -> str:
    """Return the class that a `config.json` names; empty if it names no class.

    Trainers with FSDP2 save the name of a wrapper, such as `FSDPLlamaForCausalLM`.
    """
    named = config.get("architectures")
    found = named[0] if isinstance(named, list) and named and isinstance(named[0], str) else ""
    return printable(found.removeprefix("FSDP"))


def n_layers(config: Mapping[str, Any]) -> int | None:
    """Return the number of blocks in a `config.json`; None if absent or above `MAX_PARTS`."""
    named = _first_int(config, "num_hidden_layers", "n_layer", "num_layers")
    return named if named is not None and named <= MAX_PARTS else None


def vocabulary(config: Mapping[str, Any]) -> int | None:
    """Return the size of the vocabulary in a `config.json`; None if absent."""
    return _first_int(config, "vocab_size")


def width(config: Mapping[str, Any]) -> int | None:
    """Return the width of hidden states in a `config.json`; None if absent."""
    return _first_int(config, "hidden_size", "n_embd", "d_model")


def fits(config: Mapping[str, Any], n_bytes: int) -> bool:
    """Return whether a model that a `config.json` describes can have weights of `n_bytes`.

    A model has at least one weight per entry of its vocabulary, one weight per layer and dimension,
    and one square matrix. Each weight takes at least one bit. Weights below a megabyte count as a
    megabyte, because the costs of a model of this size are low in any case.
    """
    d, layers, entries = width(config) or 0, n_layers(config) or 0, vocabulary(config) or 0
    return max(entries, layers * d, d**2) <= 8 * max(n_bytes, 10**6)


def description(folder: str | Path, name: str = "config.json") -> dict[str, Any] | None:
    """Read the `config.json` of a folder.

    Returns
    -------
    dict or None
        None if the file is absent, is not a JSON object, or has more than `MAX_DEPTH` levels.
    """
    try:
        read = json.loads((Path(folder) / name).read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) and _depth(read) <= MAX_DEPTH else None


def _depth(value: Any) -> int:
    """Return the number of levels of a JSON value, without recursion."""
    depth, level = 0, [value]
    while level:
        depth += 1
        parts = [one.values() if isinstance(one, dict) else one for one in level]
        level = [one for part in parts for one in part if isinstance(one, dict | list)]
    return depth


def _first_int(config: Mapping[str, Any], *keys: str) -> int | None:
    for found in map(config.get, keys):
        if isinstance(found, int) and not isinstance(found, bool) and 0 <= found <= LARGEST:
            return found
    return None
