"""Measure all metrics of a checkpoint's shards, with standard errors and replicates.

Numbers that an earlier job measured from identical shards are kept.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from shapesweep import progress
from shapesweep.checkpoint import facts
from shapesweep.config.measurement import GeometryConfig, Measurement
from shapesweep.errors import ShapesweepError
from shapesweep.estimators import jackknife
from shapesweep.geometry import subsamples
from shapesweep.geometry.layer import Layer, Number
from shapesweep.geometry.measure import measure_layer
from shapesweep.geometry.measured import Measured
from shapesweep.metrics import METRICS
from shapesweep.storage import failures, schemas, tables
from shapesweep.storage.selections import LENGTHS, SELECTIONS, SENSITIVITY, WITHOUT
from shapesweep.storage.shards import ORIGINS, Shard, in_order, read_shard


def _names(selection: str) -> list[str]:
    """Return the names of the metrics that are measured for a selection."""
    if selection in WITHOUT:
        return ["anisotropy"]
    if selection in SENSITIVITY:
        return [name for name, metric in METRICS.items() if metric.sensitivity]
    if selection in LENGTHS:
        return [name for name, metric in METRICS.items() if metric.dose]
    every = selection == "all"
    return [name for name, metric in METRICS.items() if every or not metric.of_all]


#: For every selection, the names of the metrics that are measured.
PARTIAL = {selection: _names(selection) for selection in SELECTIONS}


def measure(
    activations: Path, out: Path, settings: Measurement, part: progress.Part = progress.WHOLE
) -> str:
    """Measure the shards of a checkpoint, and write the numbers to `out`.

    Numbers that `out` already contains for shards of the same origin are kept.

    Parameters
    ----------
    activations : path-like
        Folder that `activations.extract` wrote.
    out : path-like
        Folder that `Measured` reads and writes. It is replaced atomically.
    settings : Measurement
    part : (int, int)
        Index of this checkpoint and number of checkpoints, for the progress bar.

    Returns
    -------
    str
        Message of one line.

    Raises
    ------
    ShapesweepError
        If a shard is absent or damaged.
    """
    origins = failures.read_json(activations / ORIGINS)
    known = Measured.read(out, settings).from_origins(origins["corpora"])
    fresh = _measure(activations, origins, known, settings.geometry, part)
    known.joined(fresh).write(out, settings)
    return f"{len(fresh.geometry)} numbers measured, {len(known.geometry)} kept"


def _measure(
    activations: Path,
    origins: dict[str, Any],
    known: Measured,
    settings: GeometryConfig,
    part: progress.Part,
) -> Measured:
    losses = tables.read(activations / "losses.parquet", schemas.OF_CHECKPOINT["losses"])
    geometry: list[dict[str, Any]] = []
    replicates: list[dict[str, Any]] = []
    before: tuple[tuple[Path, Any], Layer] | None = None
    for path in progress.track(in_order(activations), "measuring", "layers", part):
        done = known.metrics if path.parent.name in known.origins else {}
        missing = {name: metric for name, metric in METRICS.items() if name not in done}
        if not missing:
            continue
        shard = read_shard(path)
        origin = origins["corpora"][path.parent.name]
        if not {**origin["from"], "versions": origin["by"]}.items() <= shard.metadata.items():
            raise ShapesweepError(f"{path}: the shard does not match the checkpoint's {ORIGINS}")
        layer = layer_of(shard, settings.groups)
        place = path.parent, shard.metadata.get("stack")
        beside = before[1] if before and before[0] == place else None
        numbers = measure_layer(layer, settings.n_points, missing, beside, PARTIAL)
        for row, without in rows_of(shard, layer, numbers):
            geometry.append(row)
            replicates += without
        before = place, layer
    samples = activations / "samples.parquet"
    return Measured(
        origins["corpora"],
        pd.DataFrame(geometry, columns=schemas.OF_CHECKPOINT["geometry"].names),
        pd.DataFrame(replicates, columns=schemas.OF_CHECKPOINT["replicates"].names),
        # `joined` adds the kept losses, so omit new losses of corpora with kept losses.
        losses[~losses.corpus.isin(known.losses.corpus)],
        tables.read(samples, schemas.SAMPLES),
        tables.read_metadata(samples).get("vocabulary"),
        origins["fingerprint"],
        {name: metric.version for name, metric in METRICS.items()},
    )


def layer_of(shard: Shard, n_groups: int) -> Layer:
    """Convert a shard to a `Layer`."""
    n_groups = min(n_groups, shard.metadata["n_documents"])
    pooling = shard.metadata["pooling"]
    drawn = (
        {}
        if pooling == "last"
        else subsamples.draw(
            shard.document,
            shard.token if pooling == "tokens" else None,
            shard.selected("no_first"),
        )
    )
    return Layer(
        shard.activation,
        {name: getattr(shard, name) for name in ("document", "token", "position")},
        jackknife.assign_groups(shard.document, n_groups),
        shard.context,
        {selection: shard.selected(selection) for selection in shard.selections},
        shard.massive(),
        ~shard.selected("no_first"),
        drawn,
    )


def rows_of(
    shard: Shard, layer: Layer, numbers: Mapping[str, list[Number]]
) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Return every number as a row of `schemas.GEOMETRY`, with its rows of `schemas.REPLICATES`."""
    names = schemas.OF_CHECKPOINT["geometry"].names
    of_replicates = schemas.OF_CHECKPOINT["replicates"].names
    rows = []
    family = facts.family(shard.metadata["causal"])
    for selection, found in numbers.items():
        length = LENGTHS.get(selection, shard.metadata["document_length"])
        kept = layer.selections.get(selection)
        shared = {
            **shard.metadata,
            "family": family,
            "selection": selection,
            "document_length": length,
        }
        for number in found:
            known = {
                "stack": None,
                **shared,
                **vars(number),
                "metric_version": METRICS[number.metric].version,
                "stderr": number.stderr,
                "without_group": number.without_group,
                "n_dropped": len(layer.points)
                - int(number.n_points if kept is None else kept.sum()),
                "flag": ",".join(number.flags),
            }
            of_each = {name: known.get(name) for name in of_replicates}
            replicates = [
                {**of_each, "group": g, "value": v} for g, v in enumerate(number.replicates)
            ]
            rows.append(({name: known[name] for name in names}, replicates))
    return rows
