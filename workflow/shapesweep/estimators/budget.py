"""The dimension budget: principal axes, and how few of them are enough."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from shapesweep.estimators import jackknife
from shapesweep.estimators.moments import Moments
from shapesweep.estimators.spectrum import eigh


def principal_axes(points: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The mean of a cloud and its principal axes.

    Parameters
    ----------
    points : ndarray, shape (n_points, n_features)

    Returns
    -------
    mean : ndarray of float64, shape (n_features,)
    axes : ndarray of float64, shape (n_features, n_features)
        One a column, the one of the largest variance first.
    """
    moments = Moments.of(points)
    _, axes = eigh(moments.scatter)
    return moments.mean, axes[:, ::-1]


def relative_rise(
    value: float,
    without: NDArray[np.float64],
    full: float,
    full_without: NDArray[np.float64],
) -> tuple[float, float]:
    """How much higher a loss is than the full model's, and half its 95 % interval.

    Parameters
    ----------
    value, full : float
    without, full_without : ndarray of float64, shape (n_groups,)
        The same without each group of documents: paired.

    Returns
    -------
    rise : float
    half_width : float
    """
    replicates = without / full_without - 1
    return value / full - 1, float(jackknife.half_width_of(replicates))


def smallest(is_enough: Callable[[int], bool], most: int) -> int:
    """The smallest k that is enough, by bisection.

    Parameters
    ----------
    is_enough : callable
        Of k; where it is not monotone, what is found is a place where it begins to hold, not
        necessarily the first.
    most : int
        Is taken to be enough.

    Returns
    -------
    int
        In 0 … most.
    """
    if is_enough(0):
        return 0
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high
