"""A synthetic suite: a planted dome and a planted peak come back, and a flat one shows neither.

Every shard is drawn from a law whose anisotropy and dimension are known, and goes through the
microscope and the curves as a model's would. 100 seeds, fixed beforehand.
"""

import numpy as np
import pandas as pd
import pytest

from helpers.curves import by_checkpoint
from shapesweep import contracts, curves, geometry
from shapesweep.metrics import METRICS
from shapesweep.microscope import look
from shapesweep.shards import Shard

SEEDS = range(100)
#: So many of the 100 must agree; nominally 95 do.
LEAST = 90
STEPS = (0, 1, 4, 16, 64, 256, 1024, 4096, 16384)
DOCUMENTS, LENGTH, GROUPS, FEATURES = 40, 16, 8, 40
#: ID of the middle blocks at every step: the planted peak is at step 256.
PEAKED = (3.0, 3.0, 4.0, 6.0, 8.0, 10.0, 8.0, 6.0, 5.0)
RISING = (3.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 8.5, 9.0)
#: Two trainings differ by so much in the number of dimensions, one standard deviation.
TRAINING = 0.3
#: Of the first token, in bulk standard deviations, by layer: a dome that is a sink.
SINK = (0.0, 10.0, 20.0, 25.0, 20.0, 10.0, 0.0)
#: Variance of the bulk along that axis. Of a bulk without a leading one, a finite number of tokens
#: makes one, half again as large as the others; this one it raises by under a hundredth.
LEADING = 10.0


def cloud(rng, dimension, shared):
    """Tokens of a known ID, the same ones at every step.

    Uniform in a cube of so many dimensions (a share of the tokens in one more, for a fractional
    one), turned into the features, so that no axis is special.
    """
    low = int(dimension)
    n = DOCUMENTS * LENGTH
    points = np.zeros((n, FEATURES))
    points[:, :low] = shared[:, :low]
    more = rng.uniform(size=n) < dimension - low
    points[more, low] = shared[more, low]
    return points @ np.linalg.qr(rng.standard_normal((FEATURES, FEATURES)))[0]


def bulk(rng, sink):
    """Normal tokens with one leading axis, along which the first of each document is pushed."""
    points = rng.standard_normal((DOCUMENTS * LENGTH, FEATURES))
    points[:, 0] *= np.sqrt(LEADING)
    points[::LENGTH, 0] += sink
    return points


def expected(sink):
    """Anisotropy of `bulk`: the sink adds p(1-p)A² along its leading axis."""
    p = 1 / LENGTH
    added = p * (1 - p) * sink**2
    return (LEADING + added) / (LEADING + FEATURES - 1 + added)


def measured(metric_names, shards, n_layers):
    """The curves of shards, (step, layer) by (points); a run of one corpus."""
    metrics = {name: METRICS[name] for name in metric_names}
    numbers, replicates = [], []
    for (step, layer), points in shards.items():
        shard = Shard(
            metadata(step, layer, n_layers),
            np.repeat(np.arange(DOCUMENTS, dtype=np.int32), LENGTH),
            np.tile(np.arange(LENGTH, dtype=np.int32), DOCUMENTS),
            np.arange(DOCUMENTS * LENGTH, dtype=np.int32),
            points.astype(np.float32),
        )
        one = geometry.layer_of(shard, GROUPS)
        kept = {name: one.selections[name] for name in ("all", "no_first")}
        one = type(one)(one.points, one.documents, one.groups, None, kept, one.massive)
        for row, without in geometry.rows_of(shard, one, look(one, 512, metrics)):
            numbers.append(row)
            replicates += without
    tabled = [
        typed(pd.DataFrame(rows, columns=schema.names))
        for rows, schema in ((numbers, contracts.GEOMETRY), (replicates, contracts.REPLICATES))
    ]
    nothing = [contracts.LOSSES, contracts.HISTORY, contracts.CONTINUITY]
    empty = [pd.DataFrame(columns=schema.names) for schema in nothing]
    return curves.build(tabled[0], by_checkpoint(tabled[1]), *empty)


def typed(frame):
    for name in ("seed", "tokens", "k", "step"):
        if name in frame:
            frame[name] = frame[name].astype("Int64")
    return frame


def metadata(step, layer, n_layers):
    return {
        "suite": "planted", "run": "run", "seed": None, "revision": f"step{step}", "step": step,
        "tokens": None, "architecture": "LlamaForCausalLM", "n_layers": n_layers,
        "corpus": "text", "pooling": "tokens", "layer": layer,
        "layer_kind": "block" if layer else "embedding", "document_length": LENGTH,
        "n_documents": DOCUMENTS, "n_prefix": 1, "n_suffix": 0, "causal": True,
    }  # fmt: skip


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
