"""Spectral shape of a cloud of points: anisotropy and cosines, from one float64 covariance.

Pure functions on arrays. A cloud is an array of shape (n_points, n_features).
"""

from dataclasses import dataclass

import numpy as np

#: How many leading axes of the full sample carry the replicates of `anisotropy_without`.
N_AXES = 64


def anisotropy(points):
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
    >>> anisotropy([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
    1.0
    """
    return covariance(points).anisotropy


def mean_cosine(points):
    """Mean cosine similarity over all ordered pairs of different points, not centred.

    Parameters
    ----------
    points : array_like, shape (n_points, n_features)
        A point of norm zero has no direction and counts with cosine zero.

    Returns
    -------
    float
        Between -1/(n_points - 1) and 1 (Ethayarajh 2019's measure of the cone).
    """
    directions = _directions(np.asarray(points, dtype=np.float64))
    return _mean_cosine(directions.sum(axis=0), (directions**2).sum(), len(directions))


@dataclass(frozen=True)
class Covariance:
    """Sum of squares and products of a centred cloud, in float64.

    Attributes
    ----------
    n_points : int
    mean : ndarray, shape (n_features,)
    scatter : ndarray, shape (n_features, n_features)
        (X - mean)ᵀ (X - mean); the covariance times the number of points.
    eigenvalues : ndarray, shape (n_features,)
        Of the scatter, ascending: the squared singular values of the centred cloud.
    axes : ndarray, shape (n_features, n_features)
        Eigenvectors, one a column, in the order of `eigenvalues`.
    """

    n_points: int
    mean: np.ndarray
    scatter: np.ndarray
    eigenvalues: np.ndarray
    axes: np.ndarray

    @property
    def anisotropy(self):
        return _ratio(self.eigenvalues[-1], np.trace(self.scatter))


def covariance(points):
    """Float64 covariance of a cloud, with its spectrum; see `Covariance`."""
    points = np.asarray(points, dtype=np.float64)
    mean = points.mean(axis=0)
    centred = points - mean
    scatter = centred.T @ centred
    eigenvalues, axes = np.linalg.eigh(scatter)
    return Covariance(len(points), mean, scatter, eigenvalues, axes)


def anisotropy_without(points, full, groups, n_groups):
    """Anisotropy of the cloud without each group of points: the jackknife's replicates.

    The leading eigenvalue of a reduced covariance is taken within the span of the
    full sample's `N_AXES` leading axes (Rayleigh-Ritz): its error is of second
    order in the change, and the covariance of n_features² is formed only once. Where the
    leading eigenvalues lie close together the error bar comes out too wide.

    Parameters
    ----------
    points : ndarray, shape (n_points, n_features)
    full : Covariance
        Of these points.
    groups : ndarray of int, shape (n_points,)
        Group of every point, in 0 … n_groups - 1.
    n_groups : int

    Returns
    -------
    ndarray, shape (n_groups,), float64
        NaN where nothing is left.
    """
    centred = np.asarray(points, dtype=np.float64) - full.mean
    projected = centred @ full.axes[:, -N_AXES:]
    squares = (centred**2).sum(axis=1)
    replicates = np.full(n_groups, np.nan)
    total_sum, total_projected = centred.sum(axis=0), projected.T @ projected
    for group in range(n_groups):
        out = groups == group
        n_left = len(points) - int(out.sum())
        if n_left < 2:
            continue
        shift = (total_sum - centred[out].sum(axis=0)) / n_left
        shift_projected = shift @ full.axes[:, -N_AXES:]
        inner = total_projected - projected[out].T @ projected[out]
        inner -= n_left * np.outer(shift_projected, shift_projected)
        total = squares.sum() - squares[out].sum() - n_left * (shift @ shift)
        replicates[group] = _ratio(np.linalg.eigvalsh(inner)[-1], total)
    return replicates


def mean_cosine_without(points, groups, n_groups):
    """`mean_cosine` of the cloud without each group of points, exactly.

    Parameters and result as in `anisotropy_without`.
    """
    directions = _directions(np.asarray(points, dtype=np.float64))
    total, squares = directions.sum(axis=0), (directions**2).sum(axis=1)
    replicates = np.full(n_groups, np.nan)
    for group in range(n_groups):
        out = groups == group
        n_left = len(directions) - int(out.sum())
        if n_left >= 2:
            left = total - directions[out].sum(axis=0)
            replicates[group] = _mean_cosine(left, squares.sum() - squares[out].sum(), n_left)
    return replicates


def _directions(points):
    norms = np.linalg.norm(points, axis=1, keepdims=True)
    return np.divide(points, norms, out=np.zeros_like(points), where=norms > 0)


def _mean_cosine(total, squares, n_points):
    if n_points < 2:
        return float("nan")
    return float((total @ total - squares) / (n_points * (n_points - 1)))


def _ratio(leading, total):
    return float(leading / total) if total > 0 else float("nan")
