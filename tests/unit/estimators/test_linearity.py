"""Linearity is computed from a least squares fit, with exact replicates for every group."""

import numpy as np
import pytest

from shapesweep.estimators import linearity, spectrum
from shapesweep.estimators.moments import Moments


def pair(n=400, width=12, noise=0.5):
    rng = np.random.default_rng(0)
    before = rng.standard_normal((n, width)) * np.linspace(3, 0.1, width) + 4
    after = np.tanh(before @ rng.standard_normal((width, 9))) + noise * rng.standard_normal((n, 9))
    return before, after


def by_lstsq(before, after):
    x, y = before - before.mean(0), after - after.mean(0)
    residual = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    return 1 - (residual**2).sum() / (y**2).sum()


def test_linearity_is_the_share_of_variance_that_least_squares_explain():
    assert linearity.linearity(*pair()) == pytest.approx(by_lstsq(*pair()), rel=1e-12)


def test_replicates_equal_refits():
    before, after = pair()
    groups = np.arange(400) // 50
    eigenvalues, axes = spectrum.eigh(Moments.of(before).scatter)
    pairs = linearity.Pairs(before, after, groups)
    ((_, without),) = linearity.fits_with(pairs, eigenvalues, axes, 8)
    refits = [by_lstsq(before[groups != g], after[groups != g]) for g in range(8)]
    np.testing.assert_allclose([fit.linearity for fit in without], refits, rtol=1e-10)


def test_linear_map_has_a_linearity_of_one_up_to_the_last_digits():
    before, _ = pair()
    assert 1 - linearity.linearity(before, before @ np.ones((12, 3)) - 7) < 1e-20


def test_linearity_of_noise_is_the_share_of_degrees_of_freedom():
    rng = np.random.default_rng(1)
    before, after = rng.standard_normal((600, 60)), rng.standard_normal((600, 80))
    # The fit uses 60 of 599 degrees of freedom. Linearity is a mean over 80 features. The standard
    # deviation of this mean is 0.002.
    assert linearity.linearity(before, after) == pytest.approx(60 / 599, abs=0.01)


def test_linearity_is_nan_with_fewer_tokens_than_coefficients():
    before, after = np.split(np.random.default_rng(2).standard_normal((20, 34)), [30], axis=1)
    assert np.isnan(linearity.linearity(before, after))


def test_replicate_is_nan_if_its_fit_is_not_determined():
    before, after = pair(n=40)
    # Only the first group varies along the first axis.
    before[10:, 0] = 0
    eigenvalues, axes = spectrum.eigh(Moments.of(before).scatter)
    pairs = linearity.Pairs(before, after, np.arange(40) // 10)
    ((_, without),) = linearity.fits_with(pairs, eigenvalues, axes, 4)
    assert np.isnan(next(fit.linearity for fit in without))


def test_adding_a_few_massive_tokens_gives_exact_fits():
    before, after = pair()
    before[::40] *= 1e4
    groups, few = np.arange(400) // 50, np.arange(400) % 40 == 0
    beside = linearity.Pairs(before, after, groups)
    spread = spectrum.eigh(Moments.of(before[~few]).scatter)
    core, more = linearity.fits_with(beside.of(~few), *spread, 8, [beside.of(few)])
    for (whole, without), kept in ((core, ~few), (more, np.ones(400, dtype=bool))):
        left = [kept & (groups != group) for group in range(-1, 8)]
        refits = [by_lstsq(before[rows], after[rows]) for rows in left]
        found = [fit.linearity for fit in (whole, *without)]
        np.testing.assert_allclose(found, refits, rtol=1e-10)
        assert [fit.n_points for fit in (whole, *without)] == [rows.sum() for rows in left]
