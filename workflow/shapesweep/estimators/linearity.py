"""How far one layer is a linear map of the one before: a least squares fit and its replicates."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from shapesweep.estimators import spectrum
from shapesweep.estimators.moments import Moments


@dataclass(frozen=True)
class Fit:
    """The best affine map from one layer's tokens to the next one's, or that without a group.

    Attributes
    ----------
    n_points, n_features : int
        Tokens, and the axes that those of the layer before span: of a spread that float64 can
        tell from none beside the largest, some 1e-8 of it.
    residual, total : float
        Σ‖y - fit‖² and Σ‖y - mean‖² over the tokens y of the layer behind.
    """

    n_points: int
    n_features: int
    residual: float
    total: float

    @property
    def linearity(self) -> float:
        """1 - residual/total; NaN with no more tokens than coefficients, or without variance."""
        if self.n_points <= self.n_features + 1 or not self.total > 0:
            return float("nan")
        return 1 - self.residual / self.total


def linearity(before: NDArray[np.floating], after: NDArray[np.floating]) -> float:
    """Share of a layer's variance that an affine map of the layer before explains.

    Razzhigaev et al. 2024, "Your Transformer is Secretly Linear": 1 - min_A ‖XA - Y‖² over both
    clouds centred, Y of norm one (least squares over the same tokens: it knows them, and reads
    n_features/n_points too high where nothing is explained).

    Parameters
    ----------
    before, after : ndarray, shape (n_points, n_features)
        The same tokens in two layers.

    Returns
    -------
    float
        At most 1; NaN with no more points than n_features + 1.

    Examples
    --------
    >>> import numpy as np, shapesweep
    >>> x = np.random.default_rng(0).standard_normal((100, 3))
    >>> round(shapesweep.linearity(x, x @ np.ones((3, 2)) + 1), 6)
    1.0
    """
    eigenvalues, axes = spectrum.eigh(Moments.of(before).scatter)
    whole, _ = fits(before, after, eigenvalues, axes, np.zeros(len(before), dtype=int), 1)
    return whole.linearity


def fits(
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    eigenvalues: NDArray[np.float64],
    axes: NDArray[np.float64],
    groups: NDArray[np.integer],
    n_groups: int,
) -> tuple[Fit, Iterator[Fit]]:
    """The fit, and the fit without each group of points, exactly.

    Parameters
    ----------
    before, after : ndarray, shape (n_points, n_features)
    eigenvalues, axes : ndarray
        Of the scatter matrix of `before`.
    groups : ndarray of int, shape (n_points,)
        In 0 … n_groups - 1.
    n_groups : int

    Returns
    -------
    whole : Fit
    without : iterator of Fit
        By the formula for several left-out cases (Cook and Weisberg 1982, eq. 2.2.11): with
        orthonormal regressors U and residuals R, Σ‖R‖² falls by
        ‖R_g‖² + ‖(I - U_gᵀU_g)^-½ U_gᵀR_g‖² when the rows of group g leave.
    """
    spanned = eigenvalues > 0
    whitened = axes[:, spanned] / np.sqrt(eigenvalues[spanned])
    mean_before = before.mean(axis=0, dtype=np.float64)
    mean_after = after.mean(axis=0, dtype=np.float64)
    n_points, rank = len(before), int(spanned.sum())

    def rows(out: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Orthonormal regressors, that of the mean among them, and centred targets."""
        regressors = np.full((int(out.sum()), rank + 1), n_points**-0.5)
        regressors[:, :-1] = (before[out] - mean_before) @ whitened
        return regressors, after[out] - mean_after

    coefficients = np.zeros((rank + 1, after.shape[1]))
    total = 0.0
    for group in range(n_groups):
        regressors, targets = rows(groups == group)
        coefficients += regressors.T @ targets
        total += float(np.einsum("ij,ij->", targets, targets))
    # By the residuals themselves: of a fit that explains all, the difference of two sums would be
    # but rounding.
    parts = []
    for group in range(n_groups):
        regressors, targets = rows(groups == group)
        missed = targets - regressors @ coefficients
        hat, along = regressors.T @ regressors, regressors.T @ missed
        own = float(np.einsum("ij,ij->", missed, missed))
        mean_shift = targets.sum(axis=0)
        left = total - float(np.einsum("ij,ij->", targets, targets))
        n_left = max(n_points - len(targets), 1)
        left -= float(mean_shift @ mean_shift) / n_left
        parts.append((n_left, own, _fallen(hat, along), left))
    residual = sum(part[1] for part in parts)

    def without() -> Iterator[Fit]:
        for n_left, own, fallen, left in parts:
            yield Fit(n_left, rank, max(residual - own - fallen, 0.0), left)

    return Fit(n_points, rank, residual, total), without()


def _fallen(hat: NDArray[np.float64], along: NDArray[np.float64]) -> float:
    """‖(I - hat)^-½ along‖²; NaN where the rows that are left do not span the regressors."""
    try:
        root = np.linalg.cholesky(np.eye(len(hat)) - hat)
    except np.linalg.LinAlgError:
        return float("nan")
    solved = scipy.linalg.solve_triangular(root, along, lower=True)
    return float(np.einsum("ij,ij->", solved, solved))
