"""Find phases of training: does a metric rise and then fall by more than its noise?

All checkpoints are measured on the same documents. If only the noise from the choice of documents
were considered, every small fluctuation would count as a peak. Training adds further noise, which
differs between repeated training runs.
"""

from typing import Any

import numpy as np
import pandas as pd

from shapesweep.curves import intervals
from shapesweep.estimators import jackknife, unimodal
from shapesweep.storage import schemas

#: Maximum number of checkpoints in the test, evenly spaced in log(1 + step). If checkpoints are too
#: close together, they share noise.
MOST = 24
#: Minimum number of checkpoints if the noise is estimated from a single curve. With three
#: checkpoints, every curve that rises and then falls would count as a peak.
LEAST = 5
#: Minimum number of checkpoints after step 0 that all seeds must have in common. If they have fewer
#: checkpoints in common, the noise of training is not estimated from seeds.
SHARED = 3
#: Significance level of the test for a peak.
LEVEL = 0.05


def phases(middle: pd.DataFrame) -> pd.DataFrame:
    """Compute the table `schemas.PHASES`: does a metric rise and then fall during training?

    A peak must exceed the noise of training and the noise from the choice of documents:

    - Training: the best unimodal fit is closer to the curve than the best monotone fit, by more
      than the noise explains (`unimodal.find_peak` on log(1 + step)). The noise is estimated from
      runs that differ only by their seed or, if this is not possible, from the residuals of the
      curve.
    - Documents: the 95 % interval of the prominence, min(peak - first, peak - last), lies above
      zero.

    The test assumes that the noise of all checkpoints is independent and equally large. It uses at
    most `MOST` checkpoints, because checkpoints that are too close together share noise.

    Parameters
    ----------
    middle : pandas.DataFrame
        Result of `trajectories.middles`.

    Returns
    -------
    pandas.DataFrame
        Verdicts on the average over the middle blocks. Each corpus, selection, metric and k has one
        row for every run, and one row for the mean over the seeds of a model. `verdict` is `peak`,
        `no peak`, `too few checkpoints` or `undefined`.
    """
    steps = middle[middle.step.notna()].sort_values("step", kind="stable")
    rows = []
    key = ["suite", "model", *intervals.CURVE, "layers"]
    for _, part in steps.groupby(key, sort=False, dropna=False):
        runs = [run for _, run in part.groupby("run", sort=False)]
        scale, freedom, mean = _seeds(runs)
        for run in runs:
            rows.append(_row(run, _judged(run, scale, freedom)))
        if mean is not None:
            # The mean over seeds has less noise than a single run.
            shrunk = None if scale is None else scale / np.sqrt(len(runs))
            judged = _judged(mean, shrunk, freedom)
            rows.append(_row(mean, judged) | {"over": intervals.SEEDS})
    return pd.DataFrame(rows, columns=schemas.PHASES.names)


def _row(part: pd.DataFrame, judged: dict[str, Any]) -> dict[str, Any]:
    first = part.iloc[0]
    key = [*intervals.RUN, *intervals.CURVE, "layers"]
    return {**{name: first[name] for name in key}, "over": intervals.DOCUMENTS, **judged}


def _seeds(runs: list[pd.DataFrame]) -> tuple[float | None, int, pd.DataFrame | None]:
    """Return the noise between seeds, its degrees of freedom, and the mean of the runs."""
    shared = set.intersection(*(set(run.step) for run in runs))
    # Leave out step 0: before training, seeds differ only by their initial weights.
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
    # Prominence, min(peak - first, peak - last), and half-width of its 95 % interval (documents).
    prominence = float(values[peak.index] - max(values[0], values[-1]))
    lines = without[:, peak.index] - np.maximum(without[:, 0], without[:, -1])
    half = float(jackknife.half_width_of(lines))
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
