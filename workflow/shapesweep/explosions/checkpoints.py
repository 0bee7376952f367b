"""Describe ID and anisotropy of checkpoints before and in loss spikes.

The description is no score, because few published runs have spikes. A spike is known from the log
of a run, or from the definition of a suite, which may name runs that were saved during a spike.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shapesweep.explosions.onset import CONFIRMING, first_onset, levels
from shapesweep.storage import schemas

#: Metrics, corpora and selections that are described, averaged over the middle blocks.
DESCRIBED = (
    ("id_twonn", "text", "no_first"),
    ("id_twonn", "passages", "one_per_document"),
    ("anisotropy", "text", "all"),
    ("anisotropy", "text", "no_first"),
)
_KEY = ["suite", "run", "revision", "step", "tokens", "corpus", "text_sha256", "selection"]
_BAND = ["value", "low", "high"]


def describe(
    trajectories: pd.DataFrame,
    history: pd.DataFrame,
    manifest: pd.DataFrame,
    spiked: Mapping[str, Sequence[str]],
) -> pd.DataFrame:
    """Describe the checkpoints of runs whose loss spikes.

    Parameters
    ----------
    trajectories : pandas.DataFrame
        `schemas.TRAJECTORIES`.
    history : pandas.DataFrame
        `schemas.HISTORY`.
    manifest : pandas.DataFrame
        `schemas.MANIFEST`, from which the repositories of runs are read.
    spiked : mapping of str to sequence of str
        For each suite, patterns for the names of runs that were saved during a spike.

    Returns
    -------
    pandas.DataFrame
        `schemas.SPIKED`. `state` is `before`, `in` or `after` the spike, or null if the log does
        not reach the step. Runs that were saved during a spike have a `reference`: the run of the
        same repository with which they have most steps in common. The row then also contains the
        value of the reference at the same step.
    """
    middle = trajectories[(trajectories.layers == "middle") & (trajectories.over == "documents")]
    wanted = [tuple(row) for row in middle[["metric", "corpus", "selection"]].to_numpy()]
    middle = middle[np.array([key in DESCRIBED for key in wanted], dtype=bool)]
    middle = middle[middle.step.notna()]
    of_run = dict(iter(middle.groupby(["suite", "run"], sort=False)))
    steps = {key: set(part.step) for key, part in of_run.items()}
    places = manifest.drop_duplicates(["suite", "run"]).set_index(["suite", "run"]).repository
    places = places.to_dict()
    tables = []
    for (suite, run), part in of_run.items():
        if _is_named(run, spiked.get(suite, ())):
            others = [
                other
                for other in of_run
                if other[0] == suite
                and places.get(other) == places.get((suite, run))
                and not _is_named(other[1], spiked[suite])
                and steps[other] & steps[suite, run]
            ]
            reference = max(
                others, key=lambda other: len(steps[other] & steps[suite, run]), default=None
            )
            tables.append(_beside(part, of_run[reference] if reference else None))
            continue
        losses = history[(history.suite == suite) & (history.run == run)]
        losses = losses[(losses.source == "log") & (losses.metric == "loss")]
        states = _states(losses.sort_values("step", kind="stable"), part.step)
        if states is not None:
            tables.append(part.assign(state=states[0], loss=states[1]))
    found = pd.concat(tables) if tables else pd.DataFrame()
    return found.reindex(columns=schemas.SPIKED.names)


def _is_named(run: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(run, pattern) for pattern in patterns)


def _beside(part: pd.DataFrame, reference: pd.DataFrame | None) -> pd.DataFrame:
    """Lay the checkpoints of a run beside the checkpoints of its reference at the same steps."""
    part = part.assign(state="in")
    if reference is None:
        return part
    key = ["step", "metric", "corpus", "selection"]
    theirs = reference[[*key, "run", *_BAND]].rename(
        columns={"run": "reference"} | {name: f"reference_{name}" for name in _BAND}
    )
    return part.merge(theirs, on=key, how="left")


def _states(
    losses: pd.DataFrame, steps: "pd.Series[Any]"
) -> tuple[list[str | None], list[float]] | None:
    """Return the state and the loss of each checkpoint; None if the loss has no spike.

    The loss of a checkpoint is the median of the `CONFIRMING` logged losses that are nearest to its
    step. In a spike, this loss exceeds the level that the first loss of the spike exceeded.
    """
    values, logged = losses.value.to_numpy(float), losses.step.to_numpy(float)
    onset = first_onset(values)
    if onset is None:
        return None
    level = levels(values)[onset]
    states: list[str | None] = []
    found = []
    for step in steps.to_numpy(float, na_value=np.nan):
        loss = _near(values, logged, step)
        found.append(loss)
        if np.isnan(loss):
            states.append(None)
        elif step < logged[onset]:
            states.append("before")
        else:
            # Both numbers are infinite if the loss is not finite from the start.
            states.append("after" if np.isfinite(loss) and loss <= level else "in")
    return states, found


def _near(values: NDArray[np.float64], logged: NDArray[np.float64], step: float) -> float:
    """Return the median of the losses nearest to a step; NaN if the log does not reach the step."""
    if not logged[0] <= step <= logged[-1]:
        return float("nan")
    nearest = np.argsort(np.abs(logged - step), kind="stable")[:CONFIRMING]
    finite = np.where(np.isfinite(values[nearest]), values[nearest], np.inf)
    return float(np.median(finite))
