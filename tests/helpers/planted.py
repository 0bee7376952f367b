"""Synthetic runs with a planted dome or a planted peak.

Every shard is drawn from a law whose anisotropy and dimension are known, and goes through geometry
and curves as a model's would.
"""

import os

import numpy as np
import pandas as pd
from scipy import stats

from helpers.curves import by_checkpoint
from shapesweep import curves
from shapesweep.geometry import checkpoint
from shapesweep.geometry.layer import look
from shapesweep.metrics import METRICS
from shapesweep.storage import schemas
from shapesweep.storage.shards import Shard

#: Fixed beforehand. `make test-all` takes 100.
SEEDS = range(int(os.environ.get("SHAPESWEEP_SEEDS", "40")))
#: So many must agree: where each agrees with probability 0.95, fewer do in at most 2.5 % of cases.
LEAST = int(stats.binom.ppf(0.025, len(SEEDS), 0.95))
STEPS = (0, 1, 4, 16, 64, 256, 1024, 4096, 16384)
DOCUMENTS, LENGTH, GROUPS, FEATURES = 40, 16, 8, 40
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
        one = checkpoint.layer_of(shard, GROUPS)
        kept = {name: one.selections[name] for name in ("all", "no_first")}
        one = type(one)(one.points, one.documents, one.groups, None, kept, one.massive)
        for row, without in checkpoint.rows_of(shard, one, look(one, 512, metrics)):
            numbers.append(row)
            replicates += without
    tabled = [
        typed(pd.DataFrame(rows, columns=schema.names))
        for rows, schema in ((numbers, schemas.GEOMETRY), (replicates, schemas.REPLICATES))
    ]
    nothing = [schemas.LOSSES, schemas.CONTINUITY]
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
