"""Planted courses of the ID over training are described correctly, up to the stated error rate."""

import numpy as np
import pytest

from helpers.planted import FEATURES, MIN_AGREEING, N_TOKENS, SEEDS, STEPS, cloud, measured

#: ID of the middle blocks at each step, and the course that it has.
LINES = {
    "no phase": (5.0,) * 20,
    "monotone rise": tuple(np.linspace(3, 10, 20)),
    "rise, fall": (*(3.0,) * 3, *np.linspace(3, 10, 9), *np.linspace(9, 4, 8)),
    "fall, rise, fall": (*np.linspace(12, 3, 7), *np.linspace(4, 11, 6), *np.linspace(10, 3, 7)),
}
COURSES = {"no phase": "", "monotone rise": "rise"}
#: Standard deviation of the ID between training runs.
TRAINING_STD = 0.2


def described(seed, line):
    """Return the course of a run. `line` contains the ID of the middle blocks at each step."""
    rng = np.random.default_rng([1, seed])
    shared = rng.uniform(size=(N_TOKENS, FEATURES))
    shards = {}
    for step, dimension in zip(STEPS, line, strict=True):
        trained = max(dimension + TRAINING_STD * rng.standard_normal(), 2)
        shards[step, 1] = cloud(rng, trained, shared)
    phases = measured(["id_twonn"], shards, n_layers=2)["phases"]
    is_row = (phases.metric == "id_twonn") & (phases.selection == "no_first")
    return phases[is_row].course.iloc[0]


@pytest.mark.parametrize("name", LINES)
def test_planted_course_is_found(name):
    found = [described(seed, LINES[name]) for seed in SEEDS]
    assert found.count(COURSES.get(name, name)) >= MIN_AGREEING
