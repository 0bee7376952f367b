"""A planted peak of the ID over training is found at its step. A flat or rising ID has no peak."""

import numpy as np
import pytest

from helpers.planted import FEATURES, MIN_AGREEING, N_TOKENS, SEEDS, STEPS, cloud, measured

#: ID of the middle blocks at each step. The planted peak is at step 256.
PEAKED = (3.0, 3.0, 4.0, 6.0, 8.0, 10.0, 8.0, 6.0, 5.0)
RISING = (3.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 8.5, 9.0)
#: Standard deviation of the ID between training runs.
TRAINING_STD = 0.3


def id_verdict(seed, line):
    """Return a run's row in `phases`. `line` contains the ID of the middle blocks at each step."""
    rng = np.random.default_rng([1, seed])
    shared = rng.uniform(size=(N_TOKENS, FEATURES))
    shards = {}
    for step, dimension in zip(STEPS, line, strict=True):
        trained = max(dimension + TRAINING_STD * rng.standard_normal(), 2)
        shards[step, 1] = cloud(rng, trained, shared)
    phases = measured(["id_twonn"], shards, n_layers=2)["phases"]
    is_row = (phases.metric == "id_twonn") & (phases.selection == "no_first")
    return phases[is_row].iloc[0]


def test_a_planted_peak_is_found_at_its_step():
    rows = [id_verdict(seed, PEAKED) for seed in SEEDS]
    agrees = [
        row.verdict == "peak" and row.peak_step_low <= 256 <= row.peak_step_high for row in rows
    ]
    assert sum(agrees) >= MIN_AGREEING


@pytest.mark.parametrize("line", [(5.0,) * 9, RISING], ids=["flat", "rising"])
def test_no_peak_is_found_without_a_planted_one(line):
    verdicts = [id_verdict(seed, line).verdict for seed in SEEDS]
    assert verdicts.count("no peak") >= MIN_AGREEING
