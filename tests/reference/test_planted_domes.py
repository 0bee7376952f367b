"""A planted dome over depth comes back with its height, and a sink is recognized as one."""

import numpy as np

from helpers.planted import LEAST, SEEDS, bulk, expected, measured

#: Of the first token, in bulk standard deviations, by layer: a dome that is a sink.
SINK = (0.0, 10.0, 20.0, 25.0, 20.0, 10.0, 0.0)


def dome_of(seed, sinks):
    """The shapes of one checkpoint, with all tokens and without the first."""
    rng = np.random.default_rng([2, seed])
    shards = {(7, layer): bulk(rng, sink) for layer, sink in enumerate(sinks)}
    made = measured(["anisotropy"], shards, n_layers=6)["shapes"]
    return made[made.metric == "anisotropy"].set_index("selection")


def test_a_planted_dome_comes_back_with_its_height_and_is_known_for_a_sink():
    truth = expected(max(SINK)) - expected(0)
    found = [dome_of(seed, SINK) for seed in SEEDS]
    every = [one.loc["all"] for one in found]
    # Each interval is one of 95 %: of two at once, 90 would be nominal.
    assert sum(one.height_low <= truth <= one.height_high for one in every) >= LEAST
    assert sum(one.centre_low <= 0.5 <= one.centre_high for one in every) >= LEAST
    assert sum(one["shape"] == "dome" for one in every) >= LEAST
    # Without the first token nothing is left of it.
    assert sum(one.loc["no_first"]["shape"] == "flat" for one in found) >= LEAST
    assert sum(one.sink_share_low <= 1 and one.sink_share > 0.9 for one in every) >= LEAST


def test_where_no_dome_is_planted_none_is_found():
    found = [dome_of(seed, (0.0,) * 7)["shape"] for seed in SEEDS]
    assert sum(set(one) == {"flat"} for one in found) >= LEAST
