"""The fit of peaks matches scipy. The test of peaks has the stated level, power and intervals."""

import numpy as np
import pytest
from scipy.optimize import isotonic_regression

from shapesweep.estimators import unimodal

#: Steps like Pythia's, transformed to the logarithmic axis on which peaks are located.
POSITIONS = np.log1p([0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512])
N_CURVES = 400
#: Among 400 curves without a peak, the share with p < 0.05 exceeds this maximum by chance once in
#: 1,000 times.
MAX_SHARE = 0.087


def share(truth, **known):
    rng = np.random.default_rng(5)
    found = [
        unimodal.find_peak(truth + rng.standard_normal(len(truth)), POSITIONS, **known)
        for _ in range(N_CURVES)
    ]
    return np.mean([peak.p_value < 0.05 for peak in found])


def test_errors_of_isotonic_fits_match_scipy():
    rng = np.random.default_rng(0)
    # The values are rounded, so that some values are tied.
    values = rng.standard_normal((40, 13)).round(1)
    found = unimodal.prefix_errors(values)
    for row, curve in zip(found, values, strict=True):
        fits = [isotonic_regression(curve[:i]).x for i in range(1, 14)]
        errors = [((curve[: len(fit)] - fit) ** 2).sum() for fit in fits]
        # Each error is a sum of about twelve float64 squares of order 1.
        np.testing.assert_allclose(row[1:], errors, atol=1e-12)


def test_unimodal_fit_is_the_best_of_all_turning_points():
    rng = np.random.default_rng(1)
    for curve in rng.standard_normal((20, 9)):
        errors = []
        for split in range(1, 9):
            rising = isotonic_regression(curve[:split]).x
            falling = isotonic_regression(curve[split:], increasing=False).x
            errors.append(((curve - np.concatenate([rising, falling])) ** 2).sum())
        found = ((curve - unimodal.unimodal_fit(curve)) ** 2).sum()
        assert found == pytest.approx(min(errors))


@pytest.mark.parametrize("known", [{}, {"known_noise": 1.0, "freedom": 40}])
@pytest.mark.parametrize(
    "truth",
    [0 * POSITIONS, POSITIONS, -(POSITIONS**2), 10.0 * (POSITIONS > 3), 0.3 * POSITIONS],
    ids=["flat", "rising", "falling", "a jump", "hardly rising"],
)
def test_false_peaks_are_not_more_frequent_than_the_level(truth, known):
    assert share(truth, **known) <= MAX_SHARE


def test_peak_of_several_checkpoints_is_found_unless_noise_hides_it():
    bump = np.exp(-0.5 * ((POSITIONS - POSITIONS[6]) / 1.2) ** 2)
    assert share(6 * bump) > 0.95
    assert share(1 * bump) < 0.4


def test_interval_of_a_peak_covers_its_position():
    bump = 5 * np.exp(-0.5 * ((POSITIONS - POSITIONS[6]) / 1.2) ** 2)
    rng = np.random.default_rng(2)
    peaks = [unimodal.find_peak(bump + rng.standard_normal(11), POSITIONS) for _ in range(200)]
    covered = np.mean([peak.low <= 6 <= peak.high for peak in peaks])
    # The nominal coverage is 0.95. For 200 curves, a coverage below 0.89 occurs by chance once in
    # 1,000 times.
    assert covered > 0.89
    assert all(peak.low < peak.index < peak.high for peak in peaks)


def test_noise_of_a_line_is_zero_and_known_noise_is_estimated():
    assert unimodal.noise(3 * POSITIONS + 1, POSITIONS) == pytest.approx(0, abs=1e-12)
    rng = np.random.default_rng(3)
    positions = np.arange(400.0)
    found = unimodal.noise(np.sin(positions / 40) + 0.5 * rng.standard_normal((50, 400)), positions)
    # A mean over 50 curves with 400 values each is accurate to 0.005.
    assert found.mean() == pytest.approx(0.5, abs=0.015)


def test_thinning_keeps_both_ends_and_an_even_spacing():
    positions = np.log1p(np.r_[0, 2 ** np.arange(10), 1000 * np.arange(1, 144)])
    kept = unimodal.thinned(positions, 24)
    assert (kept[0], kept[-1]) == (0, len(positions) - 1)
    assert len(kept) <= 24
    # The checkpoints are dense at the end. After thinning, the distance between any two of the last
    # six exceeds half of the distance between 25 evenly spaced checkpoints.
    assert np.diff(positions[kept[-6:]]).min() > 0.5 * (positions[-1] - positions[0]) / 24
    assert unimodal.thinned(POSITIONS, 24).tolist() == list(range(11))


def test_single_high_checkpoint_is_no_peak():
    lone = np.zeros(11)
    lone[5] = 3
    rng = np.random.default_rng(4)
    peak = unimodal.find_peak(lone + rng.standard_normal(11), POSITIONS)
    assert peak.p_value > 0.05
