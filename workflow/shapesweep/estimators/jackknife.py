"""Estimate uncertainty by leaving out groups of documents.

Tokens of a document are not independent, and a bootstrap would repeat rows, which would then be
neighbours at distance zero. Therefore, whole groups of documents are left out in turn.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from shapesweep.estimators.arrays import Floats, Labels

#: With fewer groups than this, no group is called dominant.
FEW_GROUPS = 8


def assign_groups(documents: Labels, n_groups: int = 16) -> Labels:
    """Assign a group to every point: the index of its document modulo the number of groups.

    Groups consist of the same documents for every checkpoint, layer and metric, so that averages
    and differences can be computed for each replicate.

    Parameters
    ----------
    documents : ndarray of int, shape (n_points,)
    n_groups : int

    Returns
    -------
    ndarray of int, shape (n_points,)
    """
    return np.asarray(documents) % n_groups


def stderr(replicates: ArrayLike) -> Any:
    """Standard error from the delete-group jackknife (Shao and Tu 1995, eq. 2.3 with groups).

    The error is √((G - 1)/G · Σ (θ_g - θ̄)²), where θ_g is the value without group g, and θ̄ is the
    mean of all θ_g.

    Parameters
    ----------
    replicates : array_like, shape (n_groups, ...)
        Values, each computed without one group; NaN if a value could not be computed.

    Returns
    -------
    float or ndarray, shape (...)
        NaN with fewer than two groups, or if a replicate is NaN.
    """
    values = np.asarray(replicates, dtype=np.float64)
    n_groups = len(values)
    if n_groups < 2:
        return np.full(values.shape[1:], np.nan)[()]
    spread = ((values - values.mean(axis=0)) ** 2).sum(axis=0)
    return np.sqrt((n_groups - 1) / n_groups * spread)


def half_width(error: ArrayLike, n_groups: ArrayLike, level: float = 0.95) -> Any:
    """Half width of a confidence interval from a jackknife standard error.

    The interval uses Student's t with n_groups - 1 degrees of freedom. With 16 groups, the half
    width equals 2.13 standard errors.
    """
    freedom = np.maximum(np.asarray(n_groups) - 1, 1)
    return special.stdtrit(freedom, 0.5 + level / 2) * np.asarray(error)


def half_width_of(replicates: ArrayLike) -> Any:
    """Half widths of 95 % confidence intervals, computed from jackknife replicates.

    Parameters
    ----------
    replicates : array_like, shape (n_groups, ...)

    Returns
    -------
    float or ndarray, shape (...)
    """
    values = np.asarray(replicates, dtype=np.float64)
    return half_width(stderr(values), len(values))


def moderated(errors: Floats, n_groups: int) -> tuple[Floats, float]:
    """Combine many standard errors, each of which has few degrees of freedom.

    A standard error from few groups is too small by chance in some of many comparisons. Therefore,
    each variance is averaged with a typical variance: the moderated variances of Smyth 2004
    ("Linear models and empirical Bayes methods", section 3), as in limma. The weight of the typical
    variance is estimated from the differences between the variances. It is small if the variances
    differ by more than chance.

    Parameters
    ----------
    errors : ndarray of float64, shape (n,), n >= 2
        Jackknife standard errors, scaled such that they can be alike.
    n_groups : int

    Returns
    -------
    errors : ndarray of float64, shape (n,)
        Moderated standard errors.
    freedom : float
        Their degrees of freedom, between n_groups - 1 and twice this number.

    Notes
    -----
    limma gives the typical variance any weight. Here, its weight never exceeds that of a variance
    itself, because it would be overestimated for comparisons that share values.
    """
    freedom = n_groups - 1
    variances = errors**2
    typical = float(np.median(variances))
    if typical == 0:
        return errors, freedom
    # As in limma, very small variances do not dominate the logarithms.
    logs = np.log(np.maximum(variances, 1e-5 * typical))
    # Variance of the logarithms of the true variances: trigamma(prior / 2).
    spread = logs.var(ddof=1) - special.polygamma(1, freedom / 2)
    prior = float(freedom)
    if spread > special.polygamma(1, freedom / 2):
        # trigamma(x) > 1/x², so this interval contains the solution.
        low, high = 2 / np.sqrt(spread), freedom
        prior = optimize.brentq(lambda d: special.polygamma(1, d / 2) - spread, low, high)
    mean = logs.mean() + _log_bias(prior) - _log_bias(freedom)
    combined = (prior * np.exp(mean) + freedom * variances) / (prior + freedom)
    return np.sqrt(combined), freedom + prior


def _log_bias(freedom: float) -> float:
    """Return the mean of log(s²/σ²), where s² is an estimate of the variance σ²."""
    return float(special.digamma(freedom / 2) - np.log(freedom / 2))


def interval(
    value: ArrayLike,
    error: ArrayLike,
    n_groups: ArrayLike,
    low: ArrayLike = -np.inf,
    high: ArrayLike = np.inf,
    level: float = 0.95,
) -> tuple[Any, Any]:
    """Confidence intervals from jackknife standard errors, which stay inside bounds.

    Values with two finite bounds get intervals on the arcsine scale. For a share p between the
    bounds, z = arcsin(√p) has the standard error error/(2 √(p(1 - p))). The logit scale would give
    far too wide intervals to values close to a bound.

    Parameters
    ----------
    value, error, n_groups : array_like
        Values, their standard errors, and the numbers of groups.
    low, high : array_like
        Bounds of the values; infinite for values without bounds.
    level : float

    Returns
    -------
    low, high : float or ndarray
        Ends of the intervals. The interval of a value at one of its bounds is limited by the
        bounds.
    """
    value, low, high = (np.asarray(each, dtype=np.float64) for each in (value, low, high))
    # Rounding can move a value slightly beyond a bound.
    low, high = np.minimum(low, value), np.maximum(high, value)
    half = half_width(error, n_groups, level)
    plain = np.clip(value - half, low, high), np.clip(value + half, low, high)
    with np.errstate(invalid="ignore", divide="ignore"):
        width = high - low
        share = (value - low) / width
        angle, scaled = np.arcsin(np.sqrt(share)), half / (2 * width * np.sqrt(share * (1 - share)))
        angles = (np.clip(angle + sign * scaled, 0, np.pi / 2) for sign in (-1, 1))
        ends = (low + width * np.sin(each) ** 2 for each in angles)
        inside = np.isfinite(width) & (share > 0) & (share < 1)
        return tuple(
            np.where(inside, end, other)[()] for end, other in zip(ends, plain, strict=True)
        )


def dominant(replicates: ArrayLike) -> Any:
    """Find the group of documents that causes most of the jackknife variance, if there is one.

    A group dominates if its share of Σ (θ_g - θ̄)² exceeds one half, and exceeds the 99 % quantile
    of the largest share among G equally influential groups, which is 0.57 for 16 groups and 0.84
    for eight. Without a dominant group, the shares have a Beta(1/2, G/2 - 1) distribution,
    approximately. With fewer than eight groups, no group dominates.

    Parameters
    ----------
    replicates : array_like, shape (n_groups, ...)

    Returns
    -------
    int or ndarray of int, shape (...)
        Index of the dominant group; -1 if there is none.
    """
    values = np.asarray(replicates, dtype=np.float64)
    n_groups = len(values)
    if n_groups < FEW_GROUPS:
        return np.full(values.shape[1:], -1)[()]
    squares = (values - values.mean(axis=0)) ** 2
    total, largest = squares.sum(axis=0), np.nan_to_num(squares).argmax(axis=0)
    limit = max(0.5, special.betaincinv(0.5, n_groups / 2 - 1, 1 - 0.01 / n_groups))
    with np.errstate(invalid="ignore", divide="ignore"):
        is_dominant = squares.max(axis=0) / total > limit
    return np.where(is_dominant, largest, -1)[()]
