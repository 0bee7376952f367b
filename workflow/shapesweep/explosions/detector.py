"""Early warning: what a change detector sees of a signal before a loss explosion, causally.

Pure functions on arrays. A moment is told by the number of updates that the weights have had; a
detector at a moment knows what was measured up to it and nothing else.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
#: Samples before a moment, from whose line the next is foretold.
WINDOW = 16
#: What a deviation must exceed, in standard deviations, to count towards an alarm (CUSUM's
#: reference value, half of the shift that is looked for: of one standard deviation).
SLACK = 0.5
#: One deviation counts this much at most, so that a single one cannot be told from an infinite one.
MOST = 50.0
#: Samples after an alarm that the detector does not look at: one event is one alarm.
QUIET = 16
#: Thresholds that are tried, in the unit of the sum of deviations; at the last there is no alarm.
THRESHOLDS = np.append(np.geomspace(1.0, 2000.0, 160), np.inf)


def deviations(values: Floats) -> Floats:
    """How far each sample lies from what the samples before it foretold.

    A line is fitted to the `WINDOW` samples before by least squares; the deviation from it is
    divided by the standard error of such a prediction. A steady trend is none.

    Parameters
    ----------
    values : ndarray of float64, shape (n_samples,)
        Evenly spaced. NaN of what was not measured, infinite of what was and is not finite.

    Returns
    -------
    ndarray of float64, shape (n_samples,)
        Within ±`MOST`; NaN of the first `WINDOW`. An infinite sample deviates by `MOST`; one that
        was not measured, or before which nothing can be foretold, by nothing.

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
        # What rounding leaves of a line without noise is no noise.
        floor = (1e-9 * np.abs(mean)) ** 2 + 1e-300
        error = np.sqrt(np.maximum(variance, floor) * (1 + 1 / WINDOW + ahead**2 / (x @ x)))
        z = (values[WINDOW:] - mean - slope * ahead) / error
    z = np.clip(np.where(np.isfinite(z), z, 0.0), -MOST, MOST)
    result[WINDOW:] = np.where(np.isinf(values[WINDOW:]), MOST, z)
    return result


def alarms(z: Floats, thresholds: Floats = THRESHOLDS) -> NDArray[np.bool_]:
    """When a one-sided CUSUM of deviations raises an alarm (Page 1954), for every threshold.

    Its sum is max(0, sum + deviation - `SLACK`); above the threshold there is an alarm, the sum
    begins anew, and `QUIET` samples are not looked at.

    Parameters
    ----------
    z : ndarray of float64, shape (n_samples, n_signals)
        Of `deviations`, of which growth counts; NaN is not looked at.
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
    """What detectors of many signals did on many runs, at every threshold.

    Attributes
    ----------
    false : ndarray of int, shape (n_stable, n_signals, n_thresholds)
        Alarms on runs without an onset.
    watched : ndarray of float64, shape (n_stable,)
        Steps during which they could have been raised.
    lead : ndarray of float64, shape (n_unstable, n_signals, n_thresholds)
        Updates from the first alarm within the horizon to the weights whose loss is the onset; NaN
        where there was none.
    early : ndarray of int, shape (n_unstable, n_signals, n_thresholds)
        Alarms on those runs before the horizon.
    watched_early : ndarray of float64, shape (n_unstable,)
    """

    false: NDArray[np.int64]
    watched: Floats
    lead: Floats
    early: NDArray[np.int64]
    watched_early: Floats

    def chosen(self, stable: NDArray[np.int64], rate: float) -> NDArray[np.int64]:
        """Of every signal, the lowest threshold at which stable runs raise few enough alarms.

        Parameters
        ----------
        stable : ndarray of int, shape (..., n_stable)
            How often each stable run counts.
        rate : float
            False alarms per 1,000 steps, at most.

        Returns
        -------
        ndarray of int, shape (..., n_signals)
            Its position.
        """
        shape = self.false.shape
        counts = stable @ self.false.reshape(shape[0], -1).astype(float)
        rates = counts.reshape(*stable.shape[:-1], *shape[1:]) * 1000
        enough = rates <= rate * (stable @ self.watched)[..., None, None]
        # Fewer alarms at a higher threshold, but for the times at which a sum begins anew.
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
        The deviations of a run's signals, of which growth counts.
    moments : list of ndarray, each of shape (n_samples,)
        Updates that the weights have had, ascending.
    onsets : list of float or None
        Updates of the weights whose loss is the onset; None of a stable run.
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
    """For every run, the signal that detects most of the other runs.

    Parameters
    ----------
    detected : ndarray of bool, shape (..., n_runs, n_signals)
    counts : ndarray of int, shape (..., n_runs)
        How often each run counts; all copies of a run are left out together.

    Returns
    -------
    ndarray of int, shape (..., n_runs)
        Its position; of equally good ones the first.
    """
    weighted = detected * counts[..., None]
    return (weighted.sum(axis=-2, keepdims=True) - weighted).argmax(axis=-1)
