"""Prepare the input of cloud metrics: a cloud, and its jackknife replicates.

Quantities that several metrics need are computed only once for the whole cloud, and once for each
replicate. A `Cloud` contains these quantities. Metrics are functions of a `Cloud`, so their
replicates cost almost nothing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import numpy as np
from scipy import linalg

from shapesweep.estimators import spectrum
from shapesweep.estimators.arrays import Floats, Labels, Mask, Points
from shapesweep.estimators.moments import Moments, blocks, norms
from shapesweep.estimators.spacing import Spacing

#: Number of leading axes of the whole cloud. The leading eigenvalues of replicates are computed
#: within the span of these axes.
N_AXES = 128
#: How many of the largest activations of each token are kept.
N_LARGEST = 3


@dataclass(frozen=True)
class Cloud:
    """Point cloud of the tokens of a selection, possibly without a group of documents.

    Attributes
    ----------
    whole : ndarray, shape (n_whole, n_features), float32 or float64
        All points of the selection.
    kept : ndarray of bool, shape (n_whole,)
        Mask of the points that belong to this cloud.
    eigenvalues : ndarray, shape (n_features,), float64
        Eigenvalues of the scatter matrix Σ(x - mean)(x - mean)ᵀ, ascending. They equal the squared
        singular values of the centred points. If a group of documents is left out, the eigenvalues
        are correct to first order; see `clouds`.
    uncentred : callable
        Computes `eigenvalues_uncentred` on demand.
    fourth : float
        Σ ‖x - mean‖⁴.
    direction_sum : ndarray, shape (n_features,), float64
        Sum of x/‖x‖ over all points x whose norm is not zero.
    n_directions : int
        Number of points whose norm is not zero.
    norms : ndarray, shape (n_points,), float64
        Norms of the uncentred points.
    largest : ndarray, shape (n_points, 3)
        The largest absolute activations of every point, descending.
    massive : ndarray of bool, shape (n_points,)
        Mask of the points whose norm exceeds five times the median norm of the layer.
    first : ndarray of bool, shape (n_points,)
        Mask of the first tokens of documents, and of special tokens.
    massive_gap : float
        ‖mean of the massive points - mean of the other points‖²; 0 if there are no massive points,
        or no other points.
    noise_floor : float
        The largest eigenvalue that rounding errors of the points can cause.
    find_axis : callable
        Computes the leading axis on demand; its accuracy is that of `eigenvalues`.
    """

    whole: Points
    kept: Mask
    eigenvalues: Floats
    uncentred: Callable[[], Floats]
    fourth: float
    direction_sum: Floats
    n_directions: int
    norms: Floats
    largest: Points
    massive: Mask
    first: Mask
    massive_gap: float
    noise_floor: float
    find_axis: Callable[[], Floats]

    @cached_property
    def eigenvalues_uncentred(self) -> Floats:
        """Eigenvalues of Σxxᵀ, ascending, shape (n_features,)."""
        return self.uncentred()

    @cached_property
    def along_leading_axis(self) -> Floats:
        """Centred coordinates of the points on the leading axis, shape (n_points,), float64."""
        axis = self.find_axis()
        parts = [self.whole[rows].astype(np.float64) @ axis for rows in blocks(len(self.whole))]
        coordinates = np.concatenate(parts)[self.kept]
        return coordinates - coordinates.mean()

    @cached_property
    def leading_shares(self) -> dict[str, float]:
        """Shares of three groups of tokens in the variance along the leading axis.

        The groups are the first tokens, all other massive tokens, and the bulk of the tokens. The
        shares add up to 1; they are NaN if there is no variance.
        """
        squares = self.along_leading_axis**2
        massive = self.massive & ~self.first
        masks = {"first": self.first, "massive": massive, "bulk": ~(self.first | massive)}
        total = squares.sum()
        return {
            group: float(squares[mask].sum() / total) if total > 0 else float("nan")
            for group, mask in masks.items()
        }

    @property
    def n_points(self) -> int:
        """Number of points."""
        return int(self.kept.sum())

    @property
    def points(self) -> Floats:
        """The points of this cloud, shape (n_points, n_features), float64."""
        return self.whole[self.kept].astype(np.float64)


def clouds(
    points: Points,
    groups: Labels,
    n_groups: int,
    massive: Mask | None = None,
    first: Mask | None = None,
    spacing: Spacing | None = None,
    moments: Moments | None = None,
) -> tuple[Cloud, Floats, Iterator[Cloud]]:
    """Return a cloud and its jackknife replicates, each of which lacks one group of points.

    Parameters
    ----------
    points : ndarray, shape (n_points, n_features)
    groups : ndarray of int, shape (n_points,)
        Group of every point, from 0 to n_groups - 1.
    n_groups : int
    massive, first : ndarray of bool, shape (n_points,), optional
        Masks of the massive tokens and of the first tokens.
    spacing : Spacing, optional
        Spacing of the points' values; by default found from the points.
    moments : Moments, optional
        Moments of the points, if they are known.

    Returns
    -------
    whole : Cloud
    axes : ndarray, shape (n_features, n_features), float64
        Eigenvectors of the scatter matrix, one per column, in the order of the eigenvalues.
    without : iterator of Cloud
        One cloud per group. The leading eigenvalues are computed within the span of the `N_AXES`
        leading axes of the whole cloud (Rayleigh-Ritz). All other eigenvalues are computed along
        the remaining axes. The error of the eigenvalues is of second order in the change of the
        scatter matrix. The scatter matrices of the replicates are not computed. With more features
        than `N_AXES`, error bars are too wide if the leading eigenvalues lie close together. Error
        bars for entropies of a flat spectrum are too narrow: by a third if there are three times as
        many points as features, and by much more if there are fewer points than features.
    """
    nothing = np.zeros(len(points), dtype=bool)
    massive = nothing if massive is None else massive
    first = nothing if first is None else first
    moments = moments or Moments.of(points)
    eigenvalues, axes = spectrum.eigh(moments.scatter)

    @cache
    def uncentred() -> tuple[Floats, Floats]:
        return spectrum.eigh(moments.second_moment)

    massive_total = points[massive].sum(axis=0, dtype=np.float64)
    n_massive = int(massive.sum())
    whole = Cloud(
        points,
        np.ones(len(points), dtype=bool),
        eigenvalues,
        lambda: uncentred()[0],
        moments.fourth,
        moments.direction_sum,
        moments.n_directions,
        norms(points),
        _largest(points),
        massive,
        first,
        _gap(massive_total, moments.mean * len(points), n_massive, len(points)),
        spectrum.noise_floor(points, spacing),
        lambda: axes[:, -1],
    )

    def without() -> Iterator[Cloud]:
        every = axes, lambda: uncentred()[1]
        for group in range(n_groups):
            yield _without(whole, moments, every, groups == group, massive_total)

    return whole, axes, without()


def _without(
    whole: Cloud,
    moments: Moments,
    axes: tuple[Floats, Callable[[], Floats]],
    out: Mask,
    massive_total: Floats,
) -> Cloud:
    """Return the cloud without some points; `massive_total` is the sum of all massive points."""
    leaving, kept = whole.whole[out].astype(np.float64), ~out
    n_left, dtype = max(len(out) - len(leaving), 1), whole.whole.dtype
    centred = leaving - moments.mean
    # Coordinates on the axes: a row for each omitted point, and one for the shift of the mean.
    moved = np.empty((len(leaving) + 1, len(axes[0])))
    along = _along(centred, axes[0], dtype, out=moved[:-1])
    shift = -along.sum(axis=0) / n_left
    moved[-1] = np.sqrt(n_left) * shift
    mean = moments.mean + axes[0] @ shift
    # ‖x - mean‖² of each omitted point x, where the mean is that of the remaining points.
    squares = np.einsum("ij,ij->i", along, along) - 2 * (along @ shift) + shift @ shift
    lengths = whole.norms[out]
    inverse = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    massive_left = massive_total - leaving[whole.massive[out]].sum(axis=0)
    return replace(
        whole,
        kept=kept,
        eigenvalues=_smaller(whole.eigenvalues, moved),
        uncentred=lambda: _smaller(whole.eigenvalues_uncentred, _along(leaving, axes[1](), dtype)),
        fourth=max(moments.fourth_about(mean) - float(squares @ squares), 0.0),
        direction_sum=whole.direction_sum - inverse @ leaving,
        n_directions=whole.n_directions - int((lengths > 0).sum()),
        norms=whole.norms[kept],
        largest=whole.largest[kept],
        massive=whole.massive[kept],
        first=whole.first[kept],
        find_axis=lambda: axes[0][:, -N_AXES:] @ _leading(whole.eigenvalues, moved),
        massive_gap=_gap(massive_left, mean * n_left, int(whole.massive[kept].sum()), n_left),
    )


def _along(points: Floats, axes: Floats, dtype: np.dtype[Any], out: Floats | None = None) -> Floats:
    """Compute coordinates in float64 along the leading axes, and in `dtype` along all other axes.

    Only error bars depend on these coordinates. Float32 is precise enough for error bars, except
    along a leading axis that vanishes when a group is left out.
    """
    out = np.empty((len(points), axes.shape[1])) if out is None else out
    out[:, :-N_AXES] = points.astype(dtype) @ axes[:, :-N_AXES].astype(dtype)
    out[:, -N_AXES:] = points @ axes[:, -N_AXES:]
    return out


def _leading(eigenvalues: Floats, leaving: Floats) -> Floats:
    """Leading eigenvector of Σxxᵀ after rows are removed, in the span of the leading axes."""
    leading = leaving[:, -N_AXES:]
    block, last = np.diag(eigenvalues[-N_AXES:]) - leading.T @ leading, leading.shape[1] - 1
    axis: Floats = linalg.eigh(block, subset_by_index=[last, last], check_finite=False)[1][:, 0]
    return axis


def _smaller(eigenvalues: Floats, leaving: Floats) -> Floats:
    """Eigenvalues of Σxxᵀ after rows are removed; `leaving` contains their coordinates."""
    leading = leaving[:, -N_AXES:]
    block = np.diag(eigenvalues[-N_AXES:]) - leading.T @ leading
    rest = leaving[:, :-N_AXES]
    others = eigenvalues[:-N_AXES] - np.einsum("ij,ij->j", rest, rest)
    updated = np.sort(np.concatenate([np.linalg.eigvalsh(block), others]))
    return np.maximum(updated, 0.0)


def _gap(massive_total: Floats, total: Floats, n_massive: int, n_points: int) -> float:
    """‖mean of the massive points - mean of the other points‖²."""
    if not 0 < n_massive < n_points:
        return 0.0
    delta = massive_total / n_massive - (total - massive_total) / (n_points - n_massive)
    return float(delta @ delta)


def _largest(points: Points) -> Points:
    """The largest absolute values of every point, descending."""
    n_largest = min(N_LARGEST, points.shape[1])
    largest = np.empty((len(points), n_largest), points.dtype)
    for rows in blocks(len(points)):
        magnitudes = np.abs(points[rows])
        top = np.partition(magnitudes, -n_largest, axis=1)[:, -n_largest:]
        largest[rows] = np.sort(top, axis=1)[:, ::-1]
    return largest
