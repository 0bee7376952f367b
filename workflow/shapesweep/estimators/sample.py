"""What a metric of nearest neighbours sees: those of a sample, or of it without some documents.

One search over the samples of all selections serves every metric; what a selection, a decimation
or a group of documents leaves out is filtered from its lists.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from shapesweep.estimators.neighbors import NeighborLists, first_of_each


@dataclass(frozen=True, eq=False)
class Neighbors:
    """The k nearest neighbours of every point of a sample of N different tokens.

    Attributes
    ----------
    distances : ndarray, shape (n_points, k), float64
        Euclidean, ascending; infinite where there are fewer neighbours.
    rows : ndarray of int, shape (n_points,)
        The points' own numbers.
    find_indices : callable
        What gives `indices`, which few metrics look at.
    documents : ndarray of int
        The document of every number.
    count_within : callable
        From a radius to the number of ordered pairs of the sample's points that lie nearer.
    whole : Neighbors or None
        The sample of which this is a part, where a group of documents was left out.
    """

    distances: NDArray[np.float64]
    rows: NDArray[np.int64]
    find_indices: Callable[[], NDArray[np.int64]]
    documents: NDArray[np.integer]
    count_within: Callable[[float], int]
    whole: "Neighbors | None" = None

    @cached_property
    def indices(self) -> NDArray[np.int64]:
        """Numbers of the neighbours, shape (n_points, k); -1 where there is none."""
        return self.find_indices()[:, : self.distances.shape[1]]

    @property
    def same_document(self) -> NDArray[np.bool_]:
        """Whether a neighbour lies in the point's own document, shape (n_points, k)."""
        same = self.documents[self.indices] == self.documents[self.rows][:, None]
        return same & (self.indices >= 0)

    def nearest(self, k: int) -> "Neighbors":
        """The same points with only the k nearest of their neighbours."""
        whole = self.whole.nearest(k) if self.whole else None
        return replace(self, distances=self.distances[:, :k], whole=whole)


def neighbors(
    lists: NeighborLists,
    k: int,
    sampled: NDArray[np.bool_],
    documents: NDArray[np.integer],
    groups: NDArray[np.integer],
    n_groups: int,
) -> tuple[Neighbors, Iterator[Neighbors]]:
    """The neighbours within a sample, and within the sample without each group of documents.

    Parameters
    ----------
    lists : NeighborLists
    k : int
    sampled : ndarray of bool, shape (n_points,)
        Which of the lists' points are in the sample.
    documents, groups : ndarray of int, shape (n_points,)
    n_groups : int

    Returns
    -------
    whole : Neighbors
    without : iterator of Neighbors
        One a group. Pairs are counted within the whole sample's radii there.
    """
    rows = np.flatnonzero(sampled)
    usable = lists.certified[rows] & sampled[lists.indices[rows]]
    distances, indices = lists.distances[rows], lists.indices[rows]
    # Of every listed neighbour its group, or none where it may not be used.
    of_listed = np.where(usable, groups[indices], -1).astype(np.int32)
    counted: dict[float, NDArray[np.int64]] = {}

    def counts(radius: float) -> NDArray[np.int64]:
        if radius not in counted:
            counted[radius] = lists.count_within(radius, sampled, groups, n_groups)
        return counted[radius]

    def seen(gone: int | None, count: Callable[[float], int], of: Neighbors | None) -> Neighbors:
        usable, keep = of_listed >= 0, sampled
        if gone is not None:
            usable &= of_listed != gone
            keep = sampled & (groups != gone)
            usable[groups[rows] == gone] = False
        found, flat = first_of_each(usable, k)
        again = np.flatnonzero(keep[rows] & ~found)
        near = np.full((len(rows), k), np.inf)
        near[found] = distances.ravel()[flat]
        far = np.empty((0, k), dtype=np.int64)
        if len(again):
            near[again], far = lists.look_again(rows[again], k, keep)

        def find_indices() -> NDArray[np.int64]:
            made = np.full((len(rows), k), -1)
            made[found], made[again] = indices.ravel()[flat], far
            return made[keep[rows]]

        return Neighbors(near[keep[rows]], np.flatnonzero(keep), find_indices, documents, count, of)

    whole = seen(None, lambda radius: int(counts(radius).sum()), None)

    def without() -> Iterator[Neighbors]:
        for group in range(n_groups):

            def count(radius: float, group: int = group) -> int:
                left = np.delete(np.delete(counts(radius), group, axis=0), group, axis=1)
                return int(left.sum())

            yield seen(group, count, whole)

    return whole, without()
