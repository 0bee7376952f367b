"""A planted dome over depth is found with the true height, and is attributed to the sink."""

import numpy as np

from helpers.planted import (
    LEADING,
    LENGTH,
    MIN_AGREEING,
    N_TOKENS,
    SEEDS,
    bulk,
    expected,
    measured,
    rows_of,
)

#: For each layer, the shift of the first tokens along the leading axis. The shift causes a dome.
#: Without the shift, tokens have a variance of 10 along the leading axis, and of 1 along all other
#: axes.
SINK = (0.0, 10.0, 20.0, 25.0, 20.0, 10.0, 0.0)


SHARES = ("leading_share_first", "leading_share_massive", "leading_share_bulk")


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


#: Layers whose first tokens are shifted, and layers in which another token of each document is.
SINK_LAYERS, OTHER_LAYERS, N_LAYERS = range(12, 29), range(3, 10), 29


def test_shares_of_planted_sinks_are_exact():
    """First tokens are shifted in layers 12 to 28, and one other token per document in 3 to 9.

    The shares and the anisotropies of all layers have known values. The tolerance of the shares is
    four times the standard deviation of a variance that is estimated from the tokens (1/√(N/2) =
    6 %), times the share of the bulk, which is at most 0.15; there are 30 layers.
    """
    massive_at = np.arange(N_TOKENS) % LENGTH == LENGTH // 2
    agreeing = 0
    for seed in SEEDS:
        rng = np.random.default_rng([3, seed])
        layers = range(N_LAYERS + 1)
        shards = {(7, layer): bulk(rng, 60.0 * (layer in SINK_LAYERS)) for layer in layers}
        for layer in OTHER_LAYERS:
            shards[7, layer][massive_at, 0] += 60.0
        found = rows_of(["anisotropy", *SHARES], shards, n_layers=N_LAYERS)
        agrees = []
        for layer in layers:
            first, massive, rest = (found[layer, "all", name] for name in SHARES)
            sink, other = layer in SINK_LAYERS, layer in OTHER_LAYERS
            expected_first = share_of(60.0 * (sink or other), is_shifted=sink)
            expected_massive = share_of(60.0) if other else 0.0
            agrees.append(
                abs(first - expected_first) < 0.04
                and abs(massive - expected_massive) < 0.04
                and abs(first + massive + rest - 1) < 1e-9
                and abs(found[layer, "no_first", "anisotropy"] - expected(60 * other)) < 0.1
                and abs(found[layer, "no_other_massive", "anisotropy"] - expected(60 * sink)) < 0.1
            )
        agreeing += all(agrees)
    assert agreeing >= MIN_AGREEING


def share_of(shift, is_shifted=True):
    """Return the expected share of one token per document in the variance along the leading axis.

    If a share p of the tokens is shifted by A, these tokens have the mean (1-p)A, and all others
    the mean -pA.
    """
    p = 1 / LENGTH
    total = LEADING + p * (1 - p) * shift**2
    mean = (1 - p) * shift if is_shifted else -p * shift
    return p * (LEADING + mean**2) / total


def test_no_dome_is_found_without_a_planted_one():
    shapes = [dome_of(seed, (0.0,) * 7)["shape"] for seed in SEEDS]
    assert sum(set(names) == {"flat"} for names in shapes) >= MIN_AGREEING
