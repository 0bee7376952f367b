"""Exact nearest neighbours of a cloud: one search that serves every estimator.

The search proposes neighbours in float32, by tiles of one matrix product, and
settles them in float64. What makes it exact is a certificate: the proposal ranks
pairs by a *lower bound* of their squared distance, so that beyond the last
proposed neighbour of a row (its `reach`) nothing nearer can have been missed.
Whatever a later question (other documents only, a group left out) asks beyond
the reach is answered by looking at the whole row again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

#: Rows of a tile of the search: 256 x 4096 float32 values are 4 MiB.
TILE = 256


@dataclass(frozen=True)
class NeighborLists:
    """Every point's nearest neighbours, complete up to a certified distance.

    Attributes
    ----------
    points : ndarray, shape (n_points, n_features), float64
    labels : ndarray of int, shape (n_points,), or None
        Where given, points that share a label are no neighbours of each other.
    distances : ndarray, shape (n_points, length), float64
        Euclidean, ascending; infinite where there is no such neighbour.
    indices : ndarray of int, shape (n_points, length)
    reach : ndarray, shape (n_points,), float64
        Below this distance the row's list is complete.
    """

    points: NDArray[np.float64]
    labels: NDArray[np.integer] | None
    distances: NDArray[np.float64]
    indices: NDArray[np.int64]
    reach: NDArray[np.float64]

    def nearest(
        self, k: int, keep: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The k nearest neighbours of each kept point among the kept points.

        Parameters
        ----------
        k : int
        keep : ndarray of bool, shape (n_points,), optional
            Points that count; by default all.

        Returns
        -------
        distances : ndarray, shape (n_kept, k), float64
            Infinite where a point has fewer than k neighbours.
        indices : ndarray of int, shape (n_kept, k)
            Into `points`; -1 where there is none.
        """
        kept = np.arange(len(self.points)) if keep is None else np.flatnonzero(keep)
        # A cloud of fewer points than k has shorter lists.
        short = ((0, 0), (0, max(0, k - self.distances.shape[1])))
        distances = np.pad(self.distances[kept], short, constant_values=np.inf)
        indices = np.pad(self.indices[kept], short)
        usable = np.isfinite(distances) & (distances <= self.reach[kept, None])
        if keep is not None:
            usable &= keep[indices]
        # A stable sort brings the usable neighbours to the front in their order.
        first = np.argsort(~usable, axis=1, kind="stable")[:, :k]
        distances = np.take_along_axis(distances, first, axis=1)
        indices = np.take_along_axis(indices, first, axis=1)
        for row in np.flatnonzero(usable.sum(axis=1) < k):
            distances[row], indices[row] = self._look_again(kept[row], k, keep)
        return distances, indices

    def _look_again(
        self, row: int, k: int, keep: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        eligible = np.ones(len(self.points), dtype=bool) if keep is None else keep.copy()
        eligible[row] = False
        if self.labels is not None:
            eligible &= self.labels != self.labels[row]
        candidates = np.flatnonzero(eligible)
        distances = np.linalg.norm(self.points[candidates] - self.points[row], axis=1)
        order = np.argsort(distances, kind="stable")[:k]
        missing = k - len(order)
        return (
            np.pad(distances[order], (0, missing), constant_values=np.inf),
            np.pad(candidates[order], (0, missing), constant_values=-1),
        )


def nearest_neighbors(points: ArrayLike, k: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The k nearest neighbours of every point, exactly, itself excluded.

    Parameters
    ----------
    points : array_like, shape (n_points, n_features)
        Finite values. Repeated points are neighbours at distance zero of each
        other: remove them first (`unique_rows`) where that is not wanted.
    k : int
        At least 1 and less than n_points.

    Returns
    -------
    distances : ndarray, shape (n_points, k), float64
        Euclidean, ascending, computed by direct difference.
    indices : ndarray of int, shape (n_points, k)

    Raises
    ------
    ValueError
        If k is out of range or a value is not finite.

    Examples
    --------
    >>> import shapesweep
    >>> distances, indices = shapesweep.nearest_neighbors([[0.0], [1.0], [3.0]], k=2)
    >>> distances.tolist()
    [[1.0, 3.0], [1.0, 2.0], [2.0, 3.0]]
    >>> indices.tolist()
    [[1, 2], [0, 2], [1, 0]]
    """
    points = np.asarray(points, dtype=np.float64)
    if not 1 <= k < len(points):
        raise ValueError(f"k must lie between 1 and {len(points) - 1}, got {k}")
    (lists,) = search(points, min(len(points) - 1, k + 4))
    return lists.nearest(k)


def search(
    points: ArrayLike, length: int, labels: NDArray[np.integer] | None = None
) -> list[NeighborLists]:
    """One pass over all pairs of points: a list for any neighbour, one more for other labels.

    Parameters
    ----------
    points : array_like, shape (n_points, n_features)
    length : int
        Neighbours proposed a row.
    labels : ndarray of int, shape (n_points,), optional
        Points that share a label are not neighbours in the second list.

    Returns
    -------
    list of NeighborLists
        Of any neighbour; with labels, of neighbours with another label as well.

    Raises
    ------
    ValueError
        If a value is not finite.
    """
    points = np.asarray(points, dtype=np.float64)
    if not np.isfinite(points).all():
        raise ValueError("points must be finite")
    kinds = [None] if labels is None else [None, labels]
    found = [_Found(points, min(length, len(points) - 1), kind) for kind in kinds]
    # Centring first: the error of ‖a‖² + ‖b‖² - 2ab grows with the norms, not with the distance.
    centred = points - points.mean(axis=0)
    scale = np.abs(centred).max(initial=0.0) or 1.0
    centred /= scale
    pending = np.arange(len(points))
    for precision in (np.float32, np.float64):
        for rows, lower in _lower_bounds(centred.astype(precision), pending):
            for one in found:
                one.take(lower, rows, scale)
        # Rows whose neighbours float32 cannot tell from the rest go through again.
        pending = pending[np.any([one.is_short(pending) for one in found], axis=0)]
    return [one.lists() for one in found]


def _lower_bounds(
    points: NDArray[np.floating], rows: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.floating]]]:
    """Tiles of lower bounds of the squared distances from some rows to all points.

    A product of n terms in precision u errs by at most about n·u·‖a‖‖b‖ ≤ n·u(‖a‖² + ‖b‖²)/2
    (Higham 2002, eq. 3.5). With the rounding of the inputs and of the sums, taking
    2(n + 8)u off each squared norm turns the computed value into a bound.
    """
    squares = np.einsum("ij,ij->i", points, points, dtype=np.float64)
    slack = (points.shape[1] + 8) * np.finfo(points.dtype).eps
    reduced = (squares * (1 - slack)).astype(points.dtype)
    for start in range(0, len(rows), TILE):
        tile = rows[start : start + TILE]
        lower = points[tile] @ points.T
        lower *= -2
        lower += reduced
        lower += reduced[tile, None]
        lower[np.arange(len(tile)), tile] = np.inf
        yield tile, lower


class _Found:
    """Collects one kind of neighbour lists, tile by tile."""

    def __init__(
        self, points: NDArray[np.float64], length: int, labels: NDArray[np.integer] | None
    ) -> None:
        self.points, self.length, self.labels = points, length, labels
        self.distances = np.empty((len(points), length))
        self.indices = np.empty((len(points), length), dtype=np.int64)
        self.reach = np.empty(len(points))

    def take(self, lower: NDArray[np.floating], rows: NDArray[np.int64], scale: float) -> None:
        """Add a tile; where there are labels, it is spoilt for whoever has none."""
        if self.labels is not None:
            np.copyto(lower, np.inf, where=self.labels[rows, None] == self.labels)
        # One more than the list is long: nothing unlisted can be nearer than its bound.
        proposed, bounds = _smallest(lower, self.length + 1)
        self.reach[rows] = np.sqrt(np.maximum(bounds[:, -1], 0)) * scale
        proposed, bounds = proposed[:, : self.length], bounds[:, : self.length]
        distances = np.empty(proposed.shape)
        # Column by column: the memory stays that of a tile, however wide the points are.
        for column, others in enumerate(proposed.T):
            distances[:, column] = np.linalg.norm(self.points[others] - self.points[rows], axis=1)
        distances[np.isinf(bounds)] = np.inf
        order = np.argsort(distances, axis=1, kind="stable")
        self.distances[rows] = np.take_along_axis(distances, order, axis=1)
        self.indices[rows] = np.take_along_axis(proposed, order, axis=1)

    def is_short(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether less than half of a row's listed neighbours are certified."""
        finite = np.isfinite(self.distances[rows])
        certified = finite & (self.distances[rows] <= self.reach[rows, None])
        return certified.sum(axis=1) < finite.sum(axis=1) / 2

    def lists(self) -> NeighborLists:
        return NeighborLists(self.points, self.labels, self.distances, self.indices, self.reach)


def _smallest(
    values: NDArray[np.floating], count: int
) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
    """Indices and values of each row's `count` smallest entries, the largest of them last."""
    n_rows, n_columns = values.shape
    count = min(count, n_columns)
    n_parts = 16
    stride = n_columns // n_parts
    if stride > 2 * count:
        # The smallest entries lie in the residue classes with the smallest minima: one pass over
        # the values finds the classes, and only their members are sorted out.
        head = values[:, : stride * n_parts].reshape(n_rows, n_parts, stride)
        classes = np.argpartition(head.min(axis=1), count - 1, axis=1)[:, :count]
        columns = classes[:, :, None] + stride * np.arange(n_parts)
        tail = np.broadcast_to(
            np.arange(stride * n_parts, n_columns), (n_rows, n_columns % n_parts)
        )
        columns = np.concatenate([columns.reshape(n_rows, -1), tail], axis=1)
        values = np.take_along_axis(values, columns, axis=1)
    else:
        columns = np.broadcast_to(np.arange(n_columns), values.shape)
    chosen = np.argpartition(values, count - 1, axis=1)[:, :count]
    indices = np.take_along_axis(columns, chosen, axis=1)
    return indices, np.take_along_axis(values, chosen, axis=1)


def unique_rows(
    points: NDArray[Any], contexts: NDArray[np.integer] | None = None
) -> NDArray[np.int64]:
    """Indices of the first occurrence of every distinct row, in ascending order.

    Rows repeat for certain in hidden states: the same token at layer 0, the first
    position of every document of a causal model. A repeated row is a neighbour at
    distance zero and ruins every estimate that divides by a distance.

    Parameters
    ----------
    points : ndarray, shape (n_points, n_features)
    contexts : ndarray of int, shape (n_points,), optional
        Rows that share a context are repeats even where rounding tells them apart.

    Returns
    -------
    ndarray of int, shape (n_unique,)

    Examples
    --------
    >>> import numpy as np, shapesweep
    >>> shapesweep.unique_rows(np.array([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]])).tolist()
    [0, 1]
    """
    rows = np.arange(len(points))
    if contexts is not None:
        rows = np.sort(np.unique(contexts, return_index=True)[1])
    # Adding zero turns -0.0 into 0.0, so that equal rows have equal bytes.
    left = np.ascontiguousarray(points[rows] + 0.0)
    as_bytes = left.view(np.dtype((np.void, left.dtype.itemsize * left.shape[1]))).ravel()
    return rows[np.sort(np.unique(as_bytes, return_index=True)[1])]
