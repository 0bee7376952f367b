"""The inventory: what suites have published, and what a sweep of them will cost, as text."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from shapesweep.config.sweep import Config
from shapesweep.manifest.selection import Listed, budgeted
from shapesweep.plan.costs import (
    CORE_SPEED,
    DOWNLOAD_SPEED,
    Model,
    budget_operations,
    footprint,
    n_tokens,
    operations,
)


def published(suites: Mapping[str, Sequence[Listed]]) -> str:
    """What every suite has: checkpoints, bytes, holes, and defects.

    Parameters
    ----------
    suites : dict of sequence of Listed

    Returns
    -------
    str
    """
    lines = []
    for name, listed in suites.items():
        here = [
            checkpoint for checkpoint in listed if checkpoint.revision and not checkpoint.is_main
        ]
        kinds: dict[str, list[str]] = {}
        for checkpoint in listed:
            for flag in checkpoint.status:
                # Show the full reason why a repository cannot be listed, because it says what to
                # do.
                kind = flag if flag.startswith("not_listed") else flag.partition(":")[0]
                kinds.setdefault(kind, []).append(_name(checkpoint))
        holes = len(kinds.get("hole", []))
        defects = sum(map(len, kinds.values())) - holes
        size = sum(file.size for checkpoint in here for file in checkpoint.files)
        n_runs = len({checkpoint.run for checkpoint in listed})
        lines.append(
            f"{name}: checkpoints {len(here)}, runs {n_runs}, "
            f"{_bytes(size)}, holes {holes}, defects {defects}"
        )
        for kind, names in kinds.items():
            more = f" and {len(names) - 4} more" if len(names) > 4 else ""
            lines.append(f"  {kind}: {', '.join(names[:4])}{more}")
    return "\n".join(lines)


def costs(suites: Mapping[str, Sequence[Listed]], settings: Config) -> str:
    """What a sweep will cost, a line per run: checkpoints, bytes, disk, tokens, operations, hours.

    Parameters
    ----------
    suites : dict of sequence of Listed
        Selected checkpoints by suite.
    settings : shapesweep.config.sweep.Config

    Returns
    -------
    str
    """
    rows: list[dict[str, Any]] = []
    for name, listed in suites.items():
        for run in dict.fromkeys(checkpoint.run for checkpoint in listed):
            mine = [
                checkpoint
                for checkpoint in listed
                if checkpoint.run == run and checkpoint.repository
            ]
            if mine:
                chosen = budgeted(mine, settings.budget.checkpoints.get(name))
                rows.append({"run": f"{name}/{run}", **_cost(mine, chosen, settings)})
    if not rows:
        return "nothing to download"
    total = pd.DataFrame(rows)
    peak = min(settings.hub.disk_gb * 1e9, total.at_once.sum())
    sums = total.drop(columns=["run", "largest", "at_once"]).sum()
    shown = pd.concat([total, pd.DataFrame([{"run": "all", **sums}])])
    table = pd.DataFrame(
        {
            "run": shown.run,
            "checkpoints": shown.checkpoints.astype(int),
            "download": shown.fetched.map(_bytes),
            "disk per checkpoint": shown.largest.map(lambda n: "" if pd.isna(n) else _bytes(n)),
            "tokens read": shown.tokens.map(lambda n: f"{n / 1e6:.1f} M"),
            "operations": shown.operations.map(lambda n: f"{n:.1e}"),
            "hours of download": shown.download.map(lambda n: f"{n:.1f}"),
            "core-hours": shown.compute.map(lambda n: f"{n:.1f}"),
        }
    )
    return (
        f"{table.to_string(index=False)}\n"
        f"peak disk: {_bytes(peak)} of the {settings.hub.disk_gb:g} GB that hub.disk_gb allows\n"
        f"assumed: {DOWNLOAD_SPEED / 1e6:g} MB/s from the Hub, {CORE_SPEED / 1e9:g} Gflop/s per "
        "core; with a GPU, forward passes need no core"
    )


def _cost(mine: Sequence[Listed], budgeted: Sequence[Listed], settings: Config) -> dict[str, Any]:
    models = [Model.published(checkpoint) for checkpoint in mine]
    needed = sum(operations(model, settings) for model in models)
    needed += sum(
        budget_operations(Model.published(checkpoint), settings) for checkpoint in budgeted
    )
    fetched = sum(model.n_bytes for model in models)
    room = [footprint(model, settings) for model in models]
    return {
        "checkpoints": len(mine),
        "fetched": fetched,
        "largest": max(room),
        "at_once": sum(room),
        "tokens": sum(n_tokens(model, settings) for model in models),
        "operations": needed,
        "download": fetched / DOWNLOAD_SPEED / 3600,
        "compute": needed / CORE_SPEED / 3600,
    }


def _name(checkpoint: Listed) -> str:
    step = "" if checkpoint.step is None else f"step {checkpoint.step}"
    return "/".join(filter(None, [checkpoint.run, checkpoint.revision or step]))


def _bytes(n: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if n >= size:
            return f"{n / size:.1f} {unit}"
    return f"{n / 1e3:.1f} kB"
