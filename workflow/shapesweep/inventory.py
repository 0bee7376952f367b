"""The inventory: what suites have published and what a sweep of them will cost, before it begins.

Takes in manifests as they are planned; hands on words and tables for people. The costs are
rough on purpose, and say what they assume.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from shapesweep import checkpoint
from shapesweep.config import Config
from shapesweep.corpora import CORPORA
from shapesweep.manifest import Listed, budgeted
from shapesweep.shards import LENGTHS

#: Assumed of the line to the Hub (bytes a second) and of a core (operations a second: our count of
#: them, over a measured 35 to 41 Gflop/s on one core of a server, halved).
LINE, CORE = 50e6, 20e9
#: Bytes that a shard needs besides its numbers, and a checkpoint besides its shards: schemas, logs.
OVERHEAD = 16_384
#: Characters of a chunk of the paper's. A tokenizer of so many entries or more makes some 110
#: tokens of it in English, and is taken to make no more than half as many as it has characters.
_CHUNK, _SUBWORDS = 512, 1024
_DTYPES = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}


def footprint(one: Listed, settings: Config) -> int:
    """Bytes that a checkpoint fills at most while it is measured: its files and its shards.

    Shards that are to be kept are results, and not counted.
    """
    assert one.published is not None
    files = sum(file.size for file in one.published.files)
    return files + (0 if settings.keep_activations else shard_bytes(one, settings))


def shard_bytes(one: Listed, settings: Config) -> int:
    """Bytes of a checkpoint's shards: every layer's states in float32, of every corpus."""
    config = one.published.config if one.published else {}
    width, layers = checkpoint.width(config) or 0, checkpoint.n_layers(config) or 0
    # The embedding and, of a model with a final norm, the last block before it; and a token's
    # document, position and number.
    shards = n_tokens(one, settings) * (layers + 2) * (4 * width + 12)
    return shards + OVERHEAD * (1 + len(settings.corpora) * (layers + 2))


def n_tokens(one: Listed, settings: Config) -> int:
    """Tokens that a checkpoint reads, at most: all corpora."""
    entries = (checkpoint.vocabulary(one.published.config) if one.published else None) or 0
    chunk = _CHUNK // 2 if entries >= _SUBWORDS else _CHUNK
    length = settings.corpus.length if settings.corpus.sampling == "windows" else chunk
    last = settings.corpus.last
    poolings = [CORPORA[name].pooling for name in settings.corpora]
    whole = poolings.count("tokens") * settings.corpus.documents * length
    return whole + poolings.count("last") * last.documents * last.length


def published(suites: Mapping[str, Sequence[Listed]]) -> str:
    """What every suite has: checkpoints, bytes, holes, and what is wrong with them.

    Parameters
    ----------
    suites : dict of sequence of Listed

    Returns
    -------
    str
    """
    lines = []
    for name, listed in suites.items():
        here = [one for one in listed if one.revision and not _is_main(one)]
        kinds: dict[str, list[str]] = {}
        for one in listed:
            for flag in one.published.status if one.published else one.flags:
                # Why a repository tells nothing is said in full: it tells what to do.
                kind = flag if flag.startswith("not_listed") else flag.partition(":")[0]
                kinds.setdefault(kind, []).append(_name(one))
        holes = len(kinds.get("hole", []))
        defects = sum(map(len, kinds.values())) - holes
        lines.append(
            f"{name}: checkpoints {len(here)}, runs {len({one.run for one in listed})}, "
            f"{_bytes(sum(map(_size, here)))}, holes {holes}, defects {defects}"
        )
        for kind, names in kinds.items():
            more = f" and {len(names) - 4} more" if len(names) > 4 else ""
            lines.append(f"  {kind}: {', '.join(names[:4])}{more}")
    return "\n".join(lines)


def costs(suites: Mapping[str, Sequence[Listed]], settings: Config) -> str:
    """What a sweep will cost, a line a run: checkpoints, bytes, disk, tokens, operations, hours.

    Parameters
    ----------
    suites : dict of sequence of Listed
        What is selected.
    settings : shapesweep.config.Config

    Returns
    -------
    str
    """
    rows: list[dict[str, Any]] = []
    for name, listed in suites.items():
        for run in dict.fromkeys(one.run for one in listed):
            mine = [one for one in listed if one.run == run and one.published]
            if mine:
                chosen = budgeted(mine, settings.budget.checkpoints.get(name))
                cost = _cost(mine, settings, [_budget(one, settings) for one in chosen])
                rows.append({"run": f"{name}/{run}", **cost})
    if not rows:
        return "nothing to be fetched"
    total = pd.DataFrame(rows)
    peak = min(settings.hub.disk_gb * 1e9, total.at_once.sum())
    sums = total.drop(columns=["run", "one", "at_once"]).sum()
    shown = pd.concat([total, pd.DataFrame([{"run": "all", **sums}])])
    said = pd.DataFrame(
        {
            "run": shown.run,
            "checkpoints": shown.checkpoints.astype(int),
            "to fetch": shown.fetched.map(_bytes),
            "one on disk": shown.one.map(lambda n: "" if pd.isna(n) else _bytes(n)),
            "tokens read": shown.tokens.map(lambda n: f"{n / 1e6:.1f} M"),
            "operations": shown.operations.map(lambda n: f"{n:.1e}"),
            "hours of download": shown.line.map(lambda n: f"{n:.1f}"),
            "core-hours": shown.core.map(lambda n: f"{n:.1f}"),
        }
    )
    return (
        f"{said.to_string(index=False)}\n"
        f"peak disk: {_bytes(peak)} of the {settings.hub.disk_gb:g} GB that hub.disk_gb allows\n"
        f"assumed: {LINE / 1e6:g} MB/s from the Hub, {CORE / 1e9:g} Gflop/s a core; "
        "a GPU takes the forward passes off the cores"
    )


def _cost(mine: Sequence[Listed], settings: Config, more: list[float]) -> dict[str, Any]:
    fetched = sum(map(_size, mine))
    tokens = sum(n_tokens(one, settings) for one in mine)
    operations = sum(_operations(one, settings) for one in mine) + sum(more)
    largest = max(footprint(one, settings) for one in mine)
    return {
        "checkpoints": len(mine),
        "fetched": fetched,
        "one": largest,
        "at_once": sum(footprint(one, settings) for one in mine),
        "tokens": tokens,
        "operations": operations,
        "line": fetched / LINE / 3600,
        "core": operations / CORE / 3600,
    }


def _operations(one: Listed, settings: Config) -> float:
    """Rough operations: the forward passes, then neighbours and spectra of every shard."""
    config = one.published.config if one.published else {}
    forward = _forward(one) * n_tokens(one, settings)
    d, n = checkpoint.width(config) or 0, settings.geometry.n_points
    shards = len(settings.corpora) * ((checkpoint.n_layers(config) or 0) + 2)
    tokens = n_tokens(one, settings) / len(settings.corpora)
    # For each selection a covariance, two spectra and all tokens turned to their axes, a fit to the
    # layer before and that without each group of documents; one neighbour search for all of them.
    spectra = 17 * tokens * d**2 + (18 + 1.3 * settings.geometry.groups) * d**3
    # Of every shorter length two spectra and their tokens, together no more than all again.
    n_cuts = sum(length < settings.corpus.length for length in LENGTHS.values())
    cuts = n_cuts * 18 * d**3 + 2 * tokens * d**2
    return forward + shards * (3 * spectra + cuts + 2 * n**2 * d)


def _budget(one: Listed, settings: Config) -> float:
    """Rough operations of a dimension budget: a bisection of passes a layer, and its axes."""
    config = one.published.config if one.published else {}
    d, layers = checkpoint.width(config) or 1, (checkpoint.n_layers(config) or 0) + 1
    tokens = n_tokens(one, settings.model_copy(update={"corpora": ["text"]}))
    # The ends of the interval share most of their way; twice a single bisection was measured.
    passes = 2 * math.log2(d)
    return layers * (passes * _forward(one) * tokens + 18 * d**3)


def _forward(one: Listed) -> float:
    """Operations a token of a forward pass: two a weight."""
    config = one.published.config if one.published else {}
    stored = _DTYPES.get(str(config.get("torch_dtype", config.get("dtype"))), 4)
    return 2 * (_size(one) / stored)


def _size(one: Listed) -> int:
    return sum(file.size for file in one.published.files) if one.published else 0


def _is_main(one: Listed) -> bool:
    return one.published is not None and one.published.is_main


def _name(one: Listed) -> str:
    step = "" if one.step is None else f"step {one.step}"
    return "/".join(filter(None, [one.run, one.revision or step]))


def _bytes(n: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if n >= size:
            return f"{n / size:.1f} {unit}"
    return f"{n / 1e3:.1f} kB"
