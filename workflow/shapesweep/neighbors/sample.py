"""What a metric of nearest neighbours sees: those of a sample, or of it without some documents.

One search over the samples of all selections serves every metric; what a selection, a decimation
or a group of documents leaves out is filtered from its lists.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from shapesweep.neighbors import NeighborLists


@dataclass(frozen=True, eq=False)
class Neighbors:
    """The k nearest neighbours of every point of a sample of N different tokens.

    Attributes
    ----------
    distances : ndarray, shape (n_points, k), float64
        Euclidean, ascending; infinite where there are fewer neighbours.
    find : callable
        To the neighbours' numbers, `indices`: few metrics ask who they are.
    rows : ndarray of int, shape (n_points,)
        The points' own numbers.
    documents : ndarray of int
        The document of every number.
    count_within : callable
        From a radius to the number of ordered pairs of the sample's points that lie nearer.
    whole : Neighbors or None
        The sample of which this is a part, where a group of documents was left out; all of its
        neighbours.
    """

    distances: NDArray[np.float64]
    find: Callable[[], NDArray[np.int64]]
    rows: NDArray[np.int64]
    documents: NDArray[np.integer]
    count_within: Callable[[float], int]
    whole: "Neighbors | None" = None

    @cached_property
    def indices(self) -> NDArray[np.int64]:
        """Numbers of the neighbours, shape (n_points, k); -1 where there is none."""
        return self.find()

    @property
    def same_document(self) -> NDArray[np.bool_]:
        """Whether a neighbour lies in the point's own document, shape (n_points, k)."""
        same = self.documents[self.indices] == self.documents[self.rows][:, None]
        return same & (self.indices >= 0)

    def nearest(self, k: int) -> "Neighbors":
        """The same points with only the k nearest of their neighbours."""
        distances = self.distances[:, :k]
        return replace(self, distances=distances, find=lambda: self.indices[:, :k])


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
    counted: dict[float, NDArray[np.int64]] = {}

    def counts(radius: float) -> NDArray[np.int64]:
        if radius not in counted:
            counted[radius] = lists.count_within(radius, sampled, groups, n_groups)
        return counted[radius]

    distances, indices = lists.nearest(k, sampled)
    rows = np.flatnonzero(sampled)
    whole = Neighbors(
        distances, lambda: indices, rows, documents, lambda radius: int(counts(radius).sum())
    )

    def without() -> Iterator[Neighbors]:
        each = lists.nearest_without(k, sampled, groups, n_groups)
        for group, (near, find) in enumerate(each):

            def count(radius: float, group: int = group) -> int:
                every = counts(radius)
                leaving = every[group].sum() + every[:, group].sum() - every[group, group]
                return int(every.sum() - leaving)

            left = rows[groups[rows] != group]
            yield Neighbors(near, find, left, documents, count, whole)

    return whole, without()
