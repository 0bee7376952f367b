"""The merged moments of the parts of a cloud equal the moments of the whole cloud."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shapesweep
from shapesweep.estimators import moments
from shapesweep.estimators.moments import Moments


def assert_equal(first, second, scale):
    """Check that two moments are equal, up to float64 rounding of the largest term in each sum."""
    assert first.n_points == second.n_points
    assert first.n_directions == second.n_directions
    for power, name in enumerate(("mean", "scatter", "cubes", "fourth"), start=1):
        size = first.n_points * scale**power
        np.testing.assert_allclose(getattr(first, name), getattr(second, name), atol=1e-11 * size)
    np.testing.assert_allclose(first.direction_sum, second.direction_sum, atol=1e-9)


@settings(max_examples=50, deadline=None)
@given(cuts=st.lists(st.integers(0, 300), max_size=5), offset=st.sampled_from([0, 1, 300]))
def test_moments_do_not_depend_on_the_split_into_shards(cuts, offset):
    points = np.random.default_rng(0).standard_normal((300, 7)) + offset
    points[17] = 0
    parts = [Moments.of(part) for part in np.split(points, sorted(cuts))]
    for order in (parts, parts[::-1]):
        assert_equal(Moments.merged(order), Moments.of(points), offset + 3)


def test_moments_match_their_definitions():
    points = np.random.default_rng(1).standard_normal((50, 4)) + 2
    found, y = Moments.of(points), points - points.mean(axis=0)
    squares = (y**2).sum(axis=1)
    np.testing.assert_allclose(found.scatter, y.T @ y, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.second_moment, points.T @ points, rtol=1e-12)
    np.testing.assert_allclose(found.cubes, squares @ y, rtol=1e-10, atol=1e-10)
    assert found.fourth == pytest.approx((squares**2).sum(), rel=1e-12)
    away = found.fourth_about(np.ones(4))
    assert away == pytest.approx((((points - 1) ** 2).sum(axis=1) ** 2).sum(), rel=1e-12)


def test_size_of_a_block_does_not_change_the_moments(monkeypatch):
    points = np.random.default_rng(2).standard_normal((500, 6)) + 300
    whole = Moments.of(points)
    monkeypatch.setattr(moments, "BLOCK", 6 * 33)
    assert_equal(Moments.of(points), whole, 303)


def test_merged_shards_have_the_spectrum_of_all_points():
    # The mean of the anisotropies of the parts differs from the anisotropy of all points.
    rng = np.random.default_rng(3)
    parts = [rng.standard_normal((200, 9)) + 5 * rng.standard_normal(9) for _ in range(4)]
    merged = Moments.merged(map(Moments.of, parts))
    share = np.linalg.eigvalsh(merged.scatter)
    expected = shapesweep.anisotropy(np.concatenate(parts))
    assert share[-1] / share.sum() == pytest.approx(expected, rel=1e-12)
    assert np.mean([shapesweep.anisotropy(part) for part in parts]) < 0.5 * expected
