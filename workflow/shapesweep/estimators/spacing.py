"""Find the precision of numbers from their values, whatever dtype contains them.

States of a bfloat16 model may be stored as float32, and quantised values may be stored as any
dtype. Their precision is still visible: mantissas end in zero bits, or the values of a feature are
multiples of a step.
"""

from dataclasses import dataclass, replace

import numpy as np

from shapesweep.estimators.arrays import Floats, Ints, Mask, Points
from shapesweep.estimators.moments import blocks, norms

#: Maximum number of values of each feature, or of each point, that are examined.
N_VALUES = 512
#: Number of points that are examined first. All points are examined if one of these is coarser than
#: the features.
N_FIRST = 64
#: Minimum number of values of a feature or a point, apart from its median. With fewer such values
#: among `N_VALUES`, more than 98 % of the values are equal.
LEAST = 8
#: Share of the values that may be more precise than the others.
STRAYS = 0.01
#: Significant bits of float32. With as many bits, a grid cannot be distinguished from floats.
FLOAT32_BITS = 24
#: Number of gaps between values that must be multiples of a step, and number of these gaps from
#: which one candidate for the step is computed.
N_GAPS, N_DIVIDED = 64, 8
#: Share of the gaps that must be multiples of the step. A value that is not on the grid, such as
#: the limit of clipped values, changes two gaps.
MULTIPLES = 0.9
#: Error of a gap, in spacings of the largest value: one for each of the two values, and twice as
#: many if a scale or an offset was applied.
GAP_ERROR = 4
#: A gap is a multiple of a step if it differs from one by less than this share of the step, besides
#: its error. Random gaps do so in a quarter of all cases.
TOLERANCE = 1 / 8


@dataclass(frozen=True, eq=False)
class Spacing:
    """Distances between neighbouring numbers that the values of a cloud can take.

    Attributes
    ----------
    relative : ndarray, shape (n_features,), float64
        Spacing of the floats of each feature relative to their value: 2⁻²³ for float32, and 2⁻⁷ for
        bfloat16.
    step : ndarray, shape (n_features,), float64
        Step of the uniform grid that contains the values of each feature; 0 without such a grid.
    relative_of_points, step_of_points : ndarray, shape (n_points,), float64
        The same for the values of each point; 0 if these are not coarser than the features.

    Notes
    -----
    The following values are found in any dtype: floats with few bits, integers, fixed decimals, and
    `scale * integer + offset` with a scale and an offset for each feature or for each point. Values
    that were rounded and then rotated are not found. Floats that were rounded and then multiplied
    by a constant are found only if they lie on a uniform grid.
    """

    relative: Floats
    step: Floats
    relative_of_points: Floats
    step_of_points: Floats

    @classmethod
    def of(cls, points: Points) -> "Spacing":
        """Find the spacing of the values of a cloud.

        Parameters
        ----------
        points : ndarray, shape (n_points, n_features)
            Finite floats.

        Examples
        --------
        >>> import numpy as np
        >>> normal = np.random.default_rng(0).standard_normal((100, 1))
        >>> float(Spacing.of(normal.astype(np.float16).astype(float)).relative[0]) == 2.0**-10
        True
        >>> round(float(Spacing.of(normal.round(2)).step[0]), 12)
        0.01
        """
        eps, (n_points, n_features) = float(np.finfo(points.dtype).eps), points.shape
        # Evenly spaced rows could all have the same position in a document.
        rng = np.random.default_rng(0)
        rows = rng.permutation(n_points)[:N_VALUES]
        columns = rng.permutation(n_features)[:N_VALUES]
        relative, step = _of_lines(points[rows].T, eps)
        of_points = np.zeros((2, n_points))
        first = _of_lines(points[np.ix_(rows[:N_FIRST], columns)], eps)
        # Steps that are found from points and from features differ a little.
        usual = 2 * np.median([relative, step], axis=1)
        if (np.max(first, axis=1) > usual).any():
            for part in blocks(n_points):
                of_points[:, part] = _of_lines(points[part][:, columns], eps)
        return cls(relative, step, *of_points)

    def of_rows(self, rows: Ints | Mask) -> "Spacing":
        """Return the spacing of a part of the points."""
        return replace(
            self,
            relative_of_points=self.relative_of_points[rows],
            step_of_points=self.step_of_points[rows],
        )

    def limits(self, points: Points, n_relative: float, n_steps: float) -> Floats:
        """Return a multiple of the spacing at every value, shape (n_points, n_features).

        Parameters
        ----------
        points : ndarray, shape (n_points, n_features)
        n_relative, n_steps : float
            Factors of the spacing of floats and of the step of grids. The larger product counts.
        """
        relative = np.maximum(self.relative, self.relative_of_points[:, None])
        step = np.maximum(self.step, self.step_of_points[:, None])
        return np.maximum(n_relative * relative * np.abs(points), n_steps * step)

    def bounds(self, points: Points, n_relative: float, n_steps: float) -> Floats:
        """Return an upper bound of the norm of each row of `limits`, shape (n_points,)."""
        relative = np.maximum(self.relative.max(), self.relative_of_points)
        steps = np.linalg.norm(self.step) + self.step_of_points * np.sqrt(len(self.step))
        bounds: Floats = n_relative * relative * norms(points) + n_steps * steps
        return bounds


def _of_lines(lines: Points, eps: float) -> tuple[Floats, Floats]:
    """Find the relative spacing and the step of each line: of a feature, or of a point.

    Parameters
    ----------
    lines : ndarray, shape (n_lines, n_values)
    eps : float
        Relative spacing of the dtype.
    """
    values = np.sort(lines.astype(np.float64), axis=1)
    # More than half of the values can be equal (to zero, for example).
    usable = values != values[:, values.shape[1] // 2, None]
    bits, powers = _bits(values, usable & (values != 0))
    is_float = (bits > 0) & ((powers == 0) | (bits >= FLOAT32_BITS))
    relative = np.where(is_float, np.maximum(2.0 ** (1 - bits), eps), eps)
    # If all values have the same exponent, floats look like a grid. Such a line has the precision
    # of the other lines.
    most = bits[is_float].max(initial=0)
    shared = max(2.0 ** (1 - most), eps) if most else eps
    relative = np.where((bits > 0) & (bits <= most), np.maximum(relative, shared), relative)
    step = _common_step(values, relative) * (usable.sum(axis=1) >= LEAST)
    return relative, np.maximum(step, np.where(is_float, 0.0, powers))


def _bits(values: Floats, used: Mask) -> tuple[Ints, Floats]:
    """Count the significant bits of each line's values.

    Parameters
    ----------
    values : ndarray, shape (n_lines, n_values)
    used : ndarray of bool, shape (n_lines, n_values)

    Returns
    -------
    bits : ndarray of int, shape (n_lines,)
        Significant bits of the most precise value, apart from strays; 0 if too few values are used.
    powers : ndarray, shape (n_lines,), float64
        The power of two of which all values are multiples, if this explains the number of bits;
        otherwise 0.
    """
    fractions, exponents = np.frexp(values)
    whole = (fractions * 2.0**53).astype(np.int64)
    bits = 54 - np.frexp((whole & -whole).astype(np.float64))[1]
    bits = np.where(used, bits, 0).astype(np.int8)
    n_used = used.sum(axis=1)
    place = bits.shape[1] - 1 - (STRAYS * n_used).astype(np.int64)
    typical = np.take_along_axis(np.sort(bits, axis=1, kind="stable"), place[:, None], axis=1)
    # The largest integers of a line are rare, and may have a bit or two more than the others.
    kept = used & (bits <= typical + 2)
    most = np.where(kept, bits, 0).max(axis=1).astype(np.int64)
    lowest = np.where(kept, exponents - bits, 2000).min(axis=1)
    highest = np.where(kept, exponents, -2000).max(axis=1)
    enough = n_used >= LEAST
    # Small multiples of a step have fewer bits than large multiples, unlike small floats.
    n_small = (kept & (exponents < (lowest + most)[:, None])).sum(axis=1)
    is_grid = enough & ((highest - lowest <= most) | (4 * n_small > kept.sum(axis=1)))
    powers = np.where(is_grid, np.ldexp(1.0, np.where(is_grid, lowest, 0)), 0.0)
    return np.where(enough, most, 0), powers


def _common_step(values: Floats, relative: Floats) -> Floats:
    """Find the step of which the gaps between a line's values are multiples.

    Parameters
    ----------
    values : ndarray, shape (n_lines, n_values)
        Ascending.
    relative : ndarray, shape (n_lines,)
        Relative spacing of the values.

    Returns
    -------
    ndarray, shape (n_lines,), float64
        0 if there is no such step.

    Notes
    -----
    Euclid's algorithm finds the greatest common divisor of a few gaps. It runs for several groups
    of gaps, because a gap beside a stray value spoils the result of its group.
    """
    error = relative * np.abs(values).max(axis=1, initial=0.0)
    gaps = np.full((len(values), max(N_GAPS, values.shape[1])), np.inf)
    gaps[:, : values.shape[1] - 1] = np.diff(values, axis=1)
    gaps[gaps <= GAP_ERROR * error[:, None]] = np.inf
    # Small gaps are small multiples of the step, so that they determine it best.
    small = np.partition(gaps, N_GAPS - 1, axis=1)[:, :N_GAPS]
    grouped = small.reshape(len(values), -1, N_DIVIDED)
    # Smaller steps cannot be distinguished from errors of gaps.
    limit = 2 * GAP_ERROR / TOLERANCE * error[:, None]
    step = grouped.min(axis=2)
    while True:
        rest, off = _remainders(grouped, step, error)
        smaller = np.where(off, rest, np.inf).min(axis=2)
        if not np.isfinite(smaller).any():
            break
        step = np.minimum(step, smaller)
        step[step < limit] = np.inf
    _, off = _remainders(small[:, None, :], step, error)
    n_off, n_gaps = off.sum(axis=2), np.isfinite(small).sum(axis=1)[:, None]
    fits = np.isfinite(step) & (step >= limit) & (n_off <= (1 - MULTIPLES) * n_gaps)
    return np.where(fits, step, 0.0).max(axis=1)


def _remainders(gaps: Floats, step: Floats, error: Floats) -> tuple[Floats, Mask]:
    """Return the distances of gaps to multiples of the steps, and whether these are too large.

    Parameters
    ----------
    gaps : ndarray, shape (n_lines, n_groups or 1, n_gaps)
    step : ndarray, shape (n_lines, n_groups)
    error : ndarray, shape (n_lines,)
    """
    step = step[:, :, None]
    usable = np.isfinite(gaps) & np.isfinite(step)
    gaps, step = np.where(usable, gaps, 0.0), np.where(usable, step, 1.0)
    multiples = np.rint(gaps / step)
    rest = np.abs(gaps - multiples * step)
    allowed = np.minimum(GAP_ERROR * (multiples + 1) * error[:, None, None], TOLERANCE * step)
    return rest, rest > allowed
