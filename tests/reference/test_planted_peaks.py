"""A planted peak of the ID over training is found at its step; where none is planted, none is."""

import numpy as np
import pytest

from helpers.planted import DOCUMENTS, FEATURES, LEAST, LENGTH, SEEDS, STEPS, cloud, measured

#: ID of the middle blocks at every step: the planted peak is at step 256.
PEAKED = (3.0, 3.0, 4.0, 6.0, 8.0, 10.0, 8.0, 6.0, 5.0)
RISING = (3.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 8.5, 9.0)
#: Two trainings differ by so much in the number of dimensions, one standard deviation.
TRAINING = 0.3


def id_verdict(seed, line):
    """What `phases` says of a training whose middle blocks have these dimensions."""
    rng = np.random.default_rng([1, seed])
    shared = rng.uniform(size=(DOCUMENTS * LENGTH, FEATURES))
    shards = {}
    for step, dimension in zip(STEPS, line, strict=True):
        trained = max(dimension + TRAINING * rng.standard_normal(), 2)
        shards[step, 1] = cloud(rng, trained, shared)
    made = measured(["id_twonn"], shards, n_layers=2)["phases"]
    return made[(made.metric == "id_twonn") & (made.selection == "no_first")].iloc[0]


def test_a_planted_peak_is_found_at_its_step():
    found = [id_verdict(seed, PEAKED) for seed in SEEDS]
    held = [
        one.verdict == "peak" and one.peak_step_low <= 256 <= one.peak_step_high for one in found
    ]
    assert sum(held) >= LEAST


@pytest.mark.parametrize("line", [(5.0,) * 9, RISING], ids=["flat", "rising"])
def test_where_no_peak_is_planted_none_is_found(line):
    found = [id_verdict(seed, line).verdict for seed in SEEDS]
    assert found.count("no peak") >= LEAST
