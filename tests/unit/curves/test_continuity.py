"""Integrity: a wrong checkpoint is flagged, with whoever it cannot be told from."""

import numpy as np
import pytest

from shapesweep.curves import continuity
from shapesweep.hub import shared_files
from shapesweep.hub.revisions import Published
from shapesweep.storage.files import File


def made(run, step, *contents, main=False):
    files = [File("config.json", 1, None, "same")]
    files += [File(f"model-{k}.safetensors", 1, one, "x") for k, one in enumerate(contents)]
    name = "main" if main else f"step{step}"
    return Published(run, name, "org/a", "c", step=step, is_main=main, files=tuple(files))


def flags(*found):
    return [", ".join(one.status) for one in shared_files.flag_shared(found)]


def test_whoever_shares_a_shard_is_flagged_by_name():
    found = [made("a", 0, "p", "q"), made("a", 5, "r", "s"), made("a", 9, "r", "t")]
    assert flags(*found) == ["", "shares_file_with:step9", "shares_file_with:step5"]
    many = [made("a", step, "same") for step in range(5)]
    assert flags(*many)[0] == "shares_file_with:step1, step2, step3, and 1 more"


@pytest.mark.parametrize(
    ("found", "benign"),
    [
        ([made("a", 0, "p"), made("a", 1, "p"), made("a", 2, "q")], True),
        ([made("a", 0, "p"), made("a", 9, "q"), made("a", None, "q", main=True)], True),
        ([made("a", 0, "q"), made("a", 9, "p"), made("a", None, "q", main=True)], False),
        ([made("a", 0, "p"), made("a", 1, "p"), made("a", 2, "p")], False),
        ([made("a", 8, "q"), made("a", 9, "q"), made("a", None, "q", main=True)], False),
        # Two seeds of the data alone begin alike; two runs never end alike.
        ([made("a", 0, "p"), made("a", 9, "q"), made("b", 0, "p"), made("b", 9, "r")], True),
        ([made("a", 0, "p"), made("a", 9, "q"), made("b", 0, "r"), made("b", 9, "q")], False),
        # The last stage is a run of its own, and main is what it ends with.
        ([made("a", 9, "p"), made("a", None, "r", main=True), made("a.s", 9, "r")], True),
        ([made("a", None, "r", main=True), made("a.s", 5, "r"), made("a.s", 9, "q")], False),
        # A second stage begins with what the first has ended with.
        ([made("a", 0, "p"), made("a", 9, "q"), made("b", 0, "q"), made("b", 9, "r")], True),
        ([made("a", 5, "q"), made("a", 9, "r"), made("b", 0, "q"), made("b", 9, "s")], False),
    ],
)
def test_groups_that_are_as_they_should_be_are_not(found, benign):
    assert (not any(flags(*found))) == benign


def flagged(samples):
    named = [{"other": np.asarray(one)} for one in samples]
    return continuity.continuity(named, range(len(named)))


def test_a_stranger_between_two_neighbours_is_out_of_line():
    rng = np.random.default_rng(0)
    start, way, stranger = rng.standard_normal((3, 4096))
    straight = [start + way * t for t in np.linspace(0, 1, 7)]
    assert flagged(straight) == {}
    walk = list(np.cumsum(rng.standard_normal((12, 4096)) * 0.1, axis=0) + start)
    assert flagged(walk) == {}
    for place in range(1, 6):
        found = flagged([*straight[:place], stranger, *straight[place:]])
        assert found == {place: "discontinuous"}
    # At an end there is one neighbour alone.
    assert flagged([stranger, *straight]) == {}


def test_labels_that_are_swapped_are_out_of_order():
    rng = np.random.default_rng(0)
    walk = list(
        np.cumsum(rng.standard_normal((12, 4096)) * 0.1, axis=0) + rng.standard_normal(4096)
    )
    for place in range(1, 10):
        walk[place : place + 2] = walk[place : place + 2][::-1]
        assert flagged(walk) == dict.fromkeys((place, place + 1), "out_of_order")
        walk[place : place + 2] = walk[place : place + 2][::-1]


def test_a_training_that_goes_on_under_anothers_labels_is_a_break():
    rng = np.random.default_rng(0)
    start = rng.standard_normal(4096)
    walk = list(np.cumsum(rng.standard_normal((12, 4096)) * 0.1, axis=0) + start)
    other = list(np.cumsum(rng.standard_normal((12, 4096)) * 0.1, axis=0) - start)
    for place in range(2, 11):
        assert flagged([*walk[:place], *other[place:]]) == {place: "break"}


def test_labels_that_lie_farther_apart_are_no_break():
    rng = np.random.default_rng(0)
    steps = [8, 16, 24, 200, 208, 216]
    start = rng.standard_normal(4096)
    walk = start + np.cumsum(rng.standard_normal((216, 4096)) * 0.02, axis=0)
    chosen = [{"other": walk[step - 1]} for step in steps]
    assert continuity.continuity(chosen, steps) == {}
    assert continuity.continuity(chosen, range(6)) == {3: "break"}


def test_rounding_and_repeats_are_not_out_of_line():
    rng = np.random.default_rng(0)
    weights = rng.standard_normal(4096).astype(np.float32)
    same = [weights, weights.astype(np.float16).astype(np.float32), weights]
    assert flagged(same) == {}
    assert flagged([weights] * 5) == {}
    assert flagged([weights, weights[:9], weights]) == {}
