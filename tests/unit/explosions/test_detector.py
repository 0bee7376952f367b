"""Early warning: nobody knows the future, false alarms are as seldom as was said."""

import numpy as np
import pytest

from shapesweep.explosions import detector, onset, scoring


def test_deviations_of_a_trend_are_of_one_standard_deviation():
    rng = np.random.default_rng(0)
    trend = np.linspace(0, 50, 4000) + rng.normal(0, 0.3, 4000)
    z = detector.deviations(trend)[detector.WINDOW :]
    # Student's t with WINDOW - 2 degrees has a variance of 14/12; 4,000 samples tell it to 5 %.
    assert z.var() == pytest.approx(14 / 12, rel=0.15)
    assert abs(z.mean()) < 0.1


def test_what_comes_later_changes_nothing_before_it():
    rng = np.random.default_rng(1)
    values = rng.standard_normal((200, 3)).cumsum(axis=0)
    changed = values.copy()
    changed[120:] = np.nan
    z, other = (
        np.stack([detector.deviations(column) for column in one.T], axis=1)
        for one in (values, changed)
    )
    np.testing.assert_array_equal(z[:120], other[:120])
    raised, others = detector.alarms(z), detector.alarms(other)
    np.testing.assert_array_equal(raised[:120], others[:120])
    losses = rng.normal(3, 0.1, 100)
    np.testing.assert_array_equal(
        onset.levels(losses), onset.levels(np.append(losses, [9.0, np.nan]))[:100]
    )


def test_what_is_not_finite_deviates_as_far_as_can_be_and_what_is_not_known_by_nothing():
    known = np.random.default_rng(0).standard_normal(40)
    assert detector.deviations(np.append(known, np.inf))[-1] == detector.MOST
    assert detector.deviations(np.append(known, np.nan))[-1] == 0


def test_thresholds_let_through_as_many_false_alarms_as_were_asked_for():
    rng = np.random.default_rng(2)
    runs = [rng.standard_normal((400, 1)) for _ in range(60)]
    z = [detector.deviations(one[:, 0])[:, None] for one in runs]
    moments = [np.arange(400.0)] * 60
    known = detector.outcomes(z[:30], moments[:30], [None] * 30, 64)
    at = known.chosen(np.ones(30, dtype=int), rate=2.0)[0]
    fresh = detector.outcomes(z[30:], moments[30:], [None] * 30, 64)
    rate = 1000 * fresh.false[:, 0, at].sum() / fresh.watched.sum()
    # 23 alarms in 11,520 steps: within three of their standard deviations.
    assert rate == pytest.approx(2.0, abs=3 * 2.0 / np.sqrt(23) * np.sqrt(2))


def test_an_alarm_counts_before_the_onset_alone_and_not_too_long_before():
    quiet = np.zeros((100, 1))
    moments = np.arange(100.0)
    for place in (10, 40, 50, 59, 60):
        z = quiet.copy()
        z[place] = 40.0
        found = detector.outcomes([z], [moments], [60.0], horizon=32)
        first = found.lead[0, 0, detector.THRESHOLDS < 30]
        expected = np.nan if place in (60, 10) else 60.0 - place
        np.testing.assert_array_equal(first, np.full(len(first), expected))
        # What is too early is a false alarm; what is too late is nothing.
        assert set(found.early[0, 0, detector.THRESHOLDS < 30]) == {int(place == 10)}


def test_the_elected_signal_of_a_run_is_chosen_without_it():
    # The first signal detects run 0 alone; the second all others.
    detected = np.array([[True, False], [False, True], [False, True], [False, True]])
    assert detector.elected(detected, np.ones(4, dtype=int)).tolist() == [1, 1, 1, 1]
    # Twice the same run is no other run.
    alone = np.array([[True, False], [False, False]])
    assert detector.elected(alone, np.array([2, 0])).tolist()[0] == 0
    assert detector.elected(alone[:, ::-1], np.array([2, 0])).tolist()[0] == 0


def test_an_interval_of_all_is_not_a_point():
    low, high = scoring._wider(np.ones(100), 12, 12, 0.95)
    # Clopper and Pearson: (0.025)^(1/12).
    assert low == pytest.approx(0.025 ** (1 / 12))
    assert high == 1.0


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ([3.0] * 20, None),
        ([6.0] + [3.0] * 20, None),
        ([6.0, 3.0, 5.0, 6.0, 7.0, 3.0], 100),
        ([np.nan] * 5, 100),
        ([np.nan], 100),
        ([3.1] * 3 + [4.0] * 5, 103),
        # One that creeps does not take its level with it.
        (list(np.linspace(3, 5, 200)), 150),
    ],
)
def test_an_onset_is_where_the_loss_stays_above_where_it_stood(more, found):
    losses = np.append(np.random.default_rng(0).normal(3, 0.05, 100), more)
    at = onset.first_onset(losses)
    assert at is None if found is None else at == pytest.approx(found, abs=8)


def test_a_loss_that_is_none_is_an_onset_however_early():
    losses = np.append(np.random.default_rng(0).normal(3, 0.1, 5), [np.nan] * 20)
    assert onset.first_onset(losses) == 5


def test_no_threshold_lets_more_false_alarms_through_than_were_asked_for():
    # A signal that alarms whatever the threshold.
    z = np.full((400, 1), detector.MOST)
    found = detector.outcomes([z], [np.arange(400.0)], [None], 64)
    at = found.chosen(np.ones(1, dtype=int), rate=1.0)
    assert not found.false[0, 0, at[0]]


def test_a_loss_that_falls_has_no_onset():
    rng = np.random.default_rng(3)
    for seed in range(50):
        noise = rng.normal(0, 0.12, 300)
        assert onset.first_onset(5.6 * np.exp(-np.arange(300) / 60) + 2 + noise) is None, seed
