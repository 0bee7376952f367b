"""The inventory, as text: what suites have published, and what a sweep of these suites costs."""

from collections.abc import Mapping, Sequence

import pandas as pd

from shapesweep.config.sweep import Config
from shapesweep.manifest.selection import Listed, budgeted
from shapesweep.plan import costs as estimates
from shapesweep.storage import axis


def published(suites: Mapping[str, Sequence[Listed]]) -> str:
    """Return the number of checkpoints, bytes, holes and defects of every suite, as text.

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
                # Show the full reason why a repository cannot be listed, because the reason says
                # what to do.
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
    """Return the estimated costs of a sweep, as a table with one line per run.

    Parameters
    ----------
    suites : dict of sequence of Listed
        Selected checkpoints by suite.
    settings : shapesweep.config.sweep.Config

    Returns
    -------
    str
    """
    rows = []
    for name, listed in suites.items():
        mine = [checkpoint for checkpoint in listed if checkpoint.repository]
        rule = settings.budget.checkpoints.get(name)
        with_budget = {checkpoint.key for checkpoint in budgeted(mine, rule)}
        for checkpoint in mine:
            model = estimates.Model.of(checkpoint, settings.suites[name])
            more = (
                estimates.budget_operations(model, settings) if checkpoint.key in with_budget else 0
            )
            rows.append(
                {
                    "run": f"{name}/{checkpoint.run}",
                    "checkpoints": 1,
                    "bytes": model.n_bytes,
                    "disk": estimates.footprint(model, settings),
                    "tokens": estimates.n_tokens(model, settings),
                    "operations": estimates.operations(model, settings) + more,
                }
            )
    if not rows:
        return "nothing to download"
    each = pd.DataFrame(rows).groupby("run", sort=False)
    runs = each.sum()
    runs.loc["all"] = runs.sum()
    peak = min(settings.hub.disk_gb * 1e9, runs.disk["all"])
    table = pd.DataFrame(
        {
            "run": runs.index,
            "checkpoints": runs.checkpoints.astype(int),
            "download": runs.bytes.map(_bytes),
            "disk per checkpoint": each.disk.max().map(_bytes).reindex(runs.index, fill_value=""),
            "tokens read": (runs.tokens / 1e6).map("{:.1f} M".format),
            "operations": runs.operations.map("{:.1e}".format),
            "hours of download": (runs.bytes / estimates.DOWNLOAD_SPEED / 3600).map(
                "{:.1f}".format
            ),
            "core-hours": (runs.operations / estimates.CORE_SPEED / 3600).map("{:.1f}".format),
        }
    )
    speeds = estimates.DOWNLOAD_SPEED / 1e6, estimates.CORE_SPEED / 1e9
    return (
        f"{table.to_string(index=False)}\n"
        f"peak disk: {_bytes(peak)} of the {settings.hub.disk_gb:g} GB that hub.disk_gb allows\n"
        f"assumed: {speeds[0]:g} MB/s from the Hub, {speeds[1]:g} Gflop/s per core; with a GPU, "
        "forward passes need no core"
    )


def _name(checkpoint: Listed) -> str:
    # A hole of a run on tokens has both numbers, like all other checkpoints of the run.
    along = axis.of([checkpoint.step], [checkpoint.tokens])
    step = "" if checkpoint.step is None else along.at(checkpoint.step)
    return "/".join(filter(None, [checkpoint.run, checkpoint.revision or step]))


def _bytes(n: float) -> str:
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if n >= size:
            return f"{n / size:.1f} {unit}"
    return f"{n / 1e3:.1f} kB"
