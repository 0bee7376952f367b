"""Fit an affine map from one layer to the next by least squares, with jackknife replicates."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add, sub
from typing import NamedTuple

import numpy as np
import scipy.linalg

from shapesweep.estimators import spectrum
from shapesweep.estimators.arrays import Floats, Labels, Mask, Points
from shapesweep.estimators.moments import Moments

#: With more features than this number, matrix products that affect only error bars are computed in
#: the dtype of the points.
FEW_FEATURES = 128


@dataclass(frozen=True)
class Fit:
    """The best affine map from one layer to the next, fitted to all tokens or to all but one group.

    Attributes
    ----------
    n_points, n_features : int
        Number of tokens, and number of axes with variance in the previous layer. An axis has
        variance if its eigenvalue from `spectrum.eigh` is positive.
    residual, total : float
        Σ‖y - fit‖² and Σ‖y - mean‖² over the tokens y of the later layer.
    """

    n_points: int
    n_features: int
    residual: float
    total: float

    @property
    def linearity(self) -> float:
        """1 - residual/total; NaN if there are too few tokens for a fit, or no variance."""
        if self.n_points <= self.n_features + 1 or not self.total > 0:
            return float("nan")
        return 1 - self.residual / self.total


def linearity(before: Points, after: Points) -> float:
    """The share of a layer's variance that an affine map of the previous layer explains.

    The share is 1 - min_A ‖XA - Y‖², where X and Y are the centred clouds, and Y has norm one
    (Razzhigaev et al. 2024, "Your Transformer is Secretly Linear"). The fit is evaluated on the
    tokens to which it was fitted. If the map explains nothing, the share is therefore too high by
    about n_features/n_points.

    Parameters
    ----------
    before, after : ndarray, shape (n_points, n_features)
        Hidden states of the same tokens in two layers.

    Returns
    -------
    float
        At most 1; NaN if there are at most n_features + 1 points.

    Examples
    --------
    >>> import numpy as np, shapesweep
    >>> x = np.random.default_rng(0).standard_normal((100, 3))
    >>> round(shapesweep.linearity(x, x @ np.ones((3, 2)) + 1), 6)
    1.0
    """
    eigenvalues, axes = spectrum.eigh(Moments.of(before).scatter)
    pairs = Pairs(before, after, np.zeros(len(before), dtype=int))
    ((whole, _),) = fits_with(pairs, eigenvalues, axes, 1)
    return whole.linearity


@dataclass(frozen=True, eq=False)
class Pairs:
    """Hidden states of the same tokens in two layers.

    Attributes
    ----------
    before, after : ndarray, shape (n_points, n_features), float32 or float64
    groups : ndarray of int, shape (n_points,)
        Group of every token, from 0 to n_groups - 1.
    """

    before: Points
    after: Points
    groups: Labels

    def of(self, chosen: Mask) -> "Pairs":
        """Return the pairs of the chosen tokens."""
        return Pairs(self.before[chosen], self.after[chosen], self.groups[chosen])


def fits_with(
    core: Pairs, eigenvalues: Floats, axes: Floats, n_groups: int, more: Sequence[Pairs] = ()
) -> list[tuple[Fit, list[Fit]]]:
    """Fit affine maps to a core of many points, with and without further points.

    Parameters
    ----------
    core : Pairs
    eigenvalues, axes : ndarray
        Eigenvalues and eigenvectors of the scatter matrix of `core.before`. If `more` is not empty,
        all eigenvalues must be positive.
    n_groups : int
    more : sequence of Pairs
        Sets of further points, each of which is added to the core separately.

    Returns
    -------
    list of (Fit, list of Fit)
        One entry for the core alone, and one for each set in `more` together with the core. Each
        entry contains the fit to all points, and for each group the fit without this group.

    Notes
    -----
    The replicates are computed by the formula for leaving out several cases (Cook and Weisberg
    1982, eq. 2.2.11). With orthonormal regressors U and residuals R, removing the rows of group g
    reduces Σ‖R‖² by ‖R_g‖² + ‖L⁻¹U_gᵀR_g‖², where LLᵀ = I - U_gᵀU_g. Adding rows U_m increases
    Σ‖R‖² by ‖(I + VᵀV)^-½ R_m‖², where V = L⁻¹U_mᵀ, and R_m are the residuals of the added rows
    under the fit without these rows. The increase is a sum of squares, so massive tokens cause no
    numerical cancellation.
    """
    basis = _Basis.of(core, eigenvalues, axes)
    dtype = core.before.dtype if basis.rank > FEW_FEATURES else np.dtype(np.float64)
    rows = [np.flatnonzero(core.groups == group) for group in range(n_groups)]
    cross = np.zeros((len(axes), core.after.shape[1]))
    for out in rows:
        cross += basis.centred(core.before[out]).T @ basis.targets(core.after[out])
    slope = basis.whitened @ (basis.whitened.T @ cross)
    further = [_Further.of(mask, basis, slope) for mask in more]
    rising = [[rest.sums(_Left.all(basis.rank + 1, len(cross[0])), -1)] for rest in further]
    leaving = []
    for group, out in enumerate(rows):
        centred, targets = basis.centred(core.before[out]), basis.targets(core.after[out])
        # Use the residuals. If a fit explains all variance, the difference of two sums of squares
        # would contain only rounding errors.
        missed = targets - centred @ slope
        left = _Left.without(basis.regressors(centred.astype(dtype)), missed.astype(dtype))
        if not left.spans and dtype != np.float64:
            # Float32 is not precise enough for this group.
            left = _Left.without(basis.regressors(centred), missed)
        leaving.append((_Sums.of(targets, _square(missed)), left.fallen))
        for rest, sums in zip(further, rising, strict=True):
            sums.append(rest.sums(left, group))
    every = reduce(_Sums.plus, (out for out, _ in leaving))
    # The points are centred on the core's mean, so the shift is zero up to rounding.
    whole = every._replace(shift=np.zeros_like(every.shift))
    cores = [whole, *(whole.without(*out) for out in leaving)]
    further_sums = [
        [core.plus(rest) for core, rest in zip(cores, sums, strict=True)] for sums in rising
    ]
    found = [[each.fit(basis.rank) for each in sums] for sums in (cores, *further_sums)]
    return [(of_all, without) for of_all, *without in found]


@dataclass(frozen=True, eq=False)
class _Basis:
    """Orthonormal regressors of the core: the whitened axes and a constant."""

    mean_before: Floats
    mean_after: Floats
    whitened: Floats
    constant: float

    @classmethod
    def of(cls, core: Pairs, eigenvalues: Floats, axes: Floats) -> "_Basis":
        spanned = eigenvalues > 0
        return cls(
            core.before.mean(axis=0, dtype=np.float64),
            core.after.mean(axis=0, dtype=np.float64),
            axes[:, spanned] / np.sqrt(eigenvalues[spanned]),
            len(core.before) ** -0.5,
        )

    @property
    def rank(self) -> int:
        return self.whitened.shape[1]

    def centred(self, before: Points) -> Floats:
        return before - self.mean_before

    def regressors(self, centred: Points) -> Points:
        """The regressors of some rows, in the dtype of these rows."""
        columns = np.full((len(centred), self.rank + 1), self.constant, centred.dtype)
        np.matmul(centred, self.whitened.astype(centred.dtype, copy=False), out=columns[:, :-1])
        return columns

    def targets(self, after: Points) -> Floats:
        return after - self.mean_after


class _Sums(NamedTuple):
    """Sums over tokens: Σ‖residual‖², Σ‖y‖² and Σy, where y is centred on the core's mean."""

    n_points: int
    residual: float
    square: float
    shift: Floats

    @classmethod
    def of(cls, targets: Floats, residual: float) -> "_Sums":
        return cls(len(targets), residual, _square(targets), targets.sum(axis=0))

    def plus(self, other: "_Sums") -> "_Sums":
        return _Sums(*map(add, self, other))

    def without(self, out: "_Sums", fallen: float) -> "_Sums":
        """Subtract the sums of some tokens, and subtract `fallen` from the remaining residual."""
        left = _Sums(*map(sub, self, out))
        return left._replace(residual=max(left.residual - fallen, 0.0))

    def fit(self, rank: int) -> Fit:
        total = self.square - float(self.shift @ self.shift) / max(self.n_points, 1)
        return Fit(self.n_points, rank, self.residual, total)


@dataclass(frozen=True, eq=False)
class _Left:
    """The core without some rows; U and R are the regressors and residuals of the removed rows.

    `root` is L in I - UᵀU = LLᵀ, and `solved` is L⁻¹UᵀR. Both are NaN if the remaining rows do not
    span the regressors.
    """

    root: Points
    solved: Points

    @classmethod
    def all(cls, n_regressors: int, width: int) -> "_Left":
        """The core if no rows are removed."""
        return cls(np.eye(n_regressors), np.zeros((n_regressors, width)))

    @classmethod
    def without(cls, regressors: Points, missed: Points) -> "_Left":
        matrix = np.eye(regressors.shape[1], dtype=regressors.dtype) - regressors.T @ regressors
        try:
            root = scipy.linalg.cholesky(matrix.T, lower=True, check_finite=False)
        except np.linalg.LinAlgError:
            root = np.zeros_like(matrix)
        if np.diag(root).min() ** 2 <= len(root) * np.finfo(root.dtype).eps:
            return cls(np.full_like(root, np.nan), np.full((1, 1), np.nan))
        along = regressors.T @ missed
        return cls(root, scipy.linalg.solve_triangular(root, along, lower=True, check_finite=False))

    @property
    def spans(self) -> bool:
        return not np.isnan(self.root[0, 0])

    @property
    def fallen(self) -> float:
        return _square(self.solved)


@dataclass(frozen=True, eq=False)
class _Further:
    """A few rows that are added to the core, in float64 because they may be massive tokens."""

    regressors: Points
    targets: Floats
    missed: Floats
    groups: Labels

    @classmethod
    def of(cls, pairs: Pairs, basis: _Basis, slope: Floats) -> "_Further":
        centred, targets = basis.centred(pairs.before), basis.targets(pairs.after)
        return cls(basis.regressors(centred), targets, targets - centred @ slope, pairs.groups)

    def sums(self, left: _Left, group: int) -> _Sums:
        """Return the amounts by which the added rows increase the sums of the core.

        The core and the added rows are taken without the rows of the group.
        """
        kept, nothing = self.groups != group, float("nan")
        if not left.spans:
            return _Sums.of(self.targets[kept], nothing)
        root = left.root.astype(np.float64, copy=False)
        along = scipy.linalg.solve_triangular(
            root, self.regressors[kept].T, lower=True, check_finite=False
        )
        missed = self.missed[kept] + along.T @ left.solved
        root = scipy.linalg.cholesky(np.eye(len(missed)) + along.T @ along, lower=True)
        return _Sums.of(
            self.targets[kept], _square(scipy.linalg.solve_triangular(root, missed, lower=True))
        )


def _square(matrix: Points) -> float:
    """Sum of squares, in float64."""
    return float(np.einsum("ij,ij->", matrix, matrix, dtype=np.float64))
