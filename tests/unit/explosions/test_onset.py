"""At the onset of an explosion, the loss rises above its previous level, and stays above it."""

import numpy as np
import pytest

from shapesweep.explosions import onset


def test_later_losses_do_not_change_earlier_levels():
    losses = np.random.default_rng(1).normal(3, 0.1, 100)
    longer = np.append(losses, [9.0, np.nan])
    np.testing.assert_array_equal(onset.levels(losses), onset.levels(longer)[:100])


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ([3.0] * 20, None),
        ([6.0] + [3.0] * 20, None),
        ([6.0, 3.0, 5.0, 6.0, 7.0, 3.0], 100),
        ([np.nan] * 5, 100),
        ([np.nan], 100),
        ([3.1] * 3 + [4.0] * 5, 103),
        # A slow rise of the loss does not raise the level that the loss must exceed.
        (list(np.linspace(3, 5, 200)), 150),
    ],
)
def test_onset_is_where_the_loss_stays_above_its_previous_level(more, found):
    losses = np.append(np.random.default_rng(0).normal(3, 0.05, 100), more)
    at = onset.first_onset(losses)
    assert at is None if found is None else at == pytest.approx(found, abs=8)


def test_loss_that_is_nan_is_an_onset_even_in_the_first_steps():
    losses = np.append(np.random.default_rng(0).normal(3, 0.1, 5), [np.nan] * 20)
    assert onset.first_onset(losses) == 5


def test_falling_loss_has_no_onset():
    rng = np.random.default_rng(3)
    for seed in range(50):
        noise = rng.normal(0, 0.12, 300)
        assert onset.first_onset(5.6 * np.exp(-np.arange(300) / 60) + 2 + noise) is None, seed
