"""The geometry: numbers per shard, each with its N, its error and its replicates.

Takes in the shards of a checkpoint; hands on rows of `contracts.GEOMETRY` and
`contracts.REPLICATES`. One covariance and one neighbour search a cloud serve all metrics.
What has been measured from the same shards already is kept.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from shapesweep import contracts, failures, progress, tables, whole
from shapesweep.config import GeometryConfig
from shapesweep.errors import ShapesweepError
from shapesweep.estimators import jackknife
from shapesweep.metrics import METRICS
from shapesweep.microscope import Layer, Number, look
from shapesweep.shards import (
    LENGTHS,
    ORIGINS,
    SELECTIONS,
    SENSITIVITY,
    Shard,
    in_order,
    read_shard,
)

#: Beside a checkpoint's tables, where it could not be had this time.
AGAIN = "again"
#: Of some selections only those metrics are measured that these are made for.
PARTIAL = {
    **{s: [name for name, one in METRICS.items() if one.sensitivity] for s in SENSITIVITY},
    **{s: [name for name, one in METRICS.items() if one.dose] for s in LENGTHS},
}

Row = dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """What has been measured of a checkpoint.

    Attributes
    ----------
    origins : dict
        For every corpus, what its shards were made `from`, and `by` which versions.
    geometry, replicates, losses : pandas.DataFrame
    state : str
        Of the shards, as `batches.state` says it; empty where nobody has, or where the checkpoint
        could not be had this time.
    """

    origins: dict[str, Any]
    geometry: pd.DataFrame
    replicates: pd.DataFrame
    losses: pd.DataFrame
    state: str = ""

    @classmethod
    def read(cls, folder: Path, settings: GeometryConfig) -> "Measured":
        """Read what `measure` has made; nothing, if it was made under other settings."""
        folder = Path(folder)
        try:
            made = tables.read_metadata(folder / "geometry.parquet")
            if made.get("settings") == _settings(settings):
                return cls(
                    made["origins"],
                    tables.read(folder / "geometry.parquet", contracts.GEOMETRY),
                    tables.read(folder / "replicates.parquet", contracts.REPLICATES),
                    tables.read(folder / "losses.parquet", contracts.LOSSES),
                    "" if (folder / AGAIN).exists() else made.get("state", ""),
                )
        except ShapesweepError:
            pass  # Absent, damaged or of an older version: it is measured anew.
        return cls.of({}, [], [], [])

    @classmethod
    def of(cls, origins: dict[str, Any], *rows: list[Row]) -> "Measured":
        """Make it of the rows of its three tables."""
        schemas = (contracts.GEOMETRY, contracts.REPLICATES, contracts.LOSSES)
        frames = [pd.DataFrame(r, columns=s.names) for r, s in zip(rows, schemas, strict=True)]
        return cls(origins, *frames)

    def versions(self, corpus: str) -> set[tuple[str, int]]:
        """(metric, version) of all that is measured of a corpus."""
        mine = self.geometry[self.geometry.corpus == corpus]
        pairs = mine[["metric", "metric_version"]].drop_duplicates()
        return {(metric, int(version)) for metric, version in pairs.itertuples(index=False)}

    def complete(self) -> dict[str, Any]:
        """Origins of the corpora of which every metric is there, in its present version.

        Where shards would be made `from` the same, they need not be made again.
        """
        wanted = {(name, metric.version) for name, metric in METRICS.items()}
        return {c: o for c, o in self.origins.items() if wanted <= self.versions(c)}

    def finished(self) -> str:
        """The state of which all is there; empty where metrics lack.

        A checkpoint that cannot be measured has a state, too.
        """
        return self.state if set(self.complete()) == set(self.origins) else ""

    def from_origins(self, origins: dict[str, Any]) -> "Measured":
        """What of it holds for shards of these origins, by metrics of today's versions."""
        same = {
            name: one
            for name, one in self.origins.items()
            if name in origins and one["from"] == origins[name]["from"]
        }
        versions = {name: metric.version for name, metric in METRICS.items()}
        frames = []
        for table in (self.geometry, self.replicates):
            today = table.metric.map(versions) == table.metric_version
            frames.append(table[table.corpus.isin(list(same)) & today])
        losses = self.losses[self.losses.corpus.isin(list(same))]
        return Measured(same, frames[0], frames[1], losses)

    def joined(self, other: "Measured") -> "Measured":
        """Both, in the order in which they would have been measured together."""
        order = ["corpus", "layer", "layer_kind", "selection", "metric", "k", "group"]
        made = []
        for field in fields(self)[1:4]:
            parts = [getattr(self, field.name), getattr(other, field.name)]
            table = pd.concat([part for part in parts if len(part)] or parts[:1])
            keys = [key for key in order if key in table]
            made.append(table.sort_values(keys, kind="stable", na_position="first"))
        return Measured({**other.origins, **self.origins}, *made)


def measure(
    activations: Path,
    out: Path,
    settings: GeometryConfig,
    part: progress.Part = progress.WHOLE,
    expected: str = "",
) -> str:
    """Measure the shards of a checkpoint; what `out` holds from the same origin is kept.

    Parameters
    ----------
    activations : path-like
        What `activations.extract` has made.
    out : path-like
        A folder, made whole or not at all: geometry, replicates, losses, failures and, of what
        was measured, the sample of its weights (`.parquet`).
    settings : GeometryConfig
    part : (int, int)
        Which of how many checkpoints this is, for who looks at the progress.
    expected : str
        The state that the shards must have; empty where any will do.

    Returns
    -------
    str
        What was done, in one line.

    Raises
    ------
    ShapesweepError
        If a shard is damaged, or the shards are of another state.
    """
    activations = Path(activations)
    failed = failures.recorded(activations)
    told = {} if failed else failures.read_json(activations / ORIGINS)
    state = failed.pop("state") if failed else told["state"]
    if expected and state != expected:
        raise ShapesweepError(
            f"{activations}: kept from other files, text or settings; remove it, and run again"
        )
    if failed:
        fresh = known = Measured.of({}, [], [], [])
    else:
        origins = told["corpora"]
        before = Measured.read(out, settings)
        if state and before.finished() == state and before.origins == origins:
            return f"0 numbers measured, {len(before.geometry)} kept"
        known = before.from_origins(origins)
        fresh = _measure(activations, origins, known, settings, part)
    made = known.joined(fresh)
    metadata = {
        "state": state,
        "origins": made.origins,
        "settings": _settings(settings),
    }
    with whole.folder(out) as partial:
        tables.write(made.geometry, contracts.GEOMETRY, partial / "geometry.parquet", metadata)
        tables.write(
            made.replicates, contracts.REPLICATES, partial / "replicates.parquet", metadata
        )
        tables.write(made.losses, contracts.LOSSES, partial / "losses.parquet", metadata)
        tables.write([failed] if failed else [], contracts.FAILURES, partial / "failures.parquet")
        if failed and failed["transient"]:
            (partial / AGAIN).touch()
        if not failed:
            shutil.copyfile(activations / "sample.parquet", partial / "sample.parquet")
    if failed:
        return f"not measured: {failed['reason']}"
    return f"{len(fresh.geometry)} numbers measured, {len(known.geometry)} kept"


def _settings(settings: GeometryConfig) -> Row:
    """What numbers are measured of, besides shards and metrics: of others, all is measured anew."""
    return {**settings.model_dump(), "selections": list(SELECTIONS)}


def _measure(
    activations: Path,
    origins: dict[str, Any],
    known: Measured,
    settings: GeometryConfig,
    part: progress.Part,
) -> Measured:
    losses = tables.read(activations / "losses.parquet", contracts.LOSSES)
    geometry: list[Row] = []
    replicates: list[Row] = []
    before: tuple[Path, Layer] | None = None
    for path in progress.track(in_order(activations), "measuring", "layers", part):
        done = known.versions(path.parent.name)
        missing = {n: metric for n, metric in METRICS.items() if (n, metric.version) not in done}
        if not missing:
            continue
        shard = read_shard(path)
        origin = origins[path.parent.name]
        if not {**origin["from"], "versions": origin["by"]}.items() <= shard.metadata.items():
            raise ShapesweepError(f"{path}: not made from what {ORIGINS} beside it says")
        layer = layer_of(shard, settings.groups)
        beside = before[1] if before and before[0] == path.parent else None
        numbers = look(layer, settings.n_points, missing, beside, PARTIAL)
        for row, without in rows_of(shard, layer, numbers):
            geometry.append(row)
            replicates += without
        before = path.parent, layer
    # The loss of a corpus that was not extracted again is known; a log is always told anew.
    again = losses.corpus.isin(list(known.losses.corpus.dropna()))
    made = Measured.of(origins, geometry, replicates, [])
    return Measured(origins, made.geometry, made.replicates, losses[~again])


def layer_of(shard: Shard, n_groups: int) -> Layer:
    """A shard as the microscope sees it."""
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
) -> list[tuple[Row, list[Row]]]:
    """Every number as a row of `contracts.GEOMETRY` with its rows of `contracts.REPLICATES`."""
    metadata = shard.metadata
    shared = {key: metadata[key] for key in ("suite", "run", "revision", "step")}
    shared |= {key: metadata[key] for key in ("corpus", "pooling", "layer", "layer_kind")}
    named = ("seed", "architecture", "n_layers", "tokens", "document_length", "n_documents")
    named_values = {key: metadata[key] for key in named}
    made = []
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
            made.append((row, replicates))
    return made
