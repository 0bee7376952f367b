"""Alarms depend only on earlier values. False alarms occur at the requested rate."""

import numpy as np
import pytest

from shapesweep.explosions import detector, scoring


def test_deviations_from_a_trend_are_standardised():
    rng = np.random.default_rng(0)
    trend = np.linspace(0, 50, 4000) + rng.normal(0, 0.3, 4000)
    z = detector.deviations(trend)[detector.WINDOW :]
    # The deviations follow Student's t distribution with WINDOW - 2 degrees of freedom, which has a
    # variance of 14/12. The variance of 4,000 samples has a standard error of 5 %.
    assert z.var() == pytest.approx(14 / 12, rel=0.15)
    assert abs(z.mean()) < 0.1


def test_later_values_do_not_change_earlier_deviations_and_alarms():
    rng = np.random.default_rng(1)
    values = rng.standard_normal((200, 3)).cumsum(axis=0)
    changed = np.where(np.arange(200)[:, None] < 120, values, np.nan)
    z, other = (np.apply_along_axis(detector.deviations, 0, table) for table in (values, changed))
    np.testing.assert_array_equal(z[:120], other[:120])
    raised, others = detector.alarms(z), detector.alarms(other)
    np.testing.assert_array_equal(raised[:120], others[:120])


def test_infinite_value_has_the_largest_deviation_and_missing_value_has_none():
    known = np.random.default_rng(0).standard_normal(40)
    assert detector.deviations(np.append(known, np.inf))[-1] == detector.MOST
    assert detector.deviations(np.append(known, np.nan))[-1] == 0


def test_thresholds_give_the_requested_false_alarm_rate():
    rng = np.random.default_rng(2)
    z = [detector.deviations(rng.standard_normal(400))[:, None] for _ in range(60)]
    moments = [np.arange(400.0)] * 60
    known = detector.outcomes(z[:30], moments[:30], [None] * 30, 64)
    at = known.chosen(np.ones(30, dtype=int), rate=2.0)[0]
    fresh = detector.outcomes(z[30:], moments[30:], [None] * 30, 64)
    rate = 1000 * fresh.false[:, 0, at].sum() / fresh.watched.sum()
    # About 23 alarms are expected in 11,520 steps. The tolerance is three standard deviations of
    # the rate.
    assert rate == pytest.approx(2.0, abs=3 * 2.0 / np.sqrt(23) * np.sqrt(2))


def test_alarm_counts_only_within_the_horizon_before_the_onset():
    moments = np.arange(100.0)
    for position in (10, 40, 50, 59, 60):
        z = np.where(moments == position, 40.0, 0)[:, None]
        found = detector.outcomes([z], [moments], [60.0], horizon=32)
        first = found.lead[0, 0, detector.THRESHOLDS < 30]
        expected = np.nan if position in (60, 10) else 60.0 - position
        np.testing.assert_array_equal(first, np.full(len(first), expected))
        # An alarm that is too early is a false alarm. An alarm that is too late is ignored.
        assert set(found.early[0, 0, detector.THRESHOLDS < 30]) == {int(position == 10)}


def test_the_best_signal_of_a_run_is_chosen_on_the_other_runs():
    # The first signal detects only run 0. The second signal detects all other runs.
    detected = np.array([[True, False], [False, True], [False, True], [False, True]])
    assert detector.best_signals(detected, np.ones(4, dtype=int)).tolist() == [1, 1, 1, 1]
    # If a resampling draws a run twice, the second copy does not count as another run.
    alone = np.array([[True, False], [False, False]])
    assert detector.best_signals(alone, np.array([2, 0])).tolist()[0] == 0
    assert detector.best_signals(alone[:, ::-1], np.array([2, 0])).tolist()[0] == 0


def test_interval_of_a_detection_rate_of_one_is_not_a_point():
    low, high = scoring._wider(np.ones(100), 12, 12, 0.95)
    # For 12 detections in 12 runs, the lower Clopper-Pearson limit is 0.025^(1/12).
    assert low == pytest.approx(0.025 ** (1 / 12))
    assert high == 1.0


def test_chosen_threshold_never_exceeds_the_requested_false_alarm_rate():
    # This signal raises an alarm at every threshold.
    z = np.full((400, 1), detector.MOST)
    found = detector.outcomes([z], [np.arange(400.0)], [None], 64)
    at = found.chosen(np.ones(1, dtype=int), rate=1.0)
    assert not found.false[0, 0, at[0]]
