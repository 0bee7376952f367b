"""The jackknife agrees with textbook formulas, and its intervals have the stated coverage."""

import numpy as np
import pytest
from scipy import stats

from shapesweep.estimators import jackknife


def test_stderr_of_a_mean_matches_the_textbook():
    values = np.random.default_rng(0).standard_normal(16)
    without = [np.delete(values, g).mean() for g in range(16)]
    assert jackknife.stderr(without) == pytest.approx(values.std(ddof=1) / 4)


def test_missing_replicate_gives_nan():
    assert np.isnan(jackknife.stderr([1.0, np.nan, 2.0]))
    assert np.isnan(jackknife.stderr([1.0]))


def test_half_width_uses_students_t():
    assert jackknife.half_width(1.0, 16) == pytest.approx(stats.t.ppf(0.975, 15))


def test_moderated_errors_equal_those_of_limma():
    # squeezeVar of limma 3.54.1 (R), for these variances and 15 degrees of freedom.
    variances = np.array([0.3, 1.2, 0.04, 5.1, 0.9, 2.2, 0.15, 11.0])
    expected = [
        0.5506304462,
        1.0644182340,
        0.2519446685,
        2.1745695576,
        0.9254127443,
        1.4335193088,
        0.4060728672,
        3.1888089012,
    ]
    errors, freedom = jackknife.moderated(np.sqrt(variances), 16)
    np.testing.assert_allclose(errors, expected, rtol=1e-8)
    assert freedom == pytest.approx(16.2691316669, rel=1e-8)


def test_moderated_errors_of_equal_noise_have_half_of_the_spread():
    squares = np.random.default_rng(0).chisquare(15, 4000) / 15
    errors, freedom = jackknife.moderated(np.sqrt(squares), 16)
    assert freedom == pytest.approx(30, abs=1.5)
    # The prior of 15 degrees of freedom halves each variance's distance from the typical variance.
    assert np.std(errors**2) == pytest.approx(np.std(squares) / 2, rel=0.1)
    assert np.mean(errors**2) == pytest.approx(1, abs=0.05)
    np.testing.assert_array_equal(jackknife.moderated(np.zeros(4), 16)[0], np.zeros(4))


def test_interval_covers_with_dependence_within_documents():
    # For each of 400 seeds, the tokens of a document share a mean. The nominal coverage is 95 %.
    # The coverage over 400 seeds has a binomial standard deviation of 1.1 %. The tolerance is four
    # standard deviations.
    covered = 0
    documents = np.repeat(np.arange(16), 20)
    groups = jackknife.assign_groups(documents)
    for seed in range(400):
        rng = np.random.default_rng(seed)
        tokens = rng.standard_normal(16)[documents] + rng.standard_normal(320)
        without = [tokens[groups != g].mean() for g in range(16)]
        half = jackknife.half_width(jackknife.stderr(without), 16)
        covered += abs(tokens.mean()) < half
    assert abs(covered / 400 - 0.95) < 0.044


def test_intervals_of_bounded_values_are_symmetric_on_the_arcsine_scale():
    low, high = jackknife.interval(0.75, 0.1, 16, 0, 1)
    assert 0 < low < 0.75 < high < 1

    def angle(share):
        return np.arcsin(np.sqrt(share))

    assert angle(0.75) - angle(low) == pytest.approx(angle(high) - angle(0.75))
    # With a small error, the scale does not matter.
    plain, scaled = jackknife.interval(0.4, 1e-6, 16), jackknife.interval(0.4, 1e-6, 16, 0, 1)
    np.testing.assert_allclose(plain, scaled, atol=1e-11)
    assert plain[1] - 0.4 == pytest.approx(jackknife.half_width(1e-6, 16))
    cosine = jackknife.interval(-0.9, 0.2, 16, -1, 1)
    share = jackknife.interval(0.05, 0.1, 16, 0, 1)
    np.testing.assert_allclose(cosine, 2 * np.array(share) - 1)
    # With a large error, the interval ends at the bounds.
    np.testing.assert_allclose(jackknife.interval(0.75, 0.7, 16, 0, 1), (0, 1))


def test_intervals_close_to_a_bound_are_not_much_wider_than_their_errors():
    low, high = jackknife.interval(1e-5, 5e-5, 16, 0, 1)
    assert low == 0
    assert 5e-5 < high < 1e-3


def test_interval_of_a_value_at_its_bound_ends_there():
    low, high = jackknife.interval([0.0, 1.0, np.nan], [0.1, 0.0, 0.1], 16, 0, 1)
    np.testing.assert_allclose(low, [0, 1, np.nan])
    np.testing.assert_allclose(high, [jackknife.half_width(0.1, 16), 1, np.nan])


def test_group_that_causes_most_of_the_variance_dominates():
    rng = np.random.default_rng(0)
    replicates = rng.standard_normal((16, 4000))
    # The false rate is at most 1 %.
    assert (jackknife.dominant(replicates) >= 0).mean() < 0.015
    replicates[5] += 12
    assert (jackknife.dominant(replicates) == 5).mean() > 0.99
    assert jackknife.dominant([0.75] * 15 + [0.05]) == 15
    assert jackknife.dominant([0.5] * 16) == -1
    # Among a few groups, one always causes a large part of the variance.
    assert jackknife.dominant([1.0, 0.0, 0.0]) == -1
