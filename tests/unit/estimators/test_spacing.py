"""The precision of numbers is found from their values, in any dtype."""

import itertools

import numpy as np
import pytest
import torch

from shapesweep.estimators.spacing import Spacing


@pytest.fixture
def plane():
    rng = np.random.default_rng(0)
    return rng.standard_normal((1000, 3)) @ rng.standard_normal((3, 24))


def as_floats(points, bits):
    """Round to floats with some significant bits."""
    fractions, exponents = np.frexp(points)
    return np.ldexp(np.rint(fractions * 2.0**bits), exponents - bits)


def in_torch(points, dtype):
    return torch.from_numpy(points).to(dtype).double().numpy()


# Far from zero, most features of floats with 3 or 4 bits would have only two values.
@pytest.mark.parametrize(
    ("bits", "mean"), [(3, 0), (4, 0), *itertools.product([8, 11, 24], [0, 100])]
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_with_few_bits(plane, bits, mean, dtype):
    rng = np.random.default_rng(1)
    points = as_floats(plane + mean * rng.standard_normal(24), bits).astype(dtype)
    np.testing.assert_array_equal(Spacing.of(points).relative, 2.0 ** (1 - bits))


def test_dtypes_of_torch(plane):
    for dtype in (torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float8_e5m2):
        found = Spacing.of(in_torch(plane, dtype))
        np.testing.assert_array_equal(found.relative, torch.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_full_precision_is_that_of_the_dtype(plane, dtype):
    rng = np.random.default_rng(1)
    hot = np.eye(8)[rng.integers(8, size=1000)]
    kept = rng.random(plane.shape) < 0.05
    clouds = {
        "many zeros": np.maximum(plane, 0),
        "few nonzero values": np.where(kept, plane, 0),
        "constant features": np.hstack([plane, np.full((1000, 2), 0.1)]),
        "cone": plane + 1e3,
        "heavy tails": np.exp(3 * plane),
        "two points": plane[:2],
        "one feature": plane[:, :1],
        "small": plane * 1e-30,
    }
    for name, points in clouds.items():
        found = Spacing.of(points.astype(dtype))
        assert (found.relative == np.finfo(dtype).eps).all(), name
        assert not found.step.any(), name
        assert not found.step_of_points.any(), name
    # Only the features with categories lie on a grid.
    found = Spacing.of(np.hstack([plane, hot]).astype(dtype))
    np.testing.assert_array_equal(found.step, [0] * 24 + [1] * 8)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_steps_of_grids(plane, dtype):
    whole = np.clip(np.rint(plane * 16), -128, 127)
    scales = np.linspace(0.5, 2, 24)
    grids = {
        "integers": (whole, 1),
        "thirds": (whole / 3, 1 / 3),
        "decimals": (plane.round(2), 0.01),
        "hundreds": ((plane * 1000).round(-2), 100),
        "scale and offset": (0.037 * whole + 1.37, 0.037),
        "one scale for each feature": (whole * scales + scales**2, scales),
        "standardised": ((whole - whole.mean(0)) / whole.std(0), 1 / whole.std(0)),
        "clipped beside the grid": (np.clip(0.11 * whole, 0, 6), 0.11),
        "two values": (np.sign(plane), 2),
    }
    for name, (points, step) in grids.items():
        found = Spacing.of(points.astype(dtype)).step
        # In float32, a gap of one step has an error of up to 1 % in the coarsest of these grids.
        np.testing.assert_allclose(found, np.broadcast_to(step, 24), rtol=0.01, err_msg=name)


def test_grid_of_each_point(plane):
    largest = np.abs(plane).max(axis=1, keepdims=True)
    quantised = np.rint(plane / largest * 127) * largest / 127
    found = Spacing.of(quantised.astype(np.float32))
    np.testing.assert_allclose(found.step_of_points, largest[:, 0] / 127, rtol=0.01)


def test_points_of_different_precision(plane):
    mixed = plane.astype(np.float32)
    mixed[::2] = in_torch(plane[::2], torch.bfloat16)
    found = Spacing.of(mixed)
    np.testing.assert_array_equal(found.relative_of_points[::2], 2.0**-7)
    np.testing.assert_array_equal(found.relative_of_points[1::2], 2.0**-23)


def test_a_few_stray_values_do_not_hide_the_precision(plane):
    coarse = in_torch(plane, torch.bfloat16)
    coarse[3] = plane[3]
    np.testing.assert_array_equal(Spacing.of(coarse).relative, 2.0**-7)
    grid = np.rint(plane * 16) * 0.037 + 1.37
    grid[3] = 0
    np.testing.assert_allclose(Spacing.of(grid).step, 0.037, rtol=1e-9)


def test_smallest_floats_lie_on_a_grid(plane):
    points = (plane * 1e-42).astype(np.float32)
    np.testing.assert_array_equal(Spacing.of(points).step, 2.0**-149)


def test_limits_use_the_coarser_spacing():
    spacing = Spacing(np.array([0.5, 0.25]), np.array([0.0, 3.0]), np.array([0, 1]), np.zeros(2))
    points = np.array([[-4.0, 0.0], [2.0, 8.0]])
    np.testing.assert_array_equal(spacing.limits(points, 2, 1), [[4, 3], [4, 16]])
    norms = np.linalg.norm(spacing.limits(points, 2, 1), axis=1)
    assert (spacing.bounds(points, 2, 1) >= norms).all()
