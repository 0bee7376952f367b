"""Use lower bounds of distances (`tiles`) to propose candidates for nearest neighbours.

For every row, the search also finds a bound. All points whose distance is below the bound are among
the candidates of the row. The bound of every pair is computed only once, because a tile above the
diagonal provides candidates for its rows and for its columns.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapesweep.estimators.arrays import Array, Floats, Ints, Mask
from shapesweep.estimators.moments import ROWS, blocks
from shapesweep.neighbors.tiles import Tiles

#: Clouds with fewer points than this are searched row by row, because the sample of columns from
#: which thresholds are estimated would be a large part of the cloud.
FEW = 2048
#: Minimum number of columns in the sample from which thresholds are estimated. In large clouds, the
#: sample contains one of every `SAMPLE_SHARE` columns.
SAMPLE, SAMPLE_SHARE = 512, 16
#: Number of neighbours that a typical row has within the common threshold: twice as many as the
#: correlation dimension needs.
USUAL = 40
#: If a row has more than `TOO_MANY` times the needed number of hits, the row's threshold is wrong,
#: and the row is searched separately. Without this limit, clouds with many equal distances (of
#: rounded points, for example) would fill the memory.
TOO_MANY = 32


@dataclass(frozen=True)
class Candidates:
    """Candidates for the nearest neighbours of some rows.

    Attributes
    ----------
    rows : ndarray of int, shape (n_rows,)
    columns : ndarray of int, shape (n_rows, width)
        Candidates of every row; -1 for absent candidates.
    beyond : ndarray, shape (n_rows,), float64
        For each row, a lower bound of ½ distance² to every point that `columns` does not contain.
    hits : Hits or None
        All pairs that were found, if all rows were searched at once; otherwise None.
    """

    rows: Ints
    columns: Ints
    beyond: Floats
    hits: "Hits | None" = None


def propose(tiles: Tiles, n_points: int, width: int) -> Candidates:
    """Propose candidates for the nearest neighbours of all rows.

    Parameters
    ----------
    tiles : Tiles
    n_points : int
    width : int
        Number of candidates per row.

    Returns
    -------
    Candidates
        A row may have fewer than `width` candidates, but they include every point whose
        ½ distance² is below the row's `beyond`.
    """
    if n_points < FEW or _rank(n_points, width) >= _n_sample(n_points) / 4:
        return propose_rows(tiles, np.arange(n_points), width, n_points)
    thresholds = _thresholds(tiles, n_points, width)
    keys = Keys(n_points, thresholds.dtype)
    stopped = np.iinfo(np.int16).min
    limits = thresholds.copy()
    n_hits = np.zeros(n_points, dtype=np.int64)
    packed: list[NDArray[np.uint64]] = []
    for rows in blocks(n_points):
        tile = tiles.block(rows, slice(rows.start, n_points))
        # Distances are symmetric, so entries to the right of the diagonal block are also bounds for
        # the rows below the block.
        ahead = tile[:, rows.stop - rows.start :]
        row, column = _where(tile <= limits[rows, None])
        packed.append(keys.pack(row + rows.start, column + rows.start, tile[row, column]))
        row, column = _where(ahead <= limits[rows.stop :])
        packed.append(keys.pack(column + rows.stop, row + rows.start, ahead[row, column]))
        for below in packed[-2:]:
            n_hits += np.bincount(keys.rows(below), minlength=n_points)
        limits[n_hits > TOO_MANY * width] = stopped
    every = np.concatenate(packed)
    every.sort()
    # If the search of a row was stopped, any hit may be missing, so the row's bound is 0.
    known = np.where(limits == thresholds, tiles.bound(thresholds), 0.0)
    hits = Hits(keys, every, known)
    # Take one more column than needed, because a row is among its own hits.
    listed, following = hits.first(width + 1)
    listed[listed == np.arange(n_points)[:, None]] = -1
    beyond = np.where(following < 0, known, tiles.bound(following))
    return Candidates(np.arange(n_points), listed, np.minimum(beyond, known), hits)


def propose_rows(
    tiles: Tiles,
    rows: Ints,
    width: int,
    n_points: int,
    keep: Mask | None = None,
) -> Candidates:
    """Propose candidates for the given rows by searching each row completely.

    Parameters
    ----------
    keep : ndarray of bool, shape (n_points,), optional
        Points that can be neighbours.
    """
    width = min(width, n_points)
    parts: list[tuple[Ints, Floats]] = []
    for start in range(0, len(rows), ROWS):
        own = rows[start : start + ROWS]
        values = tiles.block(own, slice(None))
        none = _largest(values.dtype)
        values[np.arange(len(own)), own] = none
        if keep is not None:
            values[:, ~keep] = none
        parts.append(_smallest(tiles, values, width))
    listed, beyond = map(np.concatenate, zip(*parts, strict=True))
    return Candidates(rows, listed, beyond)


def _smallest(tiles: Tiles, values: Array, width: int) -> tuple[Ints, Floats]:
    """Return the columns with the smallest bounds of each row, and a bound for all others."""
    n_columns, none = values.shape[1], _largest(values.dtype)
    if width < n_columns:
        listed = np.argpartition(values, width, axis=1)
        following = np.take_along_axis(values, listed[:, width : width + 1], axis=1)[:, 0]
        beyond = np.where(following == none, np.inf, tiles.bound(following))
        listed = listed[:, :width]
    else:
        listed = np.broadcast_to(np.arange(n_columns), values.shape)
        beyond = np.full(len(values), np.inf)
    present = np.take_along_axis(values, listed, axis=1) != none
    return np.where(present, listed, -1), beyond


def _rank(n_points: int, width: int) -> int:
    """Return the index of a row's threshold in the sorted bounds between the row and the sample.

    The number of nearest neighbours of a row in the sample has a Poisson distribution. The index is
    the mean of this distribution plus 3.5 standard deviations plus 2. With this index, the
    threshold is too low for only about one row in 1,000.
    """
    n_sample = _n_sample(n_points)
    expected = (width + 1) * n_sample / n_points
    return int(np.ceil(expected + 3.5 * np.sqrt(expected) + 2))


def _n_sample(n_points: int) -> int:
    return max(SAMPLE, n_points // SAMPLE_SHARE)


def _thresholds(tiles: Tiles, n_points: int, width: int) -> Array:
    """Estimate a threshold for every row; very likely, more points than needed are below it."""
    sample = np.random.default_rng(0).choice(n_points, _n_sample(n_points), replace=False)
    rank = _rank(n_points, width)
    own, usual = [], []
    for rows in blocks(n_points):
        tile = tiles.block(rows, sample)
        own.append(np.partition(tile, rank, axis=1)[:, rank])
        if width > USUAL:
            # One row in eight is enough to estimate the median of all rows.
            middle = min(rank, -(-USUAL * len(sample) // n_points))
            usual.append(np.partition(tile[::8], middle, axis=1)[:, middle])
    thresholds = np.concatenate(own)
    if not usual:
        return thresholds
    # Raise the thresholds of rows in dense regions to the common threshold, because pairs are
    # counted within the same radius for all rows.
    common = np.sort(np.concatenate(usual))
    return np.maximum(thresholds, common[len(common) // 2])


def _largest(dtype: np.dtype[Any]) -> Any:
    return np.iinfo(dtype).max if dtype.kind == "i" else np.finfo(dtype).max


def _where(mask: Mask) -> tuple[Ints, Ints]:
    return np.divmod(np.flatnonzero(mask), max(mask.shape[1], 1))


class Keys:
    """Encodes hits (pairs of points) as integers, which sort by row, then by bound, then by column.

    The 64 bits contain the row, the leading bits of the bound, and the column. Truncation only
    decreases the bound, which therefore remains a lower bound.
    """

    def __init__(self, n_points: int, dtype: np.dtype[Any]) -> None:
        self.index_bits = max(1, (n_points - 1).bit_length())
        self.dtype = dtype
        # The bounds in keys are not negative, so they need no sign bit.
        n_bits = dtype.itemsize * 8 - 1
        self.value_bits = min(n_bits, 64 - 2 * self.index_bits)
        self.cut = n_bits - self.value_bits

    def pack(self, rows: Any, columns: Any, values: Array) -> NDArray[np.uint64]:
        """Make keys from rows, columns (int64) and bounds."""
        bits = np.maximum(values, 0).view(f"i{self.dtype.itemsize}").astype(np.int64) >> self.cut
        packed = ((rows << self.value_bits | bits) << self.index_bits) | columns
        return packed.view(np.uint64)

    def columns(self, packed: NDArray[np.uint64]) -> Ints:
        """Return the column that each key contains."""
        return (packed & np.uint64((1 << self.index_bits) - 1)).astype(np.int64)

    def rows(self, packed: NDArray[np.uint64]) -> Ints:
        """Return the row that each key contains."""
        return (packed >> np.uint64(self.value_bits + self.index_bits)).astype(np.int64)

    def values(self, packed: NDArray[np.uint64]) -> Array:
        """Return the bound that each key contains."""
        bits = (packed >> np.uint64(self.index_bits)) & np.uint64((1 << self.value_bits) - 1)
        whole = bits.astype(np.int64) << self.cut
        return whole.astype(f"i{self.dtype.itemsize}").view(self.dtype)


@dataclass(frozen=True, eq=False)
class Hits:
    """All pairs of points whose bounds do not exceed the thresholds of their rows.

    Attributes
    ----------
    keys : Keys
    packed : ndarray of uint64
        Sorted keys of the pairs.
    known : ndarray, shape (n_points,), float64
        A limit for each row. The hits include all pairs whose ½ distance² is below the limit.
    """

    keys: Keys
    packed: NDArray[np.uint64]
    known: Floats

    def first(self, width: int) -> tuple[Ints, Array]:
        """Return the columns of the first hits of each row, and the bound of the next hit.

        Absent columns and bounds are -1.
        """
        n_points, dtype = len(self.known), self.keys.dtype
        if not len(self.packed):
            return np.full((n_points, width), -1), np.full(n_points, -1, dtype)
        starts = self._positions(0.0, np.arange(n_points))
        positions = starts[:, None] + np.arange(width + 1)
        present = positions < np.append(starts[1:], len(self.packed))[:, None]
        taken = self.packed[np.minimum(positions, len(self.packed) - 1)]
        listed = np.where(present[:, :width], self.keys.columns(taken[:, :width]), -1)
        following = self.keys.values(taken[:, width])
        return listed, np.where(present[:, width], following, dtype.type(-1))

    def between(self, rows: Ints, low: Floats | float, high: Floats | float) -> tuple[Ints, Ints]:
        """Return the number of hits of each row with bounds in [low, high), and their columns."""
        starts, stops = self._positions(low, rows), self._positions(high, rows)
        counts = np.maximum(stops - starts, 0)
        shifts = starts - np.cumsum(counts) + counts
        positions = np.arange(counts.sum()) + np.repeat(shifts, counts)
        return counts, self.keys.columns(self.packed[positions])

    def _positions(self, bounds: Floats | float, rows: Ints) -> Ints:
        """Return the position of every row's first hit whose bound is at least the given bound."""
        values = np.full(len(rows), bounds, dtype=self.keys.dtype)
        return np.searchsorted(self.packed, self.keys.pack(rows, 0, values))
