"""Uncertainty by leaving out groups of documents.

Tokens of one document are not independent, and a bootstrap would repeat rows and
put neighbours at distance zero; so whole groups of documents are left out in turn.
"""

import numpy as np
from scipy import special


def assign_groups(documents, n_groups=16):
    """Jackknife group of every point: its document's number modulo the number of groups.

    The same documents make the same group for every checkpoint, layer and metric,
    so that any average, difference or peak has replicates that belong together.

    Parameters
    ----------
    documents : ndarray of int, shape (n_points,)
    n_groups : int

    Returns
    -------
    ndarray of int, shape (n_points,)
    """
    return np.asarray(documents) % n_groups


def stderr(replicates):
    """Delete-group jackknife standard error (Shao and Tu 1995, eq. 2.3 with groups).

    √((G - 1)/G · Σ (θ_g - θ̄)²) over the values θ_g without group g.

    Parameters
    ----------
    replicates : array_like, shape (n_groups, ...)
        NaN where a value could not be computed.

    Returns
    -------
    float or ndarray, shape (...)
        NaN with fewer than two groups or where a replicate is NaN.
    """
    replicates = np.asarray(replicates, dtype=np.float64)
    n_groups = len(replicates)
    if n_groups < 2:
        return np.full(replicates.shape[1:], np.nan)[()]
    spread = ((replicates - replicates.mean(axis=0)) ** 2).sum(axis=0)
    return np.sqrt((n_groups - 1) / n_groups * spread)


def half_width(error, n_groups, level=0.95):
    """Half width of a confidence interval from a jackknife standard error.

    Student's t with n_groups - 1 degrees of freedom: 2.13 standard errors at 16 groups.
    """
    return special.stdtrit(np.maximum(n_groups - 1, 1), 0.5 + level / 2) * error
