"""Prepare a cloud for the search: tiles in every precision, and exact distances of pairs."""

import warnings
from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from shapesweep.estimators.arrays import Floats, Ints, Mask
from shapesweep.estimators.moments import blocks
from shapesweep.neighbors.candidates import Candidates, Hits
from shapesweep.neighbors.tiles import Tiles

#: If ‖a - b‖² is below this share of ‖a‖² + ‖b‖², its computation as ‖a‖² + ‖b‖² - 2a·b loses more
#: than three of the sixteen digits of float64, so the distance is computed by direct difference.
NEAR = 2.0**-10
#: Maximum relative decrease of a bound when its last bits are cut. With a million points, 24 bits
#: of a bound are left, and 16 of these belong to its mantissa.
SHORTENED = 2.0**-15
#: Maximum number of values for which direct subtraction is faster than loading torch.
FEW_NUMBERS = 2**21
#: Number of values in a chunk of differences: 2 MiB in float64, which fits into the cache.
CHUNK = 2**18


class Space:
    """The points of a cloud.

    Parameters
    ----------
    points : array_like, shape (n_points, n_features)
        Finite values, float32 or float64.

    Raises
    ------
    ValueError
        If a value is not finite.
    """

    def __init__(self, points: ArrayLike) -> None:
        self.points = np.asarray(points)
        if self.points.dtype != np.float32:
            self.points = self.points.astype(np.float64, copy=False)
        mean = self.points.mean(axis=0, dtype=np.float64)
        if not np.isfinite(mean).all() or not np.isfinite(self.points).all():
            raise ValueError("points must be finite")
        self.centred = self.points - mean
        # The scale is a power of two, so that scaling is exact.
        extent = max(self.centred.max(initial=0.0), -self.centred.min(initial=0.0))
        self.scale = float(2.0 ** np.ceil(np.log2(extent))) if extent > 0 else 1.0
        self.centred /= self.scale
        self.squares = np.einsum("ij,ij->i", self.centred, self.centred)
        self._tiles: dict[str, Tiles] = {}

    def __len__(self) -> int:
        return len(self.points)

    def tiles(self, precision: str) -> Tiles:
        """Return the tiles of lower bounds in the given precision."""
        if precision not in self._tiles:
            self._tiles[precision] = Tiles(self.centred, self.squares / 2, precision)
        return self._tiles[precision]

    def reach(self, found: Candidates) -> Floats:
        """Return a distance for every row: all points closer than this are among its candidates."""
        return np.sqrt(2 * found.beyond) * self.scale

    def ordered(self, found: Candidates) -> tuple[Floats, Ints]:
        """Compute exact distances to candidates, and sort the candidates by distance.

        Returns
        -------
        distances : ndarray, shape (n_rows, width), float64
            Ascending; infinite for absent candidates. Candidates at equal distances are sorted by
            index.
        indices : ndarray of int, shape (n_rows, width)
        """
        distances = np.full(found.columns.shape, np.inf)
        present = found.columns >= 0
        distances[present] = self._pairs(found.rows, present.sum(axis=1), found.columns[present])
        order = np.argsort(distances, axis=1, kind="stable")
        distances = np.take_along_axis(distances, order, axis=1)
        indices = np.take_along_axis(found.columns, order, axis=1)
        equal = (distances[:, 1:] == distances[:, :-1]) & np.isfinite(distances[:, 1:])
        for row in np.flatnonzero(equal.any(axis=1)):
            order = np.lexsort((indices[row], distances[row]))
            indices[row] = indices[row][order]
        return distances, indices

    def _pairs(self, rows: Ints, counts: Ints, columns: Ints) -> Floats:
        """Compute distances of pairs; counts[i] consecutive columns belong to the i-th row."""
        if len(columns) * self.points.shape[1] <= FEW_NUMBERS:
            return self.difference(np.repeat(rows, counts), columns)
        starts = np.concatenate([[0], np.cumsum(counts)])
        products = np.empty(len(columns))
        for part in blocks(len(rows)):
            first, last = starts[part.start], starts[part.stop]
            products[first:last] = self._products(
                rows[part], starts[part.start : part.stop + 1] - first, columns[first:last]
            )
        owners = np.repeat(rows, counts)
        sums = self.squares[owners] + self.squares[columns]
        squared = sums - 2 * products
        near = np.flatnonzero(squared <= NEAR * sums)
        distances = np.sqrt(np.maximum(squared, 0)) * self.scale
        distances[near] = self.difference(owners[near], columns[near])
        return distances

    def _products(self, rows: Ints, starts: Ints, columns: Ints) -> Floats:
        """Compute the inner products of rows with columns; columns of row i begin at starts[i]."""
        import torch

        points = torch.from_numpy(self.centred)
        consecutive = len(rows) and rows[-1] - rows[0] + 1 == len(rows)
        own = points[rows[0] : rows[-1] + 1] if consecutive else points[torch.from_numpy(rows)]
        with warnings.catch_warnings():
            # Torch warns that sparse matrices are in beta; this code uses them only as lists of
            # pairs.
            warnings.filterwarnings("ignore", "Sparse", UserWarning)
            pairs = torch.sparse_csr_tensor(
                torch.from_numpy(starts),
                torch.from_numpy(columns),
                torch.zeros(len(columns), dtype=torch.float64),
                (len(rows), len(self)),
                check_invariants=False,
            )
            found = torch.sparse.sampled_addmm(pairs, own, points.T, beta=0.0)
        return found.values().numpy()

    def difference(self, rows: Ints, columns: Ints) -> Floats:
        """Compute the distances of pairs by direct difference in float64, shape (n_pairs,)."""
        distances = np.empty(len(rows))
        for part in blocks(len(rows), max(1, CHUNK // max(1, self.points.shape[1]))):
            first, other = self.points[rows[part]], self.points[columns[part]]
            apart = np.subtract(first, other, dtype=np.float64) / self.scale
            distances[part] = np.linalg.norm(apart, axis=1) * self.scale
        return distances

    def within(self, rows: Mask, radius: float, hits: Hits | None) -> Iterator[tuple[Ints, Ints]]:
        """Yield, in parts, all pairs of a given row and a point within a radius of the row.

        Parameters
        ----------
        rows : ndarray of bool, shape (n_points,)
        radius : float
        hits : Hits or None
            Hits of the float32 search, if available. Rows with complete hits are not searched
            again.

        Yields
        ------
        rows, columns : ndarray of int, shape (n_pairs,)
            A point is not its own neighbour.
        """
        half, left = (radius / self.scale) ** 2 / 2, rows
        tiles = self.tiles("float32")
        # Rounding in float32 and cutting bits of a key decrease a bound by at most this amount.
        slack = (2 * tiles.slack + SHORTENED) * (self.squares + self.squares.max(initial=0))
        if hits is not None:
            known = np.flatnonzero(rows & (hits.known >= half))
            left = rows & (hits.known < half)
            certain = np.maximum(half - slack[known], 0)
            counts, columns = hits.between(known, 0.0, certain)
            first = np.repeat(known, counts)
            other = first != columns
            yield first[other], columns[other]
            yield self._nearer(known, *hits.between(known, certain, half * (1 + SHORTENED)), radius)
        whole = np.flatnonzero(left)
        for part in blocks(len(whole)):
            own = whole[part]
            bounds = tiles.block(own, slice(None))
            bounds[np.arange(len(own)), own] = np.inf
            near, columns = np.nonzero(bounds < (half - slack[own])[:, None])
            yield own[near], columns
            doubtful = (bounds >= (half - slack[own])[:, None]) & (bounds < half)
            yield self._nearer(own, doubtful.sum(axis=1), np.nonzero(doubtful)[1], radius)

    def _nearer(self, rows: Ints, counts: Ints, columns: Ints, radius: float) -> tuple[Ints, Ints]:
        """Select the pairs closer than a radius; counts[i] columns belong to the i-th row."""
        first = np.repeat(rows, counts)
        inside = self._pairs(rows, counts, columns) < radius
        inside &= first != columns
        return first[inside], columns[inside]
