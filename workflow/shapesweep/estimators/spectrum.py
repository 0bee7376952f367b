"""Spectral shape of a cloud of points: anisotropy and cosines.

Pure functions on arrays. A cloud is an array of shape (n_points, n_features).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def anisotropy(points: ArrayLike) -> float:
    """Share of the variance that lies along the leading axis of the centred cloud.

    σ₁² / Σ σᵢ² over the singular values σ of the cloud minus its mean (no
    normalisation of rows), as Razzhigaev et al. 2024 define it.

    Parameters
    ----------
    points : array_like, shape (n_points, n_features)
        At least two points that are not all equal. Computed in float64.

    Returns
    -------
    float
        Between 1/min(n_points - 1, n_features) and 1. NaN for a cloud without variance.

    Examples
    --------
    >>> import numpy as np, shapesweep
    >>> shapesweep.anisotropy([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
    1.0
    >>> ball = np.random.default_rng(0).standard_normal((5000, 10))
    >>> round(shapesweep.anisotropy(ball), 2)
    0.11
    """
    return leading_share(eigh_scatter(np.asarray(points, dtype=np.float64))[0])


def leading_share(eigenvalues: NDArray[np.float64]) -> float:
    """Largest eigenvalue over their sum; NaN where the sum is not positive.

    Parameters
    ----------
    eigenvalues : ndarray, shape (n_features,)
        Ascending, of a scatter or covariance matrix.
    """
    total = eigenvalues.sum()
    return float(eigenvalues[-1] / total) if total > 0 else float("nan")


def eigh_scatter(
    points: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Spectrum of the scatter matrix (X - mean)ᵀ(X - mean) of a cloud.

    Returns
    -------
    eigenvalues : ndarray, shape (n_features,)
        Ascending: the squared singular values of the centred cloud.
    axes : ndarray, shape (n_features, n_features)
        Eigenvectors, one a column.
    """
    centred = points - points.mean(axis=0)
    eigenvalues, axes = np.linalg.eigh(centred.T @ centred)
    # The scatter has no negative eigenvalue; what rounding makes of a zero may be one.
    return np.maximum(eigenvalues, 0.0), axes


def mean_cosine(points: ArrayLike) -> float:
    """Mean cosine similarity over all ordered pairs of different points, not centred.

    Parameters
    ----------
    points : array_like, shape (n_points, n_features)
        A point of norm zero has no direction and counts with cosine zero.

    Returns
    -------
    float
        Between -1/(n_points - 1) and 1 (Ethayarajh 2019's measure of the cone). NaN for fewer than
        two points.

    Examples
    --------
    >>> import shapesweep
    >>> shapesweep.mean_cosine([[1.0, 0.0], [0.0, 2.0]])
    0.0
    """
    unit = directions(np.asarray(points, dtype=np.float64))
    return mean_of_pairs(unit.sum(axis=0), int(unit.any(axis=1).sum()), len(unit))


def directions(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Every point divided by its norm, shape (n_points, n_features); a zero stays a zero."""
    norms = np.linalg.norm(points, axis=1, keepdims=True)
    return np.divide(points, norms, out=np.zeros_like(points), where=norms > 0)


def mean_of_pairs(direction_sum: NDArray[np.float64], n_directions: int, n_points: int) -> float:
    """Mean inner product over all ordered pairs of different directions, from their sum.

    Parameters
    ----------
    direction_sum : ndarray, shape (n_features,)
        Of `directions`.
    n_directions : int
        Points that are not zero.
    n_points : int
    """
    if n_points < 2:
        return float("nan")
    pairs = n_points * (n_points - 1)
    return float((direction_sum @ direction_sum - n_directions) / pairs)
