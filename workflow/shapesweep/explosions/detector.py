"""Detect changes in the signals of a training run: a CUSUM detector raises alarms.

Time is the number of updates of the weights. An alarm depends only on samples up to the alarm.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
#: Number of previous samples to which a line is fitted to predict the next sample.
WINDOW = 16
#: Reference value of the CUSUM, in standard deviations: half of the shift to detect.
SLACK = 0.5
#: Maximum deviation, which is also the deviation of infinite values.
MOST = 50.0
#: Number of samples that the detector skips after an alarm, so that one event causes one alarm.
QUIET = 16
#: Thresholds for the sum of deviations. The last threshold is infinite and raises no alarm.
THRESHOLDS = np.append(np.geomspace(1.0, 2000.0, 160), np.inf)


def deviations(values: Floats) -> Floats:
    """Compute the deviation of each sample from the value that earlier samples predict.

    A line is fitted to the previous `WINDOW` samples by least squares. The deviation from this line
    is divided by the standard error of the prediction. A steady trend causes no deviation.

    Parameters
    ----------
    values : ndarray of float64, shape (n_samples,)
        Evenly spaced samples. A sample is NaN if it was not measured, and infinite if the measured
        value was not finite.

    Returns
    -------
    ndarray of float64, shape (n_samples,)
        Deviations within ±`MOST`; NaN for the first `WINDOW` samples. The deviation of an infinite
        sample is `MOST`. The deviation is 0 if a sample was not measured or cannot be predicted.

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
        # If a line has no noise, its rounding errors must not count as noise.
        floor = (1e-9 * np.abs(mean)) ** 2 + 1e-300
        error = np.sqrt(np.maximum(variance, floor) * (1 + 1 / WINDOW + ahead**2 / (x @ x)))
        z = (values[WINDOW:] - mean - slope * ahead) / error
    z = np.clip(np.where(np.isfinite(z), z, 0.0), -MOST, MOST)
    result[WINDOW:] = np.where(np.isinf(values[WINDOW:]), MOST, z)
    return result


def alarms(z: Floats, thresholds: Floats = THRESHOLDS) -> NDArray[np.bool_]:
    """Compute the alarms of a one-sided CUSUM of deviations (Page 1954), for every threshold.

    At each sample, the sum of the deviations becomes max(0, sum + deviation - `SLACK`). If the sum
    exceeds the threshold, the detector raises an alarm, resets the sum to 0, and skips `QUIET`
    samples.

    Parameters
    ----------
    z : ndarray of float64, shape (n_samples, n_signals)
        Deviations; only positive deviations can cause an alarm. NaN counts as 0.
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
    """The alarms of detectors for many signals on many runs, at every threshold.

    Attributes
    ----------
    false : ndarray of int, shape (n_stable, n_signals, n_thresholds)
        Number of alarms on stable runs (runs without an onset).
    watched : ndarray of float64, shape (n_stable,)
        Number of steps of stable runs during which alarms could be raised.
    lead : ndarray of float64, shape (n_unstable, n_signals, n_thresholds)
        Number of updates of the weights from the first alarm within the horizon to the onset; NaN
        if there is no alarm.
    early : ndarray of int, shape (n_unstable, n_signals, n_thresholds)
        Number of alarms on unstable runs (runs with an onset) before the horizon.
    watched_early : ndarray of float64, shape (n_unstable,)
        Number of steps of unstable runs before the horizon during which alarms could be raised.
    """

    false: NDArray[np.int64]
    watched: Floats
    lead: Floats
    early: NDArray[np.int64]
    watched_early: Floats

    def chosen(self, stable: NDArray[np.int64], rate: float) -> NDArray[np.int64]:
        """For each signal, choose the lowest threshold with few enough alarms on stable runs.

        Parameters
        ----------
        stable : ndarray of int, shape (..., n_stable)
            How many times each stable run is counted.
        rate : float
            Maximum number of false alarms per 1,000 steps.

        Returns
        -------
        ndarray of int, shape (..., n_signals)
            Index of the chosen threshold in `THRESHOLDS`.
        """
        shape = self.false.shape
        counts = stable @ self.false.reshape(shape[0], -1).astype(float)
        rates = counts.reshape(*stable.shape[:-1], *shape[1:]) * 1000
        enough = rates <= rate * (stable @ self.watched)[..., None, None]
        # A higher threshold can raise more alarms, because every alarm resets the sum. Therefore,
        # all higher thresholds must also have few enough alarms.
        enough = np.flip(np.logical_and.accumulate(np.flip(enough, -1), axis=-1), -1)
        return enough.argmax(axis=-1)

    def leads(self, at: NDArray[np.int64]) -> Floats:
        """Return `lead` at the chosen thresholds, shape (..., n_unstable, n_signals)."""
        runs, signals = np.arange(len(self.lead))[:, None], np.arange(self.lead.shape[1])
        return self.lead[runs, signals, at[..., None, :]]


def outcomes(
    z: list[Floats], moments: list[Floats], onsets: list[float | None], horizon: int
) -> Outcomes:
    """Apply the detectors to every run.

    Parameters
    ----------
    z : list of ndarray, each of shape (n_samples, n_signals)
        Deviations of the signals of each run, as in `alarms`.
    moments : list of ndarray, each of shape (n_samples,)
        Times of the samples in updates of the weights, ascending.
    onsets : list of float or None
        Time of the onset in updates of the weights; None for a stable run.
    horizon : int
        An alarm is a warning if it comes at most this number of updates before an onset. Earlier
        alarms are false.

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


def best_signals(detected: NDArray[np.bool_], counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each run, return the signal that detects explosions in the largest number of other runs.

    Parameters
    ----------
    detected : ndarray of bool, shape (..., n_runs, n_signals)
    counts : ndarray of int, shape (..., n_runs)
        Number of copies of each run; all copies of a run are left out together.

    Returns
    -------
    ndarray of int, shape (..., n_runs)
        Index of the signal; if several signals are equally good, the first.
    """
    weighted = detected * counts[..., None]
    return (weighted.sum(axis=-2, keepdims=True) - weighted).argmax(axis=-1)
