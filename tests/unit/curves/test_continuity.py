"""A checkpoint is flagged if its weights do not fit the neighbouring checkpoints."""

import itertools

import numpy as np
import pytest
import torch

from shapesweep.curves import continuity
from shapesweep.curves.unrelated import Run


def walk(rng, start, n=12, step=0.1):
    """Return the weights along a random walk that begins at `start`."""
    return start + np.cumsum(rng.standard_normal((n, 4096)) * step, axis=0)


def flagged(samples, steps=None, peers=()):
    return continuity.continuity(named(samples), steps or range(len(samples)), peers)


def named(samples):
    return [{"other": np.asarray(sample)} for sample in samples]


def test_foreign_weights_between_neighbours_are_discontinuous():
    rng = np.random.default_rng(0)
    start, direction, foreign = rng.standard_normal((3, 4096))
    straight = [start + direction * t for t in np.linspace(0, 1, 7)]
    assert flagged(straight) == {}
    assert flagged(walk(rng, start)) == {}
    for position in range(1, 6):
        found = flagged([*straight[:position], foreign, *straight[position:]])
        assert found == {position: "discontinuous"}
    # The first and the last checkpoint have only one neighbour.
    assert flagged([foreign, *straight]) == {0: "discontinuous"}
    assert flagged([*straight, foreign]) == {7: "discontinuous"}


def test_swapped_labels_are_out_of_order():
    rng = np.random.default_rng(0)
    samples = walk(rng, rng.standard_normal(4096))
    for position in range(11):
        swapped = samples.copy()
        swapped[[position, position + 1]] = samples[[position + 1, position]]
        assert flagged(swapped) == dict.fromkeys((position, position + 1), "out_of_order")


def test_swapped_labels_of_a_logarithmic_grid_are_out_of_order():
    rng = np.random.default_rng(0)
    steps = [2**n for n in range(9)]
    path = walk(rng, rng.standard_normal(4096), 256, 0.05)
    samples = path[np.array(steps) - 1]
    assert flagged(samples, steps) == {}
    for position in range(8):
        swapped = samples.copy()
        swapped[[position, position + 1]] = samples[[position + 1, position]]
        found = flagged(swapped, steps)
        assert found == dict.fromkeys((position, position + 1), "out_of_order")


def test_weights_that_only_fluctuate_are_in_order():
    rng = np.random.default_rng(0)
    center, noise = rng.standard_normal(4096), rng.standard_normal((8, 4096))
    assert flagged(center + 0.3 * noise) == {}
    # A low learning rate before one of the checkpoints makes its fluctuations smaller.
    for quiet in range(1, 6):
        sizes = np.where(np.arange(8) == quiet, 0.03, 0.3)
        assert flagged(center + sizes[:, None] * noise) == {}


@pytest.mark.parametrize("grid", ["equal", "logarithmic"])
def test_weights_of_another_step_are_named(grid):
    rng = np.random.default_rng(0)
    steps = list(range(10)) if grid == "equal" else [2**n for n in range(10)]
    path = walk(rng, rng.standard_normal(4096), steps[-1] + 1, 0.05)
    samples = path[steps]
    for target, source in itertools.product(range(10), range(10)):
        if abs(target - source) < 2:
            continue
        stale = samples.copy()
        # The copy was saved with another precision.
        stale[target] = torch.from_numpy(samples[source]).bfloat16().double().numpy()
        found = flagged(stale, steps)
        assert found[target] == f"same_weights_as:{source}"
        assert found in (
            {target: f"same_weights_as:{source}"},
            {target: f"same_weights_as:{source}", source: f"same_weights_as:{target}"},
        )


def test_equal_neighbours_are_named_after_the_beginning_of_a_run():
    rng = np.random.default_rng(0)
    samples = list(walk(rng, rng.standard_normal(4096)))
    # The first step often has a learning rate of 0.
    assert flagged([samples[0], *samples]) == {}
    assert flagged([samples[0], samples[0], *samples]) == {}
    inside = [*samples[:5], samples[4], *samples[5:]]
    assert flagged(inside) == {4: "same_weights_as:5", 5: "same_weights_as:4"}
    # The last checkpoints repeat the last weights that were saved.
    end = [*samples, samples[-1], samples[-1]]
    assert flagged(end) == dict.fromkeys((12, 13), "same_weights_as:11")


def test_checkpoint_without_a_step_may_have_the_weights_of_another():
    rng = np.random.default_rng(0)
    samples = list(walk(rng, rng.standard_normal(4096)))
    assert flagged([*samples, samples[-1]], [*range(12), None]) == {}


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


@pytest.mark.parametrize("factor", [3, 10, 30])
def test_training_that_continues_with_larger_steps_has_no_break(factor):
    rng = np.random.default_rng(0)
    first = walk(rng, rng.standard_normal(4096), step=0.02)
    jump = first[-1] + 0.02 * factor * rng.standard_normal(4096)
    assert flagged([*first, *walk(rng, jump, step=0.02)]) == {}
    # Training was restarted from an earlier checkpoint.
    jump = first[-3] + 0.02 * factor * rng.standard_normal(4096)
    assert flagged([*first, *walk(rng, jump, step=0.02)]) == {12: "break"}


def test_rounded_and_repeated_weights_are_not_flagged():
    rng = np.random.default_rng(0)
    weights = rng.standard_normal(4096).astype(np.float32)
    same = [weights, weights.astype(np.float16).astype(np.float32), weights]
    assert flagged(same) == {}
    assert flagged([weights] * 5) == {}
    assert flagged([weights, weights[:9], weights]) == {}


def test_unrelated_checkpoints_at_the_ends_are_discontinuous():
    rng = np.random.default_rng(0)
    own = walk(rng, rng.standard_normal(4096))
    one, other, third = rng.standard_normal((3, 4096))
    assert flagged([one, *own]) == {0: "discontinuous"}
    assert flagged([*own, one]) == {12: "discontinuous"}
    assert flagged([one, *own, other]) == dict.fromkeys((0, 13), "discontinuous")
    # Neighbouring checkpoints from different runs.
    assert flagged([one, other, *own]) == dict.fromkeys((0, 1), "discontinuous")
    assert flagged([*own[:6], one, other, *own[6:], third]) == dict.fromkeys(
        (6, 7, 14), "discontinuous"
    )
    # Three checkpoints: only the last two are related.
    assert flagged([one, *own[:2]]) == {0: "discontinuous"}


def test_a_run_without_related_neighbours_has_no_flags():
    """It is not known how fast the run changes, and which of its checkpoints are wrong."""
    rng = np.random.default_rng(0)
    one, other, third = rng.standard_normal((3, 4096))
    assert flagged([]) == flagged([one]) == {}
    assert flagged([one, other]) == {}
    assert flagged([one, other, third]) == {}


def test_two_unrelated_checkpoints_at_an_end_are_a_break():
    rng = np.random.default_rng(0)
    own, other = (walk(rng, start) for start in rng.standard_normal((2, 4096)))
    assert flagged([*other[:2], *own]) == {2: "break"}
    assert flagged([*own, *other[:2]]) == {12: "break"}
    # The checkpoints between the two runs belong to neither of them.
    stranger = rng.standard_normal(4096)
    assert flagged([*own[:4], stranger, *other[4:]]) == {4: "discontinuous", 5: "break"}


@pytest.mark.parametrize("every", [100, 1000, 10**9])
def test_weights_may_move_far_from_the_initialization_on_a_coarse_grid(every):
    rng = np.random.default_rng(0)
    start, own = rng.standard_normal((2, 4096))
    samples = [start, *walk(rng, own, 6)]
    assert flagged(samples, [0, *range(every, 7 * every, every)]) == {}
    # On a dense grid, the same weights are found.
    assert flagged(samples, [0, 1, 2, 4, 8, 16, 32]) == {0: "discontinuous"}
    # After the initialization, the weights cannot move so far.
    steps = range(50 * every, 57 * every, every)
    assert flagged(samples, list(steps)) == {0: "discontinuous"}


def test_other_runs_show_how_far_the_weights_move_from_the_initialization():
    steps = [0, 1000, 2000, 3000]
    rng = np.random.default_rng(0)

    def run(correlation, step=0.1):
        start, noise = rng.standard_normal((2, 4096))
        own = correlation * start + np.sqrt(1 - correlation**2) * noise
        return named([start, *walk(rng, own, 3, step)])

    def flags_of(samples, *correlations):
        peers = [Run(run(value), steps) for value in correlations]
        return continuity.continuity(samples, steps, peers)

    foreign = run(0)
    assert flags_of(foreign, 0.6, 0.6) == {0: "discontinuous"}
    assert flags_of(foreign, 0.6, 0.6, 0) == {0: "discontinuous"}
    # One other run is not enough, and half of the other runs are as this run.
    assert flags_of(foreign, 0.6) == flags_of(foreign, 0.6, 0) == {}
    assert flags_of(foreign, 0.2, 0.2) == {}
    # The weights of this run move faster than those of the other runs.
    assert flags_of(run(0, step=0.3), 0.6, 0.6) == {}
    # The initial weights of this run are smaller than those of the other runs.
    small = [{"other": foreign[0]["other"] / 3}, *foreign[1:]]
    assert flags_of(small, 0.6, 0.6) == {}
    # Runs of another shape, and runs with other steps, cannot be compared.
    shape = [{"other": sample["other"][:99]} for sample in run(0.6)]
    assert continuity.continuity(foreign, steps, [Run(shape, steps)] * 2) == {}
    assert continuity.continuity(foreign, steps, [Run(run(0.6), [0, 900, 2000, 3000])] * 2) == {}


def test_constant_and_structured_classes_do_not_hide_or_cause_flags():
    rng = np.random.default_rng(0)
    own, stranger = walk(rng, rng.standard_normal(4096)), rng.standard_normal(4096)
    zeros, structure = np.zeros(4096), np.linspace(0, 9, 4096)

    def samples(first, head):
        matrices = [{"attention": weights} for weights in (first, *own)]
        return [{**sample, **head(k)} for k, sample in enumerate(matrices)]

    # A head that is initialized with zeros is not correlated with the next checkpoint.
    def is_zero_at_start(k):
        return {"head": own[k - 1] if k else zeros}

    # Embeddings of positions are similar in all models.
    def is_structured(k):
        return {"embedding": structure + 0.01 * rng.standard_normal(4096)}

    steps = range(13)
    near = own[0] + 0.1 * rng.standard_normal(4096)
    for head in (is_zero_at_start, is_structured):
        assert continuity.continuity(samples(near, head), steps) == {}
        assert continuity.continuity(samples(stranger, head), steps) == {0: "discontinuous"}


def test_few_weights_show_nothing():
    rng = np.random.default_rng(0)
    own, stranger = walk(rng, rng.standard_normal(4096)), rng.standard_normal(4096)
    for n, found in ((30, {}), (1000, {0: "discontinuous"})):
        assert flagged([weights[:n] for weights in (stranger, *own)]) == found


def test_checkpoints_of_another_shape_do_not_hide_the_others():
    rng = np.random.default_rng(0)
    own, stranger = walk(rng, rng.standard_normal(4096)), rng.standard_normal(4096)
    assert flagged([stranger[:9], *own, stranger]) == {13: "discontinuous"}
