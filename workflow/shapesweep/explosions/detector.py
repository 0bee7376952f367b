"""Change detection: alarms of a CUSUM detector on signals of a training run.

Time is the number of updates of the weights. A detector only uses what was measured up to a time.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
#: Number of samples before each sample, from which it is predicted by a line.
WINDOW = 16
#: Reference value of the CUSUM, in standard deviations: half of the shift to detect.
SLACK = 0.5
#: The largest deviation; infinite values count as much.
MOST = 50.0
#: Samples that the detector skips after an alarm, so that an event gives one alarm.
QUIET = 16
#: Thresholds for the sum of deviations; the last never gives an alarm.
THRESHOLDS = np.append(np.geomspace(1.0, 2000.0, 160), np.inf)


def deviations(values: Floats) -> Floats:
    """Deviation of each sample from its prediction by earlier samples.

    A line is fitted to the previous `WINDOW` samples by least squares. The deviation from it is
    divided by the standard error of the prediction. A steady trend has no deviation.

    Parameters
    ----------
    values : ndarray of float64, shape (n_samples,)
        Evenly spaced samples; NaN if not measured, infinite if measured and not finite.

    Returns
    -------
    ndarray of float64, shape (n_samples,)
        Within ±`MOST`; NaN for the first `WINDOW`. An infinite sample deviates by `MOST`; a sample
        that was not measured, or cannot be predicted, by 0.

    Examples
    --------
    >>> import numpy as np
    >>> line = np.arange(20.0) + np.resize([0.1, -0.1], 20)
    >>> bool(abs(deviations(line)[-1]) < 2), float(deviations(np.append(line, 40.0))[-1])
    (True, 50.0)
    """
    result = np.full(len(values), np.nan)
    if len(values) <= WINDOW:
        return result
    x = np.arange(WINDOW) - (WINDOW - 1) / 2
    ahead = (WINDOW + 1) / 2
    before = np.lib.stride_tricks.sliding_window_view(values[:-1], WINDOW)
    with np.errstate(all="ignore"):
        mean = before.mean(axis=1)
        slope = before @ x / (x @ x)
        residual = before - mean[:, None] - slope[:, None] * x
        variance = (residual**2).sum(axis=1) / (WINDOW - 2)
        # Rounding errors of a line without noise are not noise.
        floor = (1e-9 * np.abs(mean)) ** 2 + 1e-300
        error = np.sqrt(np.maximum(variance, floor) * (1 + 1 / WINDOW + ahead**2 / (x @ x)))
        z = (values[WINDOW:] - mean - slope * ahead) / error
    z = np.clip(np.where(np.isfinite(z), z, 0.0), -MOST, MOST)
    result[WINDOW:] = np.where(np.isinf(values[WINDOW:]), MOST, z)
    return result


def alarms(z: Floats, thresholds: Floats = THRESHOLDS) -> NDArray[np.bool_]:
    """Alarms of a one-sided CUSUM of deviations (Page 1954), for every threshold.

    The sum is max(0, sum + deviation - `SLACK`). Above the threshold there is an alarm, the sum
    restarts, and `QUIET` samples are skipped.

    Parameters
    ----------
    z : ndarray of float64, shape (n_samples, n_signals)
        Deviations, of which increases count; NaN is skipped.
    thresholds : ndarray of float64, shape (n_thresholds,)

    Returns
    -------
    ndarray of bool, shape (n_samples, n_signals, n_thresholds)
    """
    shape = (z.shape[1], len(thresholds))
    total, quiet = np.zeros(shape), np.zeros(shape, dtype=np.int64)
    raised = np.zeros((len(z), *shape), dtype=bool)
    for i, now in enumerate(np.nan_to_num(z, nan=0.0)):
        total = np.where(quiet > 0, 0.0, np.maximum(total + now[:, None] - SLACK, 0.0))
        quiet = np.maximum(quiet - 1, 0)
        raised[i] = total > thresholds
        total[raised[i]], quiet[raised[i]] = 0.0, QUIET
    return raised


@dataclass(frozen=True, eq=False)
class Outcomes:
    """Alarms of detectors of many signals on many runs, at every threshold.

    Attributes
    ----------
    false : ndarray of int, shape (n_stable, n_signals, n_thresholds)
        Alarms on runs without an onset.
    watched : ndarray of float64, shape (n_stable,)
        Steps during which alarms could be raised.
    lead : ndarray of float64, shape (n_unstable, n_signals, n_thresholds)
        Updates from the first alarm within the horizon to the onset; NaN without an alarm.
    early : ndarray of int, shape (n_unstable, n_signals, n_thresholds)
        Alarms on unstable runs before the horizon.
    watched_early : ndarray of float64, shape (n_unstable,)
    """

    false: NDArray[np.int64]
    watched: Floats
    lead: Floats
    early: NDArray[np.int64]
    watched_early: Floats

    def chosen(self, stable: NDArray[np.int64], rate: float) -> NDArray[np.int64]:
        """For every signal, the lowest threshold at which stable runs raise few enough alarms.

        Parameters
        ----------
        stable : ndarray of int, shape (..., n_stable)
            Weight of each stable run.
        rate : float
            Maximum number of false alarms per 1,000 steps.

        Returns
        -------
        ndarray of int, shape (..., n_signals)
            Its position.
        """
        shape = self.false.shape
        counts = stable @ self.false.reshape(shape[0], -1).astype(float)
        rates = counts.reshape(*stable.shape[:-1], *shape[1:]) * 1000
        enough = rates <= rate * (stable @ self.watched)[..., None, None]
        # Alarms decrease with the threshold, except for effects of restarts.
        enough = np.flip(np.logical_and.accumulate(np.flip(enough, -1), axis=-1), -1)
        return enough.argmax(axis=-1)

    def leads(self, at: NDArray[np.int64]) -> Floats:
        """The leads at the chosen thresholds, shape (..., n_unstable, n_signals)."""
        runs, signals = np.arange(len(self.lead))[:, None], np.arange(self.lead.shape[1])
        return self.lead[runs, signals, at[..., None, :]]


def outcomes(
    z: list[Floats], moments: list[Floats], onsets: list[float | None], horizon: int
) -> Outcomes:
    """Run the detectors on every run.

    Parameters
    ----------
    z : list of ndarray, each of shape (n_samples, n_signals)
        Deviations of the signals of a run, of which increases count.
    moments : list of ndarray, each of shape (n_samples,)
        Updates of the weights, ascending.
    onsets : list of float or None
        Updates of the weights at the onset; None for a stable run.
    horizon : int
        Updates before an onset within which an alarm is a warning; earlier ones are false.

    Returns
    -------
    Outcomes
    """
    false, watched, lead, early, watched_early = [], [], [], [], []
    for deviation, when, onset in zip(z, moments, onsets, strict=True):
        raised = alarms(deviation)
        known = ~np.isnan(deviation).all(axis=1)
        gaps = np.diff(when, prepend=when[:1])
        if onset is None:
            false.append(raised.sum(axis=0))
            watched.append(gaps[known].sum())
            continue
        ahead = onset - when
        within = (ahead >= 1) & (ahead <= horizon)
        far = ahead > horizon
        first = np.where(raised & within[:, None, None], ahead[:, None, None], -np.inf).max(axis=0)
        lead.append(np.where(np.isfinite(first), first, np.nan))
        early.append((raised & far[:, None, None]).sum(axis=0))
        watched_early.append(gaps[known & far].sum())
    shape = (0, z[0].shape[1], len(THRESHOLDS))
    return Outcomes(
        np.array(false, dtype=np.int64).reshape(-1, *shape[1:]),
        np.array(watched, dtype=float),
        np.array(lead, dtype=float).reshape(-1, *shape[1:]),
        np.array(early, dtype=np.int64).reshape(-1, *shape[1:]),
        np.array(watched_early, dtype=float),
    )


def elected(detected: NDArray[np.bool_], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """For every run, the signal that detects the most other runs.

    Parameters
    ----------
    detected : ndarray of bool, shape (..., n_runs, n_signals)
    counts : ndarray of int, shape (..., n_runs)
        Weight of each run; all copies of a run are left out together.

    Returns
    -------
    ndarray of int, shape (..., n_runs)
        Index of the signal; the first of equally good ones.
    """
    weighted = detected * counts[..., None]
    return (weighted.sum(axis=-2, keepdims=True) - weighted).argmax(axis=-1)
