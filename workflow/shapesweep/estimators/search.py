"""The search for neighbours: which points can be among the nearest, and what is farther than what.

Proposes candidates by lower bounds of their distance (`tiles`), and says for every row below which
bound nothing is missing. Every pair is looked at once: a tile above the diagonal serves its rows
and its columns.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapesweep.estimators.tiles import ROWS, Tiles

#: Fewer points are searched row by row: the thresholds' sample would be the whole cloud.
FEW = 2048
#: Columns from which a row's threshold is guessed, and the share of all columns that they are.
SAMPLE, SAMPLE_SHARE = 1024, 16
#: A row of more hits than so many times what is asked for has a wrong threshold: it is searched by
#: itself. (Many points at one distance, such as rounded ones, would fill the memory.)
TOO_MANY = 32


@dataclass(frozen=True)
class Candidates:
    """Points that can be nearest neighbours of some rows.

    Attributes
    ----------
    rows : ndarray of int, shape (n_rows,)
    columns : ndarray of int, shape (n_rows, width)
        Ascending by their bounds; -1 where there are no more.
    beyond : ndarray, shape (n_rows,), float64
        A lower bound of ½ distance² for all points that are not listed.
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    beyond: NDArray[np.float64]


def propose(
    tiles: Tiles, n_points: int, width: int, labels: NDArray[np.integer] | None = None
) -> list[Candidates]:
    """Candidates of all rows, of any label and, with labels, of other labels as well.

    Parameters
    ----------
    tiles : Tiles
    n_points : int
    width : int
        Candidates a row.
    labels : ndarray of int, shape (n_points,), optional

    Returns
    -------
    list of Candidates
        A row for which less than `width` were found has all that lies below its `beyond`.
    """
    rank = _rank(n_points, width)
    if n_points < FEW or rank is None:
        found = propose_rows(tiles, np.arange(n_points), width, n_points, labels)
        return found if labels is not None else found[:1]
    thresholds = _thresholds(tiles, n_points, rank, labels)
    keys = _Keys(n_points, thresholds.dtype)
    limits = thresholds.copy()
    hits = np.zeros(n_points, dtype=np.int64)
    packed = []
    for start in range(0, n_points, ROWS):
        stop = min(start + ROWS, n_points)
        tile = tiles.block(slice(start, stop), slice(start, n_points))
        ahead = tile[:, stop - start :]
        across = _hits(tile <= limits[start:stop, None])
        down = _hits(ahead <= limits[stop:])
        new = [
            (across[0] + start, across[1] + start, tile[across]),
            (down[1] + stop, down[0] + start, ahead[down]),
        ]
        for rows, columns, values in new:
            packed.append(keys.pack(rows, columns, values))
            hits += np.bincount(rows, minlength=n_points)
        limits[hits > TOO_MANY * width] = np.iinfo(np.int16).min
    every = np.concatenate(packed)
    every.sort()
    # Of a row that was stopped nothing is known.
    known = np.where(limits == thresholds, tiles.bound(thresholds), 0.0)
    rows, columns, values = keys.unpack(every)
    found = []
    for usable in [rows != columns] + ([] if labels is None else [labels[rows] != labels[columns]]):
        listed, following = _first(rows[usable], columns[usable], values[usable], width, n_points)
        beyond = np.where(following < 0, known, tiles.bound(following))
        found.append(Candidates(np.arange(n_points), listed, np.minimum(beyond, known)))
    return found


def propose_rows(
    tiles: Tiles,
    rows: NDArray[np.int64],
    width: int,
    n_points: int,
    labels: NDArray[np.integer] | None = None,
    keep: NDArray[np.bool_] | None = None,
) -> list[Candidates]:
    """The same for some rows, each looked at as a whole; of any label and of other labels.

    Parameters
    ----------
    keep : ndarray of bool, shape (n_points,), optional
        Points that may be neighbours.
    """
    width = min(width, n_points)
    parts: list[list[Candidates]] = [[], []]
    for start in range(0, len(rows), ROWS):
        own = rows[start : start + ROWS]
        bounds = tiles.bound(tiles.block(own, slice(None)))
        bounds[np.arange(len(own)), own] = np.inf
        if keep is not None:
            bounds[:, ~keep] = np.inf
        parts[0].append(_smallest(own, bounds, width))
        if labels is not None:
            bounds[labels[own, None] == labels] = np.inf
            parts[1].append(_smallest(own, bounds, width))
    return [_joined(part, width) for part in parts if part] or [_joined([], width)]


def _smallest(rows: NDArray[np.int64], bounds: NDArray[np.float64], width: int) -> Candidates:
    n_columns = bounds.shape[1]
    if width < n_columns:
        listed = np.argpartition(bounds, width, axis=1)
        beyond = np.take_along_axis(bounds, listed[:, width : width + 1], axis=1)[:, 0]
        listed = listed[:, :width]
    else:
        listed = np.broadcast_to(np.arange(n_columns), bounds.shape)
        beyond = np.full(len(rows), np.inf)
    values = np.take_along_axis(bounds, listed, axis=1)
    listed = np.where(np.isfinite(values), listed, -1)
    return Candidates(rows, listed, beyond)


def _joined(parts: list[Candidates], width: int) -> Candidates:
    if not parts:
        return Candidates(np.empty(0, int), np.empty((0, width), int), np.empty(0))
    return Candidates(
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.columns for part in parts]),
        np.concatenate([part.beyond for part in parts]),
    )


def _rank(n_points: int, width: int) -> int | None:
    """Rank in the sample at which a threshold lets through enough, but for one row in some 1,000.

    How many of a row's nearest lie in the sample is Poisson's; 3.5 of its standard deviations and
    two more are taken on top. None where that is more than a quarter of the sample.
    """
    n_sample = _n_sample(n_points)
    expected = (width + 1) * n_sample / n_points
    rank = int(np.ceil(expected + 3.5 * np.sqrt(expected) + 2))
    return rank if rank < n_sample / 4 else None


def _n_sample(n_points: int) -> int:
    return max(SAMPLE, n_points // SAMPLE_SHARE)


def _thresholds(
    tiles: Tiles, n_points: int, rank: int, labels: NDArray[np.integer] | None
) -> NDArray[Any]:
    """For every row a bound below which, in all likelihood, it has more points than needed."""
    sample = np.random.default_rng(0).choice(n_points, _n_sample(n_points), replace=False)
    made = []
    for start in range(0, n_points, ROWS):
        rows = slice(start, min(start + ROWS, n_points))
        tile = tiles.block(rows, sample)
        if labels is not None:
            tile[labels[rows, None] == labels[sample]] = _largest(tile.dtype)
        made.append(np.partition(tile, rank, axis=1)[:, rank])
    return np.concatenate(made)


def _largest(dtype: np.dtype[Any]) -> Any:
    return np.iinfo(dtype).max if dtype.kind == "i" else np.finfo(dtype).max


def _hits(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    flat = np.flatnonzero(mask)
    rows = flat // max(mask.shape[1], 1)
    return rows, flat - rows * mask.shape[1]


class _Keys:
    """Hits as whole numbers that sort by row, then by bound; the column rides along.

    A number of 64 bits has room for both indices and for what is left of the bound's bits: cutting
    its last ones makes it smaller, so that it stays a lower bound.
    """

    def __init__(self, n_points: int, dtype: np.dtype[Any]) -> None:
        self.index_bits = max(1, (n_points - 1).bit_length())
        self.dtype = dtype
        # Numbers that are not negative need one bit less.
        n_bits = dtype.itemsize * 8 - 1
        self.value_bits = min(n_bits, 64 - 2 * self.index_bits)
        self.cut = n_bits - self.value_bits

    def pack(
        self, rows: NDArray[np.int64], columns: NDArray[np.int64], values: NDArray[Any]
    ) -> NDArray[np.uint64]:
        bits = np.maximum(values, 0).view(f"i{self.dtype.itemsize}").astype(np.int64) >> self.cut
        packed = ((rows << self.value_bits | bits) << self.index_bits) | columns
        return packed.view(np.uint64)

    def unpack(
        self, packed: NDArray[np.uint64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
        columns = (packed & np.uint64((1 << self.index_bits) - 1)).astype(np.int64)
        rest = packed >> np.uint64(self.index_bits)
        bits = (rest & np.uint64((1 << self.value_bits) - 1)).astype(np.int64) << self.cut
        rows = (rest >> np.uint64(self.value_bits)).astype(np.int64)
        return rows, columns, bits.astype(f"i{self.dtype.itemsize}").view(self.dtype)


def _first(
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    values: NDArray[Any],
    width: int,
    n_points: int,
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """The first `width` columns of every row and the value that follows; -1 where there is none."""
    starts = np.searchsorted(rows, np.arange(n_points + 1))
    places = starts[:-1, None] + np.arange(width + 1)
    present = places < starts[1:, None]
    places = np.minimum(places, max(len(rows) - 1, 0))
    listed = np.where(present[:, :width], columns[places[:, :width]], -1)
    return listed, np.where(present[:, width], values[places[:, width]], -1)


def blocks(n: int, size: int = ROWS) -> Iterator[slice]:
    """Slices that cover n rows."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))
