"""Estimate uncertainty by leaving out groups of documents.

Tokens of a document are not independent, and a bootstrap would repeat rows, which would then be
neighbours at distance zero. Therefore, whole groups of documents are left out in turn.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from shapesweep.estimators.arrays import Labels


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
