"""Peaks: the fit against another program's, the test's level, its power, its intervals."""

import numpy as np
import pytest
from scipy.optimize import isotonic_regression

from shapesweep.estimators import unimodal

#: Pythia's kind of steps, where the peaks of the tests lie.
PLACES = np.log1p([0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512])
N_CURVES = 400
#: Of 400 curves at a level of 0.05 more than this share is found by chance once in 1,000.
MOST = 0.087


def share(truth, **known):
    rng = np.random.default_rng(5)
    found = [
        unimodal.find_peak(truth + rng.standard_normal(len(truth)), PLACES, **known)
        for _ in range(N_CURVES)
    ]
    return np.mean([peak.p_value < 0.05 for peak in found])


def test_the_fit_of_every_beginning_is_scipys():
    rng = np.random.default_rng(0)
    # Rounded, so that there are ties.
    values = rng.standard_normal((40, 13)).round(1)
    made = unimodal.prefix_errors(values)
    for row, curve in zip(made, values, strict=True):
        theirs = [isotonic_regression(curve[:i]).x for i in range(1, 14)]
        errors = [((curve[: len(fit)] - fit) ** 2).sum() for fit in theirs]
        # Sums of a dozen squares of order one in float64.
        np.testing.assert_allclose(row[1:], errors, atol=1e-12)


def test_the_unimodal_fit_is_the_best_of_all_places_to_turn():
    rng = np.random.default_rng(1)
    for curve in rng.standard_normal((20, 9)):
        errors = []
        for split in range(1, 9):
            rising = isotonic_regression(curve[:split]).x
            falling = isotonic_regression(curve[split:], increasing=False).x
            errors.append(((curve - np.concatenate([rising, falling])) ** 2).sum())
        made = ((curve - unimodal.unimodal_fit(curve)) ** 2).sum()
        assert made == pytest.approx(min(errors))


@pytest.mark.parametrize("known", [{}, {"known_noise": 1.0, "freedom": 40}])
@pytest.mark.parametrize(
    "truth",
    [0 * PLACES, PLACES, -(PLACES**2), 10.0 * (PLACES > 3), 0.3 * PLACES],
    ids=["flat", "rising", "falling", "a jump", "hardly rising"],
)
def test_a_curve_without_a_peak_has_one_no_more_often_than_the_level_says(truth, known):
    assert share(truth, **known) <= MOST


def test_a_peak_of_several_checkpoints_is_found_where_noise_does_not_hide_it():
    bump = np.exp(-0.5 * ((PLACES - PLACES[6]) / 1.2) ** 2)
    assert share(6 * bump) > 0.95
    assert share(1 * bump) < 0.4


def test_the_interval_of_a_peak_holds_its_place_and_its_neighbours():
    bump = 5 * np.exp(-0.5 * ((PLACES - PLACES[6]) / 1.2) ** 2)
    rng = np.random.default_rng(2)
    peaks = [unimodal.find_peak(bump + rng.standard_normal(11), PLACES) for _ in range(200)]
    held = np.mean([peak.low <= 6 <= peak.high for peak in peaks])
    # Nominally 0.95, of 200; once in 1,000 by chance below.
    assert held > 0.89
    assert all(peak.low < peak.index < peak.high for peak in peaks)


def test_a_line_has_no_noise_and_a_known_noise_is_estimated_well():
    assert unimodal.noise(3 * PLACES + 1, PLACES) == pytest.approx(0, abs=1e-12)
    rng = np.random.default_rng(3)
    places = np.arange(400.0)
    found = unimodal.noise(np.sin(places / 40) + 0.5 * rng.standard_normal((50, 400)), places)
    # 50 curves of 400 values: the mean is known to within 0.005.
    assert found.mean() == pytest.approx(0.5, abs=0.015)


def test_of_many_checkpoints_few_are_asked_evenly_and_both_ends_among_them():
    places = np.log1p(np.r_[0, 2 ** np.arange(10), 1000 * np.arange(1, 144)])
    kept = unimodal.thinned(places, 24)
    assert (kept[0], kept[-1]) == (0, len(places) - 1)
    assert len(kept) <= 24
    # Where checkpoints lie densely, they are as far apart as the even grid.
    assert np.diff(places[kept[-6:]]).min() > 0.5 * (places[-1] - places[0]) / 24
    assert unimodal.thinned(PLACES, 24).tolist() == list(range(11))


def test_one_checkpoint_high_among_noise_is_no_peak():
    lone = np.zeros(11)
    lone[5] = 3
    rng = np.random.default_rng(4)
    peak = unimodal.find_peak(lone + rng.standard_normal(11), PLACES)
    assert peak.p_value > 0.05
