"""Spectral shape: what the paper defines, and the replicates of its error."""

import numpy as np
import pytest

from shapesweep.estimators import jackknife, spectrum
from shapesweep.estimators.cloud import clouds


@pytest.fixture
def points():
    rng = np.random.default_rng(0)
    return rng.standard_normal((640, 24)) * np.linspace(3, 0.5, 24) + 5


def test_anisotropy_is_the_leading_share_of_squared_singular_values(points):
    sigma = np.linalg.svd(points - points.mean(0), compute_uv=False)
    # Two float64 ways to one spectrum of condition 36.
    assert spectrum.anisotropy(points) == pytest.approx(sigma[0] ** 2 / (sigma**2).sum(), rel=1e-12)


def test_anisotropy_does_not_see_offset_scale_or_order(points):
    value = spectrum.anisotropy(points)
    assert spectrum.anisotropy(points + 300) == pytest.approx(value, rel=1e-9)
    assert spectrum.anisotropy(points * 1e-4) == pytest.approx(value, rel=1e-9)
    assert spectrum.anisotropy(points[::-1]) == pytest.approx(value, rel=1e-9)


def test_a_line_and_a_point():
    assert spectrum.anisotropy(np.outer(np.arange(5), [1, 2, 3])) == pytest.approx(1)
    assert np.isnan(spectrum.anisotropy(np.ones((5, 3))))


def test_mean_cosine_of_all_pairs(points):
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    cosines = (unit @ unit.T)[~np.eye(len(unit), dtype=bool)]
    assert spectrum.mean_cosine(points) == pytest.approx(cosines.mean(), rel=1e-9)


def anisotropy_without(points, groups, n_groups):
    *_, parts = clouds(points, groups, n_groups)
    return [spectrum.leading_share(part.eigenvalues) for part in parts]


def test_error_bars_are_not_too_narrow_where_no_axis_leads():
    # The worst case for replicates on fixed axes: documents with isotropic means. The error bar may
    # come out wider, and by less than a quarter; never narrower by more than a tenth.
    rng = np.random.default_rng(0)
    document = np.repeat(np.arange(64), 32)
    points = rng.standard_normal((64, 128))[document] + rng.standard_normal((2048, 128))
    groups = jackknife.assign_groups(document)
    made = jackknife.stderr(anisotropy_without(points, groups, 16))
    exact = jackknife.stderr([spectrum.anisotropy(points[groups != g]) for g in range(16)])
    assert 0.9 < made / exact < 1.25


def test_replicates_equal_refits(points):
    groups = np.arange(len(points)) // 40
    *_, parts = clouds(points, groups, 16)
    parts = list(parts)
    made = [spectrum.leading_share(part.eigenvalues) for part in parts]
    refits = [spectrum.anisotropy(points[groups != g]) for g in range(16)]
    # Rayleigh-Ritz on the full sample's axes errs to second order: a sixteenth left out moves
    # the axes by some (1/16)·noise, so 1e-3 of the value and less of the error bar.
    np.testing.assert_allclose(made, refits, rtol=1e-3)
    assert np.std(np.subtract(made, refits)) < 0.1 * np.std(refits)
    cosines = [
        spectrum.mean_of_pairs(part.direction_sum, part.n_directions, part.n_points)
        for part in parts
    ]
    again = [spectrum.mean_cosine(points[groups != g]) for g in range(16)]
    np.testing.assert_allclose(cosines, again, rtol=1e-9)


def test_replicates_have_a_whole_spectrum():
    # Wider than the axes that carry the leading eigenvalues: the rest is told along its own axes.
    rng = np.random.default_rng(0)
    points = rng.standard_normal((960, 96)) * np.linspace(3, 0.1, 96)
    groups = np.arange(960) % 16
    for group, part in enumerate(clouds(points, groups, 16)[2]):
        np.testing.assert_array_equal(part.points, points[groups != group])
        exact = np.linalg.svd(part.points - part.points.mean(0), compute_uv=False)[::-1] ** 2
        # The trace is exact whatever the axes; a sum of squares errs to second order, as above.
        np.testing.assert_allclose(part.eigenvalues.sum(), exact.sum(), rtol=1e-12)
        np.testing.assert_allclose((part.eigenvalues**2).sum(), (exact**2).sum(), rtol=2e-3)
