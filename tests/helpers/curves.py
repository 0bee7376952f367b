"""Tables of runs with known curves, which tests pass to `curves.build`."""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from shapesweep import curves
from shapesweep.estimators import jackknife
from shapesweep.storage import schemas, tables

STEPS = (0, 1, 10, 100, 1000)
#: Positions of a run whose names contain tokens and no steps.
TOKENS = (16_200_000_000, 16_780_000_000, 10**11, 5 * 10**11, 10**12)
GROUPS = 8
#: The curves on which the claim of two phases is tested.
TESTED = {
    "paper": {"corpus": "text", "selection": "no_first", "metric": "id_twonn"},
    "control": {"corpus": "passages", "selection": "one_per_document", "metric": "id_twonn"},
}
#: Values of `make` for the control.
CONTROL = {"corpus": "passages", "pooling": "passages", "selection": "one_per_document"}


def number(step, layer, metric, value, **more):
    kind = "embedding" if layer == 0 else "block"
    return dict.fromkeys(schemas.GEOMETRY.names) | {
        "suite": "s", "run": "decoder", "architecture": "LlamaForCausalLM", "n_layers": 6,
        "family": "decoder",
        "revision": f"checkpoint-{step}", "step": step, "corpus": "text", "pooling": "tokens",
        "layer": layer, "layer_kind": kind, "selection": "no_first", "metric": metric,
        "value": value, "n_points": 100, "document_length": 16, "n_documents": 16, "flag": "",
        "metric_version": 1, "n_duplicates": 0, "n_dropped": 0,
    } | more  # fmt: skip


def make(trajectory, noise, metrics=("id_twonn", "anisotropy"), steps=STEPS, **more):
    """Return the geometry and replicates of a run in which every block follows a trajectory."""
    rng = np.random.default_rng(0)
    # The documents have the same effect at every step, so steps can be compared by paired
    # differences.
    shared = rng.standard_normal(GROUPS) * noise
    rows = []
    for metric in metrics:
        for step, value in zip(steps, trajectory, strict=True):
            for layer in range(7):
                without = value + layer + shared + rng.standard_normal(GROUPS) * noise / 10
                error = float(jackknife.stderr(without))
                row = number(step, layer, metric, value + layer, stderr=error, **more)
                rows.append((row, without))
    return as_tables(rows)


def as_tables(rows):
    """Return the tables of geometry and replicates.

    Each item of `rows` contains a row of the geometry table, and the replicates of its value.
    """
    replicates = [
        {key: row[key] for key in schemas.REPLICATES.names if key in row} | {"group": g, "value": v}
        for row, without in rows
        for g, v in enumerate(without)
    ]
    geometry = [row for row, _ in rows]
    return as_read(geometry, schemas.GEOMETRY), as_read(replicates, schemas.REPLICATES)


def joined(*parts):
    """Concatenate the geometry tables of several runs, and also the replicate tables."""
    return [pd.concat(tables_) for tables_ in zip(*parts, strict=True)]


def as_read(rows, schema):
    """Write rows to a file, read the file, and return the table."""
    with tempfile.TemporaryDirectory() as folder:
        tables.write(rows, schema, Path(folder) / "table.parquet")
        return tables.read(Path(folder) / "table.parquet", schema)


def build(geometry, replicates, losses=(), continuity=(), copies=()):
    """Return the tables of curves. `losses`, `continuity` and `copies` are lists of rows."""
    others = [
        as_read(list(rows), schema)
        for rows, schema in (
            (losses, schemas.LOSSES),
            (continuity, schemas.CONTINUITY),
            (copies, schemas.COPIES),
        )
    ]
    return curves.build(geometry, by_checkpoint(replicates), *others, TESTED)


def write_curves(results, folder):
    """Write the tables of curves. A table without results is written without rows."""
    for name in {**results, "missing": None, "budgets": None}:
        schema = getattr(schemas, name.upper())
        tables.write(results.get(name, []), schema, folder / f"{name}.parquet")


def by_checkpoint(replicates):
    """Return a function that looks up replicates in a table. `curves.build` calls this function."""

    def replicates_of(suite, run, revisions):
        is_run = (replicates.suite == suite) & (replicates.run == run)
        return replicates[is_run & replicates.revision.isin(revisions)]

    return replicates_of
