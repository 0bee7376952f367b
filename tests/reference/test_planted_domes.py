"""A planted dome over depth is found with the true height, and is attributed to the sink."""

import numpy as np

from helpers.planted import MIN_AGREEING, SEEDS, bulk, expected, measured

#: For each layer, the shift of the first tokens along the leading axis. The shift causes a dome.
#: Without the shift, tokens have a variance of 10 along the leading axis, and of 1 along all other
#: axes.
SINK = (0.0, 10.0, 20.0, 25.0, 20.0, 10.0, 0.0)


def dome_of(seed, sinks):
    """Return the anisotropy shapes of a checkpoint, indexed by selection (`all` or `no_first`)."""
    rng = np.random.default_rng([2, seed])
    shards = {(7, layer): bulk(rng, sink) for layer, sink in enumerate(sinks)}
    shapes = measured(["anisotropy"], shards, n_layers=6)["shapes"]
    return shapes[shapes.metric == "anisotropy"].set_index("selection")


def test_a_planted_dome_is_found_with_its_height_and_attributed_to_the_sink():
    truth = expected(max(SINK)) - expected(0)
    runs = [dome_of(seed, SINK) for seed in SEEDS]
    domes = [shapes.loc["all"] for shapes in runs]
    # Each interval is tested separately, because its confidence level is 95 %.
    assert sum(dome.height_low <= truth <= dome.height_high for dome in domes) >= MIN_AGREEING
    assert sum(dome.centre_low <= 0.5 <= dome.centre_high for dome in domes) >= MIN_AGREEING
    assert sum(dome["shape"] == "dome" for dome in domes) >= MIN_AGREEING
    # Without the first tokens, the dome disappears.
    assert sum(shapes.loc["no_first"]["shape"] == "flat" for shapes in runs) >= MIN_AGREEING
    is_sink = [dome.sink_share_low <= 1 and dome.sink_share > 0.9 for dome in domes]
    assert sum(is_sink) >= MIN_AGREEING


def test_no_dome_is_found_without_a_planted_one():
    shapes = [dome_of(seed, (0.0,) * 7)["shape"] for seed in SEEDS]
    assert sum(set(names) == {"flat"} for names in shapes) >= MIN_AGREEING
