"""Prepare the input of nearest-neighbour metrics: samples of points, and their neighbours.

All metrics share one search over the samples of all selections. If a selection, a decimation or a
jackknife replicate leaves out points, these points are removed from the lists that the search has
found.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from typing import Any, TypeVar

import numpy as np

from shapesweep.estimators.arrays import Floats, Ints, Labels, Mask
from shapesweep.neighbors.lists import NeighborLists

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Neighbors:
    """The k nearest neighbours of N distinct tokens, which are sampled from a selection.

    Attributes
    ----------
    distances : ndarray, shape (n_points, k), float64
        Euclidean distances, ascending; infinite for absent neighbours.
    find : callable
        Maps a number of neighbours, at most k, to their indices.
    rows : ndarray of int, shape (n_points,)
        Indices of the sample's points among all points of the search.
    labels : mapping of str to ndarray of int
        Document, token and position of every point of the search, as far as they are known.
    count_within : callable
        Maps a radius to the number of ordered pairs of sample points within the radius.
    whole : Neighbors or None
        The whole sample, if this object leaves out a group of documents; otherwise None.
    estimates : dict
        Results of `estimate`. Copies with fewer neighbours share this attribute.
    """

    distances: Floats
    find: Callable[[int], Ints]
    rows: Ints
    labels: Mapping[str, Labels]
    count_within: Callable[[float], int]
    whole: "Neighbors | None" = None
    estimates: dict[tuple[Callable[..., Any], int], Any] = field(default_factory=dict)

    def estimate(self, estimator: Callable[[Floats], Result], k: int) -> Result:
        """Return an estimate from the distances to the k nearest neighbours.

        Metrics that need the same estimate compute it only once.

        Parameters
        ----------
        estimator : callable
            A function of a module: maps distances, shape (n_points, k), to a result.
        k : int
        """
        if (estimator, k) not in self.estimates:
            self.estimates[estimator, k] = estimator(self.distances[:, :k])
        result: Result = self.estimates[estimator, k]
        return result

    @property
    def k(self) -> int:
        """Number of neighbours."""
        return self.distances.shape[1]

    @cached_property
    def indices(self) -> Ints:
        """Indices of the neighbours, shape (n_points, k); -1 for absent neighbours."""
        return self.find(self.k)

    def share_with_same(self, label: str) -> float:
        """Return the share of points whose nearest neighbour has the same label.

        Parameters
        ----------
        label : {"document", "token", "position"}

        Returns
        -------
        float
            Points without a neighbour are left out. NaN if no point has a neighbour.
        """
        of, nearest = self.labels[label], self.indices[:, 0]
        found = nearest >= 0
        same = of[nearest[found]] == of[self.rows[found]]
        return float(same.mean()) if len(same) else float("nan")

    def nearest(self, k: int) -> "Neighbors":
        """Return a copy with only the k nearest neighbours of each point."""
        return replace(self, distances=self.distances[:, :k])


def neighbors(
    lists: NeighborLists,
    k: int,
    sampled: Mask,
    labels: Mapping[str, Labels],
    groups: Labels,
    n_groups: int,
) -> tuple[Neighbors, Iterator[Neighbors]]:
    """Find the neighbours in a sample, and in the sample with each group left out in turn.

    Parameters
    ----------
    lists : NeighborLists
    k : int
    sampled : ndarray of bool, shape (n_points,)
        Mask of the points of `lists` that are in the sample.
    labels : mapping of str to ndarray of int, shape (n_points,)
    groups : ndarray of int, shape (n_points,)
    n_groups : int

    Returns
    -------
    whole : Neighbors
    without : iterator of Neighbors
        For each group, the `Neighbors` of the sample without this group.
    """

    @cache
    def counts(radius: float) -> Ints:
        return lists.count_within(radius, sampled, groups, n_groups)

    distances, indices = lists.nearest(k, sampled)
    rows = np.flatnonzero(sampled)
    whole = Neighbors(
        distances, lambda k: indices[:, :k], rows, labels, lambda radius: int(counts(radius).sum())
    )

    def without() -> Iterator[Neighbors]:
        each = lists.nearest_without(k, sampled, groups, n_groups)
        for group, (near, find) in enumerate(each):

            def count(radius: float, group: int = group) -> int:
                every = counts(radius)
                leaving = every[group].sum() + every[:, group].sum() - every[group, group]
                return int(every.sum() - leaving)

            left = rows[groups[rows] != group]
            yield Neighbors(near, find, left, labels, count, whole)

    return whole, without()
