"""Measure the shape of profiles over depth: height, position and width of the inner peak."""

from dataclasses import dataclass

import numpy as np

from shapesweep.estimators.arrays import Floats, Ints


@dataclass(frozen=True, eq=False)
class Rise:
    """Height, position and width of the inner peaks of profiles, with one value per profile.

    Attributes
    ----------
    height : ndarray of float64
        Highest value of an inner layer minus the higher of the two end values; negative if an end
        has the highest value.
    left, right : ndarray of float64
        Depths, on either side of the peak, at which a profile crosses half of its height; NaN if
        the height is not positive.
    centre : ndarray of float64
        Midpoint of `left` and `right`.
    plateau : ndarray of float64
        Width at nine tenths of the height divided by the width at half height: 1 for a box, 0.45
        for a parabola, 0.2 for a triangle.
    span : ndarray of float64
        Highest minus lowest value.
    """

    height: Floats
    left: Floats
    right: Floats
    centre: Floats
    plateau: Floats
    span: Floats


def rise(values: Floats, depths: Floats) -> Rise:
    """Measure how profiles rise at inner layers.

    Parameters
    ----------
    values : ndarray of float64, shape (..., n_layers + 1)
        Values from the embedding to the last hidden state.
    depths : ndarray of float64, shape (n_layers + 1,), increasing

    Returns
    -------
    Rise
        NaN for profiles with a NaN, and for profiles without inner layers.
    """
    shape = values.shape[:-1]
    nothing = np.full(shape, np.nan)
    if values.shape[-1] < 3:
        return Rise(*[nothing] * 6)
    flat = values.reshape(-1, values.shape[-1])
    base = np.maximum(flat[:, 0], flat[:, -1])
    top = 1 + np.nan_to_num(flat[:, 1:-1], nan=-np.inf).argmax(axis=1)
    height = flat[np.arange(len(flat)), top] - base
    height[np.isnan(flat).any(axis=1)] = np.nan
    left, right = _edges(flat, depths, top, base, height, 0.5)
    inner_left, inner_right = _edges(flat, depths, top, base, height, 0.9)
    with np.errstate(invalid="ignore"):
        # A peak that is too narrow for its edges has no plateau.
        plateau = (inner_right - inner_left) / (right - left)
    values_of_shape = [
        height,
        left,
        right,
        (left + right) / 2,
        plateau,
        np.where(np.isnan(height), np.nan, flat.max(axis=1) - flat.min(axis=1)),
    ]
    return Rise(*(value.reshape(shape) for value in values_of_shape))


def _edges(
    values: Floats, depths: Floats, top: Ints, base: Floats, height: Floats, share: float
) -> tuple[Floats, Floats]:
    """Depths, on either side of the peak, at which the profile crosses a share of its height."""
    level = base + share * height
    layers = np.arange(values.shape[1])
    low = values < level[:, None]
    # On each side of the peak, find the nearest layer whose value is below the level. If the height
    # is positive, both ends of the profile are below the level.
    before = np.where(low & (layers < top[:, None]), layers, -1).max(axis=1)
    behind = np.where(low & (layers > top[:, None]), layers, len(layers)).min(axis=1)
    risen = (height > 0) & (before >= 0) & (behind < len(layers))
    before, behind = np.where(risen, before, 0), np.where(risen, behind, len(layers) - 1)
    left = _crossing(values, depths, before, before + 1, level)
    right = _crossing(values, depths, behind, behind - 1, level)
    return np.where(risen, left, np.nan), np.where(risen, right, np.nan)


def _crossing(values: Floats, depths: Floats, outer: Ints, inner: Ints, level: Floats) -> Floats:
    """Depth at which the line between two layers crosses a level."""
    rows = np.arange(len(values))
    below, above = values[rows, outer], values[rows, inner]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (level - below) / (above - below)
    return depths[outer] + share * (depths[inner] - depths[outer])
