"""Compute and merge moments of clouds, in float64, for spectral metrics."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np
from numpy.typing import ArrayLike

from shapesweep.estimators.arrays import Floats, Mask, Points

#: Maximum number of values in a block of points: 32 MiB in float64.
BLOCK = 2**22
#: Number of rows in a block: 512 x 10,000 float32 values need 20 MiB.
ROWS = 512


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over the points of a cloud; `+` merges the sums of two clouds.

    Attributes
    ----------
    n_points : int
    mean : ndarray, shape (n_features,), float64
    scatter : ndarray, shape (n_features, n_features), float64
        Σ yyᵀ over y = x - mean: the covariance times (n_points - 1).
    cubes : ndarray, shape (n_features,), float64
        Σ ‖y‖² y.
    fourth : float
        Σ ‖y‖⁴.
    direction_sum : ndarray, shape (n_features,), float64
        Σ x/‖x‖ over the nonzero points x, without centring.
    n_directions : int
        Number of nonzero points.

    Notes
    -----
    Moments are merged by the update formulas of Chan, Golub and LeVeque (1983), which are extended
    to third and fourth moments. The result is exact up to rounding, without cancellation.
    """

    n_points: int
    mean: Floats
    scatter: Floats
    cubes: Floats
    fourth: float
    direction_sum: Floats
    n_directions: int

    @classmethod
    def of(cls, points: ArrayLike) -> "Moments":
        """Compute moments of an array, shape (n_points, n_features), block by block."""
        points = np.asarray(points)
        size = max(1, BLOCK // max(1, points.shape[1]))
        parts = (points[start : start + size] for start in range(0, max(1, len(points)), size))
        return cls.merged(cls._of_block(np.asarray(part, dtype=np.float64)) for part in parts)

    @classmethod
    def _of_block(cls, points: Floats) -> "Moments":
        mean = points.mean(axis=0) if len(points) else np.zeros(points.shape[1])
        centred = points - mean
        squares = np.einsum("ij,ij->i", centred, centred)
        lengths = np.linalg.norm(points, axis=1)
        inverse = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)
        return cls(
            len(points),
            mean,
            centred.T @ centred,
            squares @ centred,
            float(squares @ squares),
            inverse @ points,
            int((lengths > 0).sum()),
        )

    @classmethod
    def of_each(cls, points: Points, selections: Sequence[Mask]) -> list["Moments"]:
        """Compute the moments of several selections; each point is summed only once.

        Parameters
        ----------
        points : ndarray, shape (n_points, n_features)
        selections : sequence of ndarray of bool, shape (n_points,)
            Each selection has at least one point.
        """
        keepers = np.zeros(len(points), dtype=np.int64)
        for bit, kept in enumerate(selections):
            keepers |= kept.astype(np.int64) << bit
        parts = {key: cls.of(points[keepers == key]) for key in np.unique(keepers).tolist() if key}
        return [
            cls.merged(part for key, part in parts.items() if key >> bit & 1)
            for bit in range(len(selections))
        ]

    @classmethod
    def merged(cls, parts: Iterable["Moments"]) -> "Moments":
        """Merge the moments of all parts of a cloud; there must be at least one part."""
        return reduce(cls.__add__, parts)

    def __add__(self, other: "Moments") -> "Moments":
        n_points = self.n_points + other.n_points
        mean = (self.n_points * self.mean + other.n_points * other.mean) / max(n_points, 1)
        mine, two = self._about(mean), other._about(mean)
        return Moments(
            n_points,
            mean,
            mine[0] + two[0],
            mine[1] + two[1],
            mine[2] + two[2],
            self.direction_sum + other.direction_sum,
            self.n_directions + other.n_directions,
        )

    def _about(self, centre: Floats) -> tuple[Floats, Floats, float]:
        """Compute `scatter`, `cubes` and `fourth` relative to `centre` instead of the mean."""
        n, shift = self.n_points, self.mean - centre
        scatter = self.scatter + n * np.outer(shift, shift)
        along = np.trace(self.scatter) + n * (shift @ shift)
        cubes = self.cubes + 2 * self.scatter @ shift + along * shift
        return scatter, cubes, self.fourth_about(centre)

    def fourth_about(self, centre: Floats) -> float:
        """Σ ‖x - centre‖⁴."""
        shift = self.mean - centre
        total, length = np.trace(self.scatter), shift @ shift
        fourth = self.fourth + 4 * (self.cubes @ shift + shift @ self.scatter @ shift)
        return float(fourth + 2 * length * total + self.n_points * length**2)

    @cached_property
    def second_moment(self) -> Floats:
        """Σ xxᵀ over the uncentred points x, shape (n_features, n_features)."""
        return self.scatter + self.n_points * np.outer(self.mean, self.mean)


def norms(points: Points) -> Floats:
    """Euclidean norms of uncentred points, computed in float64, shape (n_points,)."""
    return np.sqrt(np.einsum("ij,ij->i", points, points, dtype=np.float64))


def directions(points: Floats) -> Floats:
    """Every point divided by its norm, shape (n_points, n_features); zeros stay zero."""
    norms = np.linalg.norm(points, axis=1, keepdims=True)
    return np.divide(points, norms, out=np.zeros_like(points), where=norms > 0)


def blocks(n: int, size: int = ROWS) -> Iterator[slice]:
    """Yield slices of at most `size` rows that together cover n rows."""
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))
