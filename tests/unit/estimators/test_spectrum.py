"""Numbers of the spectrum match their definitions. Replicates have the right spread."""

import numpy as np
import pytest

from shapesweep.estimators import dimension, jackknife, spectrum
from shapesweep.estimators.cloud import clouds
from shapesweep.estimators.moments import Moments
from shapesweep.metrics import ALL_METRICS
from shapesweep.neighbors import nearest_neighbors


@pytest.fixture
def points():
    rng = np.random.default_rng(0)
    return rng.standard_normal((640, 24)) * np.linspace(3, 0.5, 24) + 5


def test_anisotropy_is_the_leading_share_of_squared_singular_values(points):
    sigma = np.linalg.svd(points - points.mean(0), compute_uv=False)
    # The tolerance allows for rounding in float64 at a condition number of 36.
    assert spectrum.anisotropy(points) == pytest.approx(sigma[0] ** 2 / (sigma**2).sum(), rel=1e-12)


def test_anisotropy_does_not_depend_on_offset_scale_or_order(points):
    for same in (points + 300, points * 1e-4, points[::-1]):
        assert spectrum.anisotropy(same) == pytest.approx(spectrum.anisotropy(points), rel=1e-9)


def test_anisotropy_of_a_line_is_one_and_of_a_point_is_nan():
    assert spectrum.anisotropy(np.outer(np.arange(5), [1, 2, 3])) == pytest.approx(1)
    assert np.isnan(spectrum.anisotropy(np.ones((5, 3))))


def test_mean_cosine_of_all_pairs(points):
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    cosines = (unit @ unit.T)[~np.eye(len(unit), dtype=bool)]
    assert spectrum.mean_cosine(points) == pytest.approx(cosines.mean(), rel=1e-9)


def without_groups(points, groups, number):
    """Return a metric of each of 16 replicates, and of each of 16 clouds without one group."""
    *_, parts = clouds(points, groups, 16)
    refits = [number(clouds(points[groups != g], groups[groups != g], 16)[0]) for g in range(16)]
    return [number(part) for part in parts], refits


def test_error_bars_are_not_too_narrow_without_a_leading_axis():
    # Documents with isotropic means are the worst case for replicates on fixed axes. The error bar
    # may be up to a quarter too wide, and at most a tenth too narrow.
    rng = np.random.default_rng(0)
    document = np.repeat(np.arange(64), 32)
    points = rng.standard_normal((64, 128))[document] + rng.standard_normal((2048, 128))
    groups = jackknife.assign_groups(document)
    replicates, refits = without_groups(points, groups, ALL_METRICS["anisotropy"].compute)
    assert 0.9 < jackknife.stderr(replicates) / jackknife.stderr(refits) < 1.25


@pytest.mark.parametrize(
    ("name", "rtol"),
    [
        # Replicates use the Rayleigh-Ritz method on the axes of the full sample. The error of this
        # method is of second order in the change of the axes. If a sixteenth of the points is left
        # out, the axes move only slightly, and the value changes by about 1e-3. The last assertion
        # limits the effect of this change on the error bar.
        *[(name, 1e-3) for name in ("anisotropy", "participation_ratio", "effective_rank")],
        *[(name, 1e-3) for name in ("rankme", "stable_rank", "isoscore")],
        *[(name, 1e-6) for name in ("anisotropy_uncentred", "matrix_entropy")],
        ("mean_cosine", 1e-9),
    ],
)
def test_replicates_equal_refits(points, name, rtol):
    groups = np.arange(len(points)) // 40
    replicates, refits = without_groups(points, groups, ALL_METRICS[name].compute)
    np.testing.assert_allclose(replicates, refits, rtol=rtol)
    assert np.std(np.subtract(replicates, refits)) < 0.1 * np.std(refits)


def test_replicates_have_a_complete_spectrum():
    # The cloud has more features than leading axes. The leading eigenvalues are computed along the
    # leading axes, and all other eigenvalues along the remaining axes.
    rng = np.random.default_rng(0)
    points = rng.standard_normal((960, 96)) * np.linspace(3, 0.1, 96)
    groups = np.arange(960) % 16
    for group, part in enumerate(clouds(points, groups, 16)[2]):
        np.testing.assert_array_equal(part.points, points[groups != group])
        exact = np.linalg.svd(part.points - part.points.mean(0), compute_uv=False)[::-1] ** 2
        # The trace is exact for any choice of axes. The sum of squared eigenvalues has an error of
        # second order in the change of the axes.
        np.testing.assert_allclose(part.eigenvalues.sum(), exact.sum(), rtol=1e-12)
        np.testing.assert_allclose((part.eigenvalues**2).sum(), (exact**2).sum(), rtol=2e-3)


@pytest.mark.parametrize(("rank", "n_features"), [(1, 10), (4, 10), (10, 10), (3, 200)])
def test_numbers_of_a_flat_spectrum(rank, n_features):
    flat = np.array([0.0] * (n_features - rank) + [2.0] * rank)
    for name in ("participation_ratio", "effective_rank", "rankme", "stable_rank"):
        assert getattr(spectrum, name)(flat) == pytest.approx(rank), name
    assert spectrum.lpca_dimension(flat) == rank
    assert spectrum.matrix_entropy(flat) == pytest.approx(np.log(rank))
    # The formula is from Rudman et al. 2022. The authors' program rounds to float32, with an error
    # of about 1e-7.
    expected = (rank - 1) / (n_features - 1)
    assert spectrum.isoscore(flat) == pytest.approx(expected, abs=1e-6)


def test_zero_spectrum_gives_nan():
    names = "participation_ratio isoscore effective_rank rankme stable_rank alpha_req"
    for name in (*names.split(), "matrix_entropy", "lpca_dimension"):
        assert np.isnan(getattr(spectrum, name)(np.zeros(120))), name


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_alpha_req_recovers_a_power_law(alpha):
    decay = 7 * np.arange(200, 0.0, -1) ** -alpha
    assert spectrum.alpha_req(decay) == pytest.approx(alpha, rel=1e-9)


def test_alpha_req_is_nan_below_the_noise_floor():
    rng = np.random.default_rng(0)
    low = (rng.standard_normal((500, 20)) @ rng.standard_normal((20, 120))).astype(np.float16)
    eigenvalues = spectrum.eigenvalues(low)
    # Rounding produces a hundred nonzero eigenvalues that follow a power law.
    assert spectrum.alpha_req(eigenvalues) > 1
    assert np.isnan(spectrum.alpha_req(eigenvalues, spectrum.noise_floor(low)))
    # The precision is found from the values.
    assert spectrum.noise_floor(low.astype(np.float64)) == spectrum.noise_floor(low)
    whole = rng.standard_normal((500, 120)).astype(np.float32)
    floor = spectrum.noise_floor(whole)
    assert spectrum.alpha_req(spectrum.eigenvalues(whole), floor) > 0
    assert np.isnan(spectrum.alpha_req(np.arange(1.0, 100)))


def test_noise_floor_of_a_grid_is_just_above_the_eigenvalues_of_rounding():
    rng = np.random.default_rng(0)
    low = 10 * rng.standard_normal((2000, 5)) @ rng.standard_normal((5, 120))
    floor = spectrum.noise_floor(np.rint(low))
    largest = spectrum.eigenvalues(np.rint(low))[-6]
    # The largest eigenvalue of random errors is at most a few per cent below its limit.
    assert 0.9 * floor < largest < floor


def test_debiased_participation_ratio_is_unbiased_for_few_points():
    # The true ratio is 24. For 60 points, the biased estimate is about 17.
    rng = np.random.default_rng(0)
    plain, debiased = [], []
    for _ in range(200):
        points = rng.standard_normal((60, 24))
        moments = Moments.of(points)
        eigenvalues, _ = spectrum.eigh(moments.scatter)
        plain.append(spectrum.participation_ratio(eigenvalues))
        debiased.append(spectrum.participation_ratio_debiased(eigenvalues, moments.fourth, 60))
    error = np.std(debiased) / np.sqrt(200)
    assert np.mean(plain) < 19
    # The ratio of two unbiased estimates is biased by about its relative variance, which is 1 %.
    assert abs(np.mean(debiased) - 24) < 4 * error + 0.3


def test_leading_eigenvalue_matches_the_whole_spectrum():
    rng = np.random.default_rng(0)
    for shape in ((900, 300), (100, 700), (500, 80)):
        for points in (
            rng.standard_normal(shape),
            rng.standard_normal(shape) * np.arange(1, shape[1] + 1) ** -0.5,
            np.where(np.arange(shape[0]) % 90 == 0, 300, 1)[:, None] * rng.standard_normal(shape),
        ):
            whole = spectrum.leading_share(spectrum.eigenvalues(points))
            assert spectrum.anisotropy(points) == pytest.approx(whole, rel=1e-9)


def test_massive_rows_change_anisotropy_and_rankme_but_not_twonn():
    rng = np.random.default_rng(0)
    points = rng.standard_normal((2000, 8)) @ np.linalg.qr(rng.standard_normal((64, 8)))[0].T
    massive = np.where(np.arange(2000) % 500 == 0, 2000, 1)[:, None] * points
    before, after = spectrum.eigenvalues(points), spectrum.eigenvalues(massive)
    assert spectrum.leading_share(before) < 0.2 < 0.3 < spectrum.leading_share(after)
    assert spectrum.rankme(after) < 0.7 * spectrum.rankme(before)
    id_before, id_after = (
        dimension.id_twonn(nearest_neighbors(x, 2)[0]) for x in (points, massive)
    )
    assert id_after == pytest.approx(id_before, rel=0.02)
