"""Test whether a curve rises and then falls: compare a unimodal fit with a monotone fit.

The functions process many curves at a time, because many curves are simulated for the null
distribution.
"""

import functools
from dataclasses import dataclass

import numpy as np

from shapesweep.estimators.arrays import Floats, Ints

#: Number of simulated curves. With 999 curves, a p value of 0.05 has a standard error of 0.007.
SIMULATIONS = 999
#: Random seed of the simulation; it is fixed, so that equal curves get equal verdicts.
SEED = 0


@dataclass(frozen=True)
class Peak:
    """The result of the test for a peak.

    Attributes
    ----------
    index : int
        Index of the highest value among all values except the first and the last.
    low, high : int
        Ends of a 95 % interval for the index. The interval contains at least the previous and the
        next index.
    p_value : float
        Probability that a curve without a peak, but with the same noise, looks at least as peaked.
    noise : float
        Standard deviation of the noise, known or estimated.
    """

    index: int
    low: int
    high: int
    p_value: float
    noise: float


def prefix_errors(values: Floats) -> Floats:
    """Squared error of the best non-decreasing fit to every prefix of a curve.

    The algorithm is "pool adjacent violators" (Ayer et al. 1955), for many curves at once.

    Parameters
    ----------
    values : ndarray of float64, shape (n_curves, n)

    Returns
    -------
    ndarray of float64, shape (n_curves, n + 1)
        Entry i is the error of the fit to the first i values. Entries 0 and 1 are 0.
    """
    n_curves, n = values.shape
    values = values - values.mean(axis=1, keepdims=True)
    rows = np.arange(n_curves)
    # Every curve has a stack of pooled blocks; `explained` is the sum of squares that the blocks up
    # to each position explain.
    sums, counts = np.zeros((n_curves, n)), np.ones((n_curves, n))
    explained = np.zeros((n_curves, n + 1))
    top = np.full(n_curves, -1)
    errors = np.zeros((n_curves, n + 1))
    squares = np.cumsum(values**2, axis=1)
    for i in range(n):
        top += 1
        sums[rows, top], counts[rows, top] = values[:, i], 1
        active = rows[top > 0]
        while len(active):
            at = top[active]
            falls = (
                sums[active, at - 1] * counts[active, at]
                > sums[active, at] * counts[active, at - 1]
            )
            active = active[falls]
            at = top[active]
            sums[active, at - 1] += sums[active, at]
            counts[active, at - 1] += counts[active, at]
            top[active] -= 1
            active = active[top[active] > 0]
        explained[rows, top + 1] = explained[rows, top] + sums[rows, top] ** 2 / counts[rows, top]
        errors[:, i + 1] = squares[:, i] - explained[rows, top + 1]
    return np.maximum(errors, 0)


def split_errors(values: Floats) -> tuple[Floats, Floats]:
    """Squared errors of the best monotone fit, and of the best fit with a turn at each position.

    Parameters
    ----------
    values : ndarray of float64, shape (n_curves, n)

    Returns
    -------
    monotone : ndarray of float64, shape (n_curves,)
        Error of the rising or the falling fit, whichever fits better.
    turning : ndarray of float64, shape (n_curves, n - 1)
        Entry i is the error of the fit that rises up to value i and falls from value i + 1; the
        peak is one of these two values.
    """
    rising = prefix_errors(values)
    falling = prefix_errors(values[:, ::-1])[:, ::-1]
    monotone = np.minimum(rising[:, -1], falling[:, 0])
    return monotone, rising[:, 1:-1] + falling[:, 1:-1]


def noise(values: Floats, x: Floats) -> Floats:
    """Estimate noise from the distance of each value to the line through its two neighbours.

    The function uses the estimator of Gasser, Sroka and Jennen-Steinmetz 1986 (eq. 2). Curvature
    counts as noise; noise that neighbouring values share does not count.

    Parameters
    ----------
    values : ndarray of float64, shape (..., n)
    x : ndarray of float64, shape (n,), increasing
        Positions of the values.

    Returns
    -------
    ndarray of float64, shape (...)
        Standard deviation of the noise.
    """
    widths = x[2:] - x[:-2]
    before, behind = (x[2:] - x[1:-1]) / widths, (x[1:-1] - x[:-2]) / widths
    residuals = before * values[..., :-2] + behind * values[..., 2:] - values[..., 1:-1]
    return np.sqrt((residuals**2 / (1 + before**2 + behind**2)).mean(axis=-1))


def thinned(x: Floats, most: int) -> Ints:
    """Choose evenly spaced values of a curve, including both ends.

    Values that are very close together share their noise, which a test would mistake for a shape.

    Parameters
    ----------
    x : ndarray of float64, shape (n,), increasing
        Positions of the values.
    most : int
        Maximum number of chosen values.

    Returns
    -------
    ndarray of int64, at most `most`, increasing
        Indices of the chosen values.
    """
    if len(x) <= most:
        return np.arange(len(x))
    even = np.linspace(x[0], x[-1], most)
    return np.unique(np.abs(x[:, None] - even).argmin(axis=0))


def unimodal_fit(values: Floats) -> Floats:
    """The best fit that rises and then falls.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)

    Returns
    -------
    ndarray of float64, shape (n,)
    """
    from scipy.optimize import isotonic_regression

    _, turning = split_errors(values[None])
    split = int(turning[0].argmin()) + 1
    rising = isotonic_regression(values[:split]).x
    falling = isotonic_regression(values[split:], increasing=False).x
    return np.concatenate([rising, falling])


def find_peak(
    values: Floats, x: Floats, known_noise: float | None = None, freedom: int = 0
) -> Peak:
    """Test whether a curve rises and then falls by more than its noise.

    The statistic is the squared error of the best monotone fit minus the squared error of the best
    fit with a turn, in units of the variance of the noise. Its distribution is simulated for a
    constant curve, for which noise looks most like a peak. The test is therefore valid for every
    monotone curve, if the noise is independent and equally large everywhere. To find the interval
    of the peak, curves are simulated around the unimodal fit. The excess of a turn is the squared
    error of the fit with this turn minus that of the fit with the best turn. The interval contains
    every turn whose excess does not exceed the 95 % quantile of the true turn's excess in the
    simulations.

    Parameters
    ----------
    values : ndarray of float64, shape (n,), n >= 3
    x : ndarray of float64, shape (n,), increasing
        Positions of the values, on a scale on which the curve is smooth, such as log(1 + step).
    known_noise : float, optional
        Standard deviation of a value between training runs that differ only by seed. If it is not
        given, the function `noise` estimates the noise.
    freedom : int
        Degrees of freedom of `known_noise`.

    Returns
    -------
    Peak
    """
    index = 1 + int(values[1:-1].argmax())
    scale = known_noise if known_noise is not None else float(noise(values, x))
    monotone, turning = split_errors(values[None])
    saved = monotone[0] - turning[0].min()
    rounding = 8 * np.finfo(np.float64).eps * float(np.abs(values).max())
    if scale <= rounding:
        # Without noise, every turn is a peak.
        p_value = 0.0 if saved > len(values) * rounding**2 else 1.0
        return Peak(index, index - 1, index + 1, p_value, scale)
    n_freedom = freedom if known_noise is not None else 0
    law = _constant_law(tuple(x.tolist()), n_freedom)
    p_value = (1 + int((law >= saved / scale**2).sum())) / (1 + len(law))
    fit = unimodal_fit(values)
    simulated = fit + scale * _draws(len(values))
    scales = _scales(simulated, x, n_freedom, scale)
    _, turns = split_errors(simulated)
    costs = (turns[:, int(turning[0].argmin())] - turns.min(axis=1)) / scales**2
    kept = np.flatnonzero(turning[0] - turning[0].min() <= np.quantile(costs, 0.95) * scale**2)
    # A turn lies between two values, and either value may be the peak.
    low, high = int(kept[0]), int(kept[-1]) + 1
    return Peak(index, min(low, index - 1), max(high, index + 1), p_value, scale)


@functools.lru_cache(maxsize=64)
def _constant_law(x: tuple[float, ...], freedom: int) -> Floats:
    """Simulate the test statistic for constant curves with noise of standard deviation 1."""
    simulated = _draws(len(x))
    monotone, turning = split_errors(simulated)
    scales = _scales(simulated, np.array(x), freedom, 1.0)
    return (monotone - turning.min(axis=1)) / scales**2


def _draws(n: int) -> Floats:
    return np.random.default_rng(SEED).standard_normal((SIMULATIONS, n))


def _scales(simulated: Floats, x: Floats, freedom: int, scale: float) -> Floats:
    """Estimate the noise of each curve, from the curve itself or from simulated training runs."""
    if not freedom:
        return noise(simulated, x)
    rng = np.random.default_rng([SEED, 1])
    return scale * np.sqrt(rng.chisquare(freedom, len(simulated)) / freedom)
