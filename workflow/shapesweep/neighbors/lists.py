"""Find the exact nearest neighbours of all points of a cloud with one search.

The search proposes candidates from lower bounds of distances, which it computes in low precision.
It then computes the candidates' distances in float64. The search is exact because every row has a
certified `reach`: no neighbour below this distance is missing. Rows whose neighbours cannot be
determined at one precision are searched again at the next higher precision. If a later query
excludes points (of a group, for example) and then needs neighbours beyond the reach
of a row, all points are searched again for this row.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import ArrayLike

from shapesweep.estimators.arrays import Array, Floats, Ints, Labels, Mask
from shapesweep.neighbors.candidates import FEW, Candidates, Hits, propose, propose_rows
from shapesweep.neighbors.space import Space
from shapesweep.neighbors.tiles import fast_half_precision

#: Distances whose relative difference is smaller than this are equal up to rounding.
EQUAL = 1e-11
#: With more points than this, the keys of hits have too few bits for bounds, so that hits are not
#: used to count pairs.
MOST_KEYED = 2**20
#: If more neighbours than this are needed, bfloat16 is not used, because its low precision would
#: require too many additional candidates.
FEW_NEIGHBORS = 8


@dataclass(frozen=True)
class NeighborLists:
    """The nearest neighbours of every point, complete up to a certified distance.

    Attributes
    ----------
    space : Space
        The points.
    distances : ndarray, shape (n_points, length), float64
        Euclidean distances, ascending; infinite for absent neighbours.
    indices : ndarray of int, shape (n_points, length)
    reach : ndarray, shape (n_points,), float64
        The list of a row contains all neighbours that are closer than this distance.
    hits : Hits or None
        All pairs that the search in float32 found, for `count_within`.
    """

    space: Space
    distances: Floats
    indices: Ints
    reach: Floats
    hits: Hits | None = None

    @cached_property
    def certified(self) -> Mask:
        """Mask of the entries of the lists that are certainly neighbours."""
        return np.isfinite(self.distances) & (self.distances <= self.reach[:, None])

    def nearest(self, k: int, keep: Mask | None = None) -> tuple[Floats, Ints]:
        """Find the k nearest neighbours of each kept point among the kept points.

        Parameters
        ----------
        k : int
        keep : ndarray of bool, shape (n_points,), optional
            Points to keep; by default all.

        Returns
        -------
        distances : ndarray, shape (n_kept, k), float64
            Infinite if a point has fewer than k neighbours.
        indices : ndarray of int, shape (n_kept, k)
            -1 for absent neighbours.
        """
        rows = np.arange(len(self.reach)) if keep is None else np.flatnonzero(keep)
        return self._nearest_of(rows, k, keep)

    def nearest_without(
        self, k: int, keep: Mask, groups: Labels, n_groups: int
    ) -> Iterator[tuple[Floats, Callable[[int], Ints]]]:
        """Yield the results of `nearest`, with each group of points left out in turn.

        Parameters
        ----------
        k : int
        keep : ndarray of bool, shape (n_points,)
        groups : ndarray of int, shape (n_points,)
            Group of every point, from 0 to n_groups - 1.
        n_groups : int

        Yields
        ------
        distances : ndarray, shape (n_left, k), float64
        indices : callable
            Computes the indices of the first neighbours on demand: maps their number, at most k, to
            an ndarray of int, shape (n_left, number).
        """
        rows = np.flatnonzero(keep)
        # Take the first kept entries of every list, which are enough for almost every row.
        width = min(k + k // 8 + 8, self.indices.shape[1])
        usable = self.certified[rows]
        usable &= keep[self.indices[rows]]
        present, positions = _beginnings(usable, width)
        listed, near = (table[rows].ravel()[positions] for table in (self.indices, self.distances))
        # No group has the number `n_groups`, so this number marks absent entries.
        of = np.where(present, groups[listed], n_groups).astype(np.min_scalar_type(n_groups))
        own, members = groups[rows], _count(of, n_groups + 1)
        for group in range(n_groups):
            # Absent entries come last, and are not used if a row has k present entries.
            others, left = width - members[:, group], own != group
            begins = (np.cumsum(others) - others)[left]
            short = np.flatnonzero((others - members[:, n_groups])[left] < k)
            searched = self._nearest_of(rows[left][short], k, keep & (groups != group))
            chosen = partial(_chosen, of != group, begins, short)
            yield chosen(near, searched[0], k), partial(chosen, listed, searched[1])

    def _nearest_of(self, rows: Ints, k: int, keep: Mask | None) -> tuple[Floats, Ints]:
        """Find the k nearest neighbours of the given rows, in the format of `nearest`."""
        usable, listed = self.certified[rows], self.indices[rows]
        if keep is not None:
            usable &= keep[listed]
        present, positions = _beginnings(usable, k)
        complete = present[:, -1]
        distances, indices = _nothing(len(rows), k)
        distances[complete] = self.distances[rows].ravel()[positions[complete]]
        indices[complete] = listed.ravel()[positions[complete]]
        incomplete = np.flatnonzero(~complete)
        if len(incomplete):
            searched = self._search_again(rows[incomplete], k, keep)
            distances[incomplete], indices[incomplete] = searched
        return distances, indices

    def _search_again(self, rows: Ints, k: int, keep: Mask | None) -> tuple[Floats, Ints]:
        """Search all points again for rows whose lists are too short."""
        distances, indices = _nothing(len(rows), k)
        pending, n_points = np.arange(len(rows)), len(self.reach)
        for precision in ("float32", "float64"):
            tiles = self.space.tiles(precision)
            found = propose_rows(tiles, rows[pending], k + 8, n_points, keep)
            near, who = self.space.ordered(found)
            width = min(k, near.shape[1])
            distances[pending, :width], indices[pending, :width] = near[:, :width], who[:, :width]
            certain = distances[pending] <= self.space.reach(found)[:, None]
            pending = pending[~(certain | np.isinf(distances[pending])).all(axis=1)]
            if not len(pending):
                break
        for number in pending:
            # Float64 products are not precise enough for this row, but direct differences are.
            row = rows[number]
            eligible = np.ones(n_points, dtype=bool) if keep is None else keep.copy()
            eligible[row] = False
            others = np.flatnonzero(eligible)
            apart = self.space.difference(np.full(len(others), row), others)
            order = np.argsort(apart, kind="stable")[:k]
            distances[number, : len(order)] = apart[order]
            indices[number, : len(order)] = others[order]
        return distances, indices

    def count_within(self, radius: float, keep: Mask, groups: Labels, n_groups: int) -> Ints:
        """Count the ordered pairs of kept points within a radius, for each pair of groups.

        Pairs whose distance equals the radius do not count, even if rounding decreases the
        distance. If the radius is a median of distances, it can equal the distance of a pair.

        Parameters
        ----------
        radius : float
        keep : ndarray of bool, shape (n_points,)
        groups : ndarray of int, shape (n_points,)
            Group of every point, from 0 to n_groups - 1.
        n_groups : int

        Returns
        -------
        ndarray of int, shape (n_groups, n_groups)
        """
        radius *= 1 - EQUAL
        # The lists of most rows contain all neighbours within the radius.
        complete = keep & (self.reach >= radius)
        rows = np.flatnonzero(complete)
        near, place = np.nonzero(self.distances[rows] < radius)
        listed = rows[near], self.indices[rows[near], place]
        searched = self.space.within(keep & ~complete, radius, self.hits)
        counts = np.zeros(n_groups**2, dtype=np.int64)
        for first, second in itertools.chain([listed], searched):
            inside = keep[second]
            pairs = groups[first[inside]] * n_groups + groups[second[inside]]
            counts += np.bincount(pairs, minlength=n_groups**2)
        return counts.reshape(n_groups, n_groups)


def _nothing(n_rows: int, k: int) -> tuple[Floats, Ints]:
    """Return distances (infinity) and indices (-1) for rows without neighbours."""
    return np.full((n_rows, k), np.inf), np.full((n_rows, k), -1)


def _beginnings(usable: Mask, width: int) -> tuple[Mask, Ints]:
    """Find the first `width` usable entries of every row.

    Return whether these entries exist, and their indices in the flattened table. Both arrays have
    the shape (n_rows, width).
    """
    flat, counts = np.flatnonzero(usable), _count(usable, 2)[:, 1]
    positions = (np.cumsum(counts) - counts)[:, None] + np.arange(width)
    present = np.arange(width) < counts[:, None]
    return present, flat.take(positions, mode="clip") if len(flat) else np.zeros_like(positions)


def _count(table: Array, n_kinds: int) -> Ints:
    """Count the occurrences of 0, …, n_kinds - 1 in each row; shape (n_rows, n_kinds)."""
    kinds = np.arange(len(table))[:, None] * n_kinds + table
    return np.bincount(kinds.ravel(), minlength=len(table) * n_kinds).reshape(-1, n_kinds)


def _chosen(
    mask: Mask, begins: Ints, short: Ints, table: Array, others: Array, number: int
) -> Array:
    """Select the first `number` entries of rows of a table; the mask selects the entries of a row.

    `begins` contains the index of each row's first entry among all selected entries. For the rows
    in `short`, the entries are taken from `others`.
    """
    # The last rows can have fewer entries; such rows are in `short`.
    selected = np.concatenate([table[mask], np.zeros(number, table.dtype)])
    chosen = np.lib.stride_tricks.sliding_window_view(selected, number)[begins]
    chosen[short] = others[:, :number]
    return chosen


def nearest_neighbors(points: ArrayLike, k: int) -> tuple[Floats, Ints]:
    """Find the exact k nearest neighbours of every point, excluding the point itself.

    Parameters
    ----------
    points : array_like, shape (n_points, n_features)
        Finite values. Repeated points are neighbours at distance zero. Use `unique_rows` first to
        remove repeated points.
    k : int
        Number of neighbours, at least 1 and less than n_points.

    Returns
    -------
    distances : ndarray, shape (n_points, k), float64
        Euclidean distances, ascending, with a relative error of about 1e-13. The distances of near
        pairs are computed from direct differences, all others from products of centred points.
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
    points = np.asarray(points)
    if not 1 <= k < len(points):
        raise ValueError(f"`k` must lie between 1 and {len(points) - 1}, got {k}")
    return search(points, k, k).nearest(k)


def search(points: ArrayLike, length: int, need: int) -> NeighborLists:
    """Find the nearest neighbours of all points.

    Parameters
    ----------
    points : array_like, shape (n_points, n_features)
    length : int
        Number of neighbours per list.
    need : int
        Number of neighbours that must be certain; at most `length`.

    Returns
    -------
    NeighborLists

    Raises
    ------
    ValueError
        If a value is not finite.
    """
    space = Space(points)
    n_points = len(space)
    coarse = need <= FEW_NEIGHBORS and n_points >= FEW and fast_half_precision()
    wide = length + 8
    if coarse:
        proposed = propose(space.tiles("bfloat16"), n_points, length + 12 + 5 * need)
    else:
        proposed = propose(space.tiles("float32"), n_points, wide)
    keyed = n_points <= MOST_KEYED and not coarse
    hits = proposed.hits if keyed else None
    found = NeighborLists(space, *_nothing(n_points, length), np.zeros(n_points), hits)
    pending = np.arange(n_points)
    # Rows with too few candidates, and rows for which this precision is too low, are searched
    # again.
    for precision in ("float32", "float64", None):
        _fill(found, proposed)
        pending = pending[_is_short(found, pending, need)]
        if precision is None or not len(pending):
            break
        proposed = propose_rows(space.tiles(precision), pending, wide, n_points)
    return found


def _fill(lists: NeighborLists, proposed: Candidates) -> None:
    """Write the candidates of rows, with their exact distances, into the lists of these rows."""
    distances, indices = lists.space.ordered(proposed)
    length = min(lists.distances.shape[1], distances.shape[1])
    lists.distances[proposed.rows, :length] = distances[:, :length]
    lists.indices[proposed.rows, :length] = indices[:, :length]
    reach = lists.space.reach(proposed)
    if length < distances.shape[1]:
        # Candidates that do not fit into the list are missing, which reduces the reach.
        reach = np.minimum(reach, distances[:, length])
    lists.reach[proposed.rows] = reach


def _is_short(lists: NeighborLists, rows: Ints, need: int) -> Mask:
    """Whether each row has fewer certain neighbours than needed, although more exist."""
    distances = lists.distances[rows]
    certain = (np.isfinite(distances) & (distances <= lists.reach[rows, None])).sum(axis=1)
    return certain < min(need, len(lists.reach) - 1)
