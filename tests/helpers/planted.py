"""Synthetic runs with a planted dome or a planted course of the ID.

The shards are drawn from distributions with known anisotropy and dimension. The tests pass these
shards through `geometry` and `curves` as if a model had produced them.
"""

import dataclasses
import os

import numpy as np
from scipy import stats

from helpers.curves import as_read, build
from shapesweep.geometry import checkpoint
from shapesweep.geometry.measure import measure_layer
from shapesweep.metrics import METRICS
from shapesweep.storage import schemas
from shapesweep.storage.shards import Shard

#: Random seeds of the runs, set in advance. `make test-all` uses 100 seeds.
SEEDS = range(int(os.environ.get("SHAPESWEEP_SEEDS", "40")))
#: The minimum number of seeds with the expected result. If each seed has the expected result with
#: probability 0.95, the probability that fewer seeds have it is at most 2.5 %.
MIN_AGREEING = int(stats.binom.ppf(0.025, len(SEEDS), 0.95))
STEPS = (0, *(int(1.6**n) for n in range(2, 21)))
DOCUMENTS, LENGTH, GROUPS, FEATURES = 40, 16, 16, 40
N_TOKENS = DOCUMENTS * LENGTH
#: Variance of the bulk along its leading axis. If all axes had the same variance, sampling noise
#: would raise the largest eigenvalue by half. With a leading axis, sampling noise raises the
#: largest eigenvalue by less than 1 %.
LEADING = 10.0


def cloud(rng, dimension, shared):
    """Return tokens with a known intrinsic dimension.

    Tokens are uniform in a cube of `dimension` dimensions. If `dimension` is fractional, a share of
    the tokens has one more dimension. A rotation distributes the dimensions over all features.
    `shared` contains random numbers that all steps share.
    """
    low = int(dimension)
    points = np.zeros((N_TOKENS, FEATURES))
    points[:, :low] = shared[:, :low]
    more = rng.uniform(size=N_TOKENS) < dimension - low
    points[more, low] = shared[more, low]
    return points @ np.linalg.qr(rng.standard_normal((FEATURES, FEATURES)))[0]


def bulk(rng, sink):
    """Return Gaussian tokens, with the first tokens shifted by `sink` along the leading axis."""
    points = rng.standard_normal((N_TOKENS, FEATURES))
    points[:, 0] *= np.sqrt(LEADING)
    points[::LENGTH, 0] += sink
    return points


def expected(sink):
    """Return the expected anisotropy of the tokens that `bulk` returns.

    If a share p of the tokens is shifted by A, the leading variance increases by p(1-p)A².
    """
    p = 1 / LENGTH
    added = p * (1 - p) * sink**2
    return (LEADING + added) / (LEADING + FEATURES - 1 + added)


def measured(metric_names, shards, n_layers):
    """Return the curves of a run with a single corpus.

    `shards` contains the points of the run by step and layer.
    """
    numbers, replicates = [], []
    for row, replicate_rows in _rows(metric_names, shards, n_layers):
        numbers.append(dict.fromkeys(schemas.GEOMETRY.names) | row)
        replicates += [dict.fromkeys(schemas.REPLICATES.names) | each for each in replicate_rows]
    return build(as_read(numbers, schemas.GEOMETRY), as_read(replicates, schemas.REPLICATES))


def rows_of(metric_names, shards, n_layers):
    """Return the values of a checkpoint by layer, selection and metric."""
    return {
        (row["layer"], row["selection"], row["metric"]): row["value"]
        for row, _ in _rows(metric_names, shards, n_layers)
    }


def _rows(metric_names, shards, n_layers):
    metrics = {name: METRICS[name] for name in metric_names}
    for (step, layer), points in shards.items():
        shard = Shard(
            metadata(step, layer, n_layers),
            np.repeat(np.arange(DOCUMENTS, dtype=np.int32), LENGTH),
            np.tile(np.arange(LENGTH, dtype=np.int32), DOCUMENTS),
            *[np.arange(N_TOKENS, dtype=np.int32)] * 2,
            points.astype(np.float32),
        )
        whole = checkpoint.layer_of(shard, GROUPS)
        names = ("all", "no_first", "no_other_massive")
        selections = {name: whole.selections[name] for name in names}
        layer_data = dataclasses.replace(whole, contexts=None, selections=selections, draws={})
        partial = {"no_other_massive": ["anisotropy"]}
        values = measure_layer(layer_data, 512, metrics, partial=partial)
        yield from checkpoint.rows_of(shard, layer_data, values)


def metadata(step, layer, n_layers):
    return {
        "suite": "planted", "run": "run", "seed": None, "revision": f"step{step}", "step": step,
        "tokens": None, "architecture": "LlamaForCausalLM", "n_layers": n_layers,
        "corpus": "text", "pooling": "tokens", "layer": layer,
        "layer_kind": "block" if layer else "embedding", "document_length": LENGTH,
        "n_documents": DOCUMENTS, "n_prefix": 1, "n_suffix": 0, "causal": True,
    }  # fmt: skip
