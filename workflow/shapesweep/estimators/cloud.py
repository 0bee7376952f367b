"""What a metric sees: a cloud of tokens, or the neighbours in a sample of them.

Whatever several metrics need is computed once, for the whole cloud and for the
cloud without each group of documents, so that a metric is a function of what it
sees, and its error costs it nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shapesweep.estimators import spectrum

#: How many leading axes of the whole cloud carry the leading eigenvalues of its replicates.
N_AXES = 64


@dataclass(frozen=True)
class Cloud:
    """All tokens of a selection, or what is left of them without a group of documents.

    Attributes
    ----------
    whole : ndarray, shape (n_whole, n_features), float64
        The cloud of which this is a part.
    kept : ndarray of bool, shape (n_whole,)
    eigenvalues : ndarray, shape (n_features,), float64
        Of the scatter matrix (X - mean)ᵀ(X - mean), ascending: the squared singular
        values of the centred points. Without a group, to first order; see `without`.
    direction_sum : ndarray, shape (n_features,), float64
        Sum of all points divided by their norms.
    n_directions : int
        Points whose norm is not zero.
    """

    whole: NDArray[np.float64]
    kept: NDArray[np.bool_]
    eigenvalues: NDArray[np.float64]
    direction_sum: NDArray[np.float64]
    n_directions: int

    @property
    def n_points(self) -> int:
        """How many points there are."""
        return int(self.kept.sum())

    @property
    def points(self) -> NDArray[np.float64]:
        """The points themselves, shape (n_points, n_features), float64."""
        return self.whole[self.kept]


@dataclass(frozen=True)
class Neighbors:
    """The k nearest neighbours of every point of a sample of N different tokens.

    Attributes
    ----------
    distances : ndarray, shape (n_points, k), float64
        Euclidean, ascending; infinite where there are fewer neighbours.
    indices : ndarray of int, shape (n_points, k)
        Numbers of the neighbours; -1 where there is none. The points' own are `rows`.
    rows : ndarray of int, shape (n_points,)
    same_document : ndarray of bool, shape (n_points, k)
        Whether the neighbour lies in the point's own document.
    """

    distances: NDArray[np.float64]
    indices: NDArray[np.int64]
    rows: NDArray[np.int64]
    same_document: NDArray[np.bool_]

    def nearest(self, k: int) -> "Neighbors":
        """The same points with only the k nearest of their neighbours."""
        return Neighbors(
            self.distances[:, :k], self.indices[:, :k], self.rows, self.same_document[:, :k]
        )


def clouds(
    points: NDArray[np.floating], groups: NDArray[np.integer], n_groups: int
) -> tuple[Cloud, Iterator[Cloud]]:
    """A cloud, and the cloud without each of its groups of points: the jackknife's replicates.

    Parameters
    ----------
    points : ndarray, shape (n_points, n_features)
    groups : ndarray of int, shape (n_points,)
        Group of every point, in 0 … n_groups - 1.
    n_groups : int

    Returns
    -------
    whole : Cloud
    without : iterator of Cloud
        One a group. The leading eigenvalues are taken within the span of the whole cloud's
        `N_AXES` leading axes (Rayleigh-Ritz), the others along its other axes: their error is
        of second order in the change, and one covariance serves all. Where the leading
        eigenvalues lie close together the error bar comes out too wide.
    """
    exact = np.asarray(points, dtype=np.float64)
    eigenvalues, axes = spectrum.eigh_scatter(exact)
    unit = spectrum.directions(exact)
    everything = np.ones(len(exact), dtype=bool)
    n_directions = int(unit.any(axis=1).sum())
    whole = Cloud(exact, everything, eigenvalues, unit.sum(axis=0), n_directions)
    return whole, _without(whole, axes, unit, groups, n_groups)


def _without(
    whole: Cloud,
    axes: NDArray[np.float64],
    unit: NDArray[np.float64],
    groups: NDArray[np.integer],
    n_groups: int,
) -> Iterator[Cloud]:
    projected = (whole.whole - whole.whole.mean(axis=0)) @ axes
    rest, leading = projected[:, :-N_AXES], projected[:, -N_AXES:]
    total, inner = projected.sum(axis=0), leading.T @ leading
    squares = (rest**2).sum(axis=0)
    for group in range(n_groups):
        out = groups == group
        n_left = max(len(out) - int(out.sum()), 1)
        shift = (total - projected[out].sum(axis=0)) / n_left
        shift_rest, shift_leading = shift[:-N_AXES], shift[-N_AXES:]
        block = inner - leading[out].T @ leading[out]
        block -= n_left * np.outer(shift_leading, shift_leading)
        others = squares - (rest[out] ** 2).sum(axis=0) - n_left * shift_rest**2
        eigenvalues = np.sort(np.concatenate([np.linalg.eigvalsh(block), others]))
        yield Cloud(
            whole.whole,
            ~out,
            np.maximum(eigenvalues, 0.0),
            whole.direction_sum - unit[out].sum(axis=0),
            whole.n_directions - int(unit[out].any(axis=1).sum()),
        )
