"""Runs with the weights of another run are found; independent runs are not."""

import numpy as np
import pytest

from helpers.planted import MIN_AGREEING, SEEDS
from shapesweep.curves.copies import copies

KINDS = {"attention": 2000, "feed_forward": 2000, "embedding": 1000}
STEPS = (0, 100, 1000)


def training(rng, start=None, size=1.0):
    """Return the weights of a training at each step; `start` contains the initial weights."""
    start = start or {kind: rng.standard_normal(n) for kind, n in KINDS.items()}
    ways = {kind: rng.standard_normal(n) for kind, n in KINDS.items()}
    return {
        step: {kind: start[kind] + size * step / 1000 * ways[kind] for kind in KINDS}
        for step in STEPS
    }


def rounded(run):
    return {
        step: {kind: values.astype(np.float16).astype(float) for kind, values in sample.items()}
        for step, sample in run.items()
    }


@pytest.mark.parametrize("size", [0.1, 1.0])
def test_copies_are_named_and_independent_runs_are_not(size):
    agreeing = 0
    for seed in SEEDS:
        rng = np.random.default_rng([6, seed])
        first, second = training(rng, size=size), training(rng, size=size)
        # The third run has the same initial weights as the first, but other changes.
        shared = training(rng, first[0], size)
        runs = {"seed0": first, "seed1": second, "seed2": shared, "seed3": rounded(first)}
        named = [(row["run"], row["of"], row["step"]) for row in copies(runs)]
        agreeing += named == [("seed3", "seed0", 1000)]
    assert agreeing >= MIN_AGREEING


def test_copy_that_hardly_changes_is_named():
    rng = np.random.default_rng(5)
    last = training(rng)[1000]
    # A run that changes less between its checkpoints than rounding changes the copy.
    late = {
        step: {kind: values * (1 + 1e-5 * number) for kind, values in last.items()}
        for number, step in enumerate((142_000, 143_000))
    }
    (found,) = copies({"a": late, "b": rounded(late)})
    assert found["correlation"] > 0.9999
    # Two models that are fine-tuned from the same weights are not copies.
    tuned = [
        {1000: {kind: v + 0.03 * rng.standard_normal(len(v)) * v.std() for kind, v in last.items()}}
        for _ in range(2)
    ]
    assert not copies({"a": tuned[0], "b": tuned[1]})


def test_every_copy_is_named_once():
    first = training(np.random.default_rng(1))
    found = copies({"a": first, "b": rounded(first), "c": first})
    assert [(row["run"], row["of"]) for row in found] == [("b", "a"), ("c", "a")]


def test_a_single_common_step_needs_nearly_equal_weights():
    rng = np.random.default_rng(2)
    first = training(rng)
    # After a short training, weights from the same start are still alike.
    shared = training(rng, first[0], size=0.05)
    assert not copies({"a": {1000: first[1000]}, "b": {1000: shared[1000]}})
    assert copies({"a": {1000: first[1000]}, "b": {1000: first[1000]}})
    assert not copies({"a": {0: first[0]}, "b": {0: first[0]}})


def test_runs_of_single_checkpoints_without_steps_are_compared():
    rng = np.random.default_rng(4)
    first, second = training(rng)[1000], training(rng)[1000]
    (found,) = copies({"a": {None: first}, "b": {None: first}, "c": {None: second}})
    assert (found["run"], found["of"], found["step"]) == ("b", "a", None)
    assert not copies({"a": {None: first}, "b": {1000: first}})
    # Runs with common steps are compared at these steps.
    a, b = training(rng), training(rng)
    assert not copies({"a": {**a, None: first}, "b": {**b, None: first}})


def test_runs_of_other_shapes_or_without_common_steps_are_not_compared():
    first = training(np.random.default_rng(3))
    larger = {step: {**sample, "head": np.ones(9)} for step, sample in first.items()}
    later = {step + 1: sample for step, sample in first.items()}
    assert not copies({"a": first, "b": larger, "c": later})
