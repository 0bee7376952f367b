"""Measure the shards of a checkpoint: every metric with its N, standard error and replicates.

Numbers that were measured from equal shards before are kept.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from shapesweep import progress
from shapesweep.config.measurement import GeometryConfig, Measurement
from shapesweep.errors import ShapesweepError
from shapesweep.estimators import jackknife
from shapesweep.geometry.layer import Layer, Number, measure_layer
from shapesweep.geometry.measured import Measured
from shapesweep.metrics import METRICS
from shapesweep.storage import failures, schemas, tables
from shapesweep.storage.selections import LENGTHS, SENSITIVITY
from shapesweep.storage.shards import ORIGINS, Shard, in_order, read_shard

#: Metrics of the selections for which only some are measured.
PARTIAL = {
    **{s: [name for name, metric in METRICS.items() if metric.sensitivity] for s in SENSITIVITY},
    **{s: [name for name, metric in METRICS.items() if metric.dose] for s in LENGTHS},
}


def measure(
    activations: Path, out: Path, settings: Measurement, part: progress.Part = progress.WHOLE
) -> str:
    """Measure the shards of a checkpoint; numbers in `out` with the same origin are kept.

    Parameters
    ----------
    activations : path-like
        Folder that `activations.extract` wrote.
    out : path-like
        Folder of `Measured`, which is replaced atomically.
    settings : Measurement
    part : (int, int)
        Number of this checkpoint and number of all, for the progress.

    Returns
    -------
    str
        Message in one line.

    Raises
    ------
    ShapesweepError
        If a shard is absent or damaged.
    """
    activations = Path(activations)
    origins = failures.read_json(activations / ORIGINS)
    before = Measured.read(out, settings)
    known = before.from_origins(origins["corpora"])
    fresh = _measure(activations, origins["corpora"], known, settings.geometry, part)
    joined = known.joined(fresh)
    samples = tables.read(activations / "samples.parquet", schemas.SAMPLES)
    vocabulary = tables.read_metadata(activations / "samples.parquet").get("vocabulary")
    replace(
        joined, samples=samples, vocabulary=vocabulary, fingerprint=origins["fingerprint"]
    ).write(out, settings)
    return f"{len(fresh.geometry)} numbers measured, {len(known.geometry)} kept"


def _measure(
    activations: Path,
    origins: dict[str, Any],
    known: Measured,
    settings: GeometryConfig,
    part: progress.Part,
) -> Measured:
    losses = tables.read(activations / "losses.parquet", schemas.LOSSES)
    geometry: list[dict[str, Any]] = []
    replicates: list[dict[str, Any]] = []
    before: tuple[Path, Layer] | None = None
    for path in progress.track(in_order(activations), "measuring", "layers", part):
        done = known.versions(path.parent.name)
        missing = {n: metric for n, metric in METRICS.items() if (n, metric.version) not in done}
        if not missing:
            continue
        shard = read_shard(path)
        origin = origins[path.parent.name]
        if not {**origin["from"], "versions": origin["by"]}.items() <= shard.metadata.items():
            raise ShapesweepError(f"{path}: does not match {ORIGINS} beside it")
        layer = layer_of(shard, settings.groups)
        beside = before[1] if before and before[0] == path.parent else None
        numbers = measure_layer(layer, settings.n_points, missing, beside, PARTIAL)
        for row, without in rows_of(shard, layer, numbers):
            geometry.append(row)
            replicates += without
        before = path.parent, layer
    # Losses of corpora that were not extracted again are kept.
    again = losses.corpus.isin(list(known.losses.corpus.dropna()))
    return Measured(
        origins,
        pd.DataFrame(geometry, columns=schemas.GEOMETRY.names),
        pd.DataFrame(replicates, columns=schemas.REPLICATES.names),
        losses[~again],
    )


def layer_of(shard: Shard, n_groups: int) -> Layer:
    """A shard as a `Layer`."""
    n_groups = min(n_groups, shard.metadata["n_documents"])
    return Layer(
        shard.activation,
        shard.document,
        jackknife.assign_groups(shard.document, n_groups),
        shard.contexts(),
        {selection: shard.selected(selection) for selection in shard.selections},
        shard.massive(),
    )


def rows_of(
    shard: Shard, layer: Layer, numbers: Mapping[str, list[Number]]
) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Every number as a row of `schemas.GEOMETRY`, with its rows of `schemas.REPLICATES`."""
    metadata = shard.metadata
    shared = {key: metadata[key] for key in ("suite", "run", "revision", "step")}
    shared |= {key: metadata[key] for key in ("corpus", "pooling", "layer", "layer_kind")}
    named = ("seed", "architecture", "n_layers", "tokens", "document_length", "n_documents")
    named_values = {key: metadata[key] for key in named}
    rows = []
    for selection, found in numbers.items():
        n_dropped = int((~layer.selections[selection]).sum())
        for number in found:
            own = {"selection": selection, "metric": number.metric, "k": number.k}
            own |= {"n_points": number.n_points, "metric_version": number.version}
            row = {
                **shared,
                **own,
                **named_values,
                "document_length": LENGTHS.get(selection, metadata["document_length"]),
                "value": number.value,
                "stderr": number.stderr,
                "model_stderr": number.model_stderr,
                "n_duplicates": number.n_duplicates,
                "n_dropped": n_dropped,
                "radius": number.radius,
                "flag": ",".join(number.flags),
            }
            replicates = [
                {**shared, **own, "group": g, "value": v} for g, v in enumerate(number.replicates)
            ]
            rows.append((row, replicates))
    return rows
