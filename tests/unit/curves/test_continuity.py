"""A checkpoint is flagged if its weights do not fit the neighbouring checkpoints."""

import numpy as np

from shapesweep.curves import continuity


def walk(rng, start, n=12, step=0.1):
    """Return the weights along a random walk that begins at `start`."""
    return start + np.cumsum(rng.standard_normal((n, 4096)) * step, axis=0)


def flagged(samples):
    named = [{"other": np.asarray(sample)} for sample in samples]
    return continuity.continuity(named, range(len(named)))


def test_foreign_weights_between_neighbours_are_discontinuous():
    rng = np.random.default_rng(0)
    start, direction, foreign = rng.standard_normal((3, 4096))
    straight = [start + direction * t for t in np.linspace(0, 1, 7)]
    assert flagged(straight) == {}
    assert flagged(walk(rng, start)) == {}
    for position in range(1, 6):
        found = flagged([*straight[:position], foreign, *straight[position:]])
        assert found == {position: "discontinuous"}
    # The first checkpoint has only one neighbour, so it cannot be flagged.
    assert flagged([foreign, *straight]) == {}


def test_swapped_labels_are_out_of_order():
    rng = np.random.default_rng(0)
    samples = walk(rng, rng.standard_normal(4096))
    for position in range(1, 10):
        swapped = samples.copy()
        swapped[[position, position + 1]] = samples[[position + 1, position]]
        assert flagged(swapped) == dict.fromkeys((position, position + 1), "out_of_order")


def test_continuation_by_another_training_is_a_break():
    rng = np.random.default_rng(0)
    start = rng.standard_normal(4096)
    first, other = walk(rng, start), walk(rng, -start)
    for position in range(2, 11):
        assert flagged([*first[:position], *other[position:]]) == {position: "break"}


def test_larger_gap_between_steps_is_no_break():
    rng = np.random.default_rng(0)
    steps = [8, 16, 24, 200, 208, 216]
    samples = walk(rng, rng.standard_normal(4096), 216, 0.02)
    chosen = [{"other": samples[step - 1]} for step in steps]
    assert continuity.continuity(chosen, steps) == {}
    assert continuity.continuity(chosen, range(6)) == {3: "break"}


def test_rounded_and_repeated_weights_are_not_flagged():
    rng = np.random.default_rng(0)
    weights = rng.standard_normal(4096).astype(np.float32)
    same = [weights, weights.astype(np.float16).astype(np.float32), weights]
    assert flagged(same) == {}
    assert flagged([weights] * 5) == {}
    assert flagged([weights, weights[:9], weights]) == {}
