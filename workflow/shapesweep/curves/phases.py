"""Phases: does a number rise and fall again along training, by more than two noises?

Documents are shared by all checkpoints, so their noise alone would make every wiggle a peak;
training has a noise of its own, which a repeated training would show.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shapesweep.curves import intervals
from shapesweep.estimators import jackknife, unimodal
from shapesweep.storage import schemas

#: Checkpoints that are asked, evenly spaced in log(1 + step): closer ones share their noise.
MOST = 24
#: Fewer tell nothing: of three, every curve that is not monotone looks like a peak.
LEAST = 5
#: Trained checkpoints that seeds must share for their spread to be the noise of training.
SHARED = 3
#: A peak is one that noise alone would make in fewer than so many of all trainings.
LEVEL = 0.05


def phases(middle: pd.DataFrame) -> pd.DataFrame:
    """Does a number rise and fall again along training? `schemas.PHASES`.

    A peak stands out of both noises. Out of that of training: a unimodal fit is better than the
    best monotone one by more than noise makes it (`unimodal.find_peak`, on log(1 + step)), the
    noise taken from runs that differ only by their seed, else from the curve's own residuals. And
    out of that of the documents: the 95 % interval of its prominence, min(peak - first,
    peak - last), lies above zero. The noise is taken to be as large at every checkpoint, and that
    of one to tell nothing of the next; so of many only `MOST` are asked.

    Parameters
    ----------
    middle : pandas.DataFrame
        Of `trajectories.middles`.

    Returns
    -------
    pandas.DataFrame
        One row a (run, corpus, selection, metric, k), for the average of the middle blocks, and one
        for the mean over the seeds of a model. `verdict` is `peak`, `no peak`,
        `too few checkpoints` or `undefined`.
    """
    steps = middle[middle.step.notna()].sort_values("step", kind="stable")
    rows = []
    by_model = steps.groupby(
        ["suite", "model", *intervals.CURVE, "layers"], sort=False, dropna=False
    )
    for _, part in by_model:
        runs = [run for _, run in part.groupby("run", sort=False)]
        scale, freedom, mean = _seeds(runs)
        for run in runs:
            rows.append(_row(run, _judged(run, scale, freedom)))
        if mean is not None:
            # A mean of several is as much less noisy.
            shrunk = None if scale is None else scale / np.sqrt(len(runs))
            judged = _judged(mean, shrunk, freedom)
            rows.append(_row(mean, judged) | {"over": intervals.SEEDS})
    return pd.DataFrame(rows, columns=schemas.PHASES.names)


def _row(part: pd.DataFrame, judged: dict[str, Any]) -> dict[str, Any]:
    first = part.iloc[0]
    key = [*intervals.RUN, *intervals.CURVE, "layers"]
    return {**{name: first[name] for name in key}, "over": intervals.DOCUMENTS, **judged}


def _seeds(
    runs: list[pd.DataFrame],
) -> tuple[float | None, int, pd.DataFrame | None]:
    """Noise from seed to seed, its degrees of freedom, and the mean of the runs."""
    shared = set.intersection(*(set(run.step) for run in runs))
    # Before training, seeds differ by their weights alone.
    trained = sorted(step for step in shared if step > 0)
    if len(runs) < 2 or len(trained) < SHARED:
        return None, 0, None
    same = [run[run.step.isin(shared)].drop_duplicates("step") for run in runs]
    values = np.stack([intervals.as_array(run.value) for run in same])
    without = [np.stack(run.replicates.to_list()) for run in same]
    is_trained = same[0].step.isin(trained).to_numpy(bool)
    scale = float(np.sqrt(values[:, is_trained].var(axis=0, ddof=1).mean()))
    paired = len({replicate.shape for replicate in without}) == 1
    mean = same[0].assign(
        run=same[0].model,
        seed=None,
        value=values.mean(axis=0),
        replicates=list(np.mean(without, axis=0)) if paired else same[0].replicates,
    )
    known = scale if np.isfinite(scale) and scale > 0 else None
    return known, (len(runs) - 1) * len(trained), mean


def _judged(part: pd.DataFrame, known_noise: float | None, freedom: int) -> dict[str, Any]:
    part = part.drop_duplicates("step")
    values, steps = intervals.as_array(part.value), part.step.to_numpy(int)
    ends = {
        "n_checkpoints": len(part),
        "first_step": steps[0],
        "first": values[0],
        "last_step": steps[-1],
        "last": values[-1],
    }
    if len(part) < (LEAST if known_noise is None else 3):
        return {**ends, "verdict": "too few checkpoints"}
    if not np.isfinite(values).all():
        return {**ends, "verdict": "undefined"}
    kept = unimodal.thinned(np.log1p(steps), MOST)
    part = part.iloc[kept]
    values, steps, x = values[kept], steps[kept], np.log1p(steps[kept])
    peak = unimodal.find_peak(values, x, known_noise, freedom)
    without = np.stack(part.replicates.to_list(), axis=1)
    prominence, half = _prominence(values, without, peak.index)
    is_peak = peak.p_value < LEVEL and prominence > half
    return {
        **ends,
        "peak_step": steps[peak.index],
        "peak_step_low": steps[peak.low],
        "peak_step_high": steps[peak.high],
        "peak": values[peak.index],
        "prominence": prominence,
        "half_width": half,
        "noise": peak.noise,
        "noise_source": "residuals" if known_noise is None else "seeds",
        "p_value": peak.p_value,
        "verdict": "peak" if is_peak else "no peak",
    }


def _prominence(
    values: NDArray[np.float64], without: NDArray[np.float64], top: int
) -> tuple[float, float]:
    """min(peak - first, peak - last), and half its 95 % interval over documents."""
    replicates = np.minimum(without[:, top] - without[:, 0], without[:, top] - without[:, -1])
    prominence = min(values[top] - values[0], values[top] - values[-1])
    return float(prominence), float(jackknife.half_width_of(replicates))
