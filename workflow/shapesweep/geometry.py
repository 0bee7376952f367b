"""The geometry: numbers per shard, each with its N, its error and its replicates.

Takes in the shards of a checkpoint; hands on rows of `tables.GEOMETRY` and
`tables.REPLICATES`. One covariance and one neighbour search a cloud serve all metrics.
What has been measured from the same shards already is kept.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shapesweep import failures, progress, tables
from shapesweep.config import GeometryConfig
from shapesweep.errors import ShapesweepError
from shapesweep.estimators import jackknife, neighbors
from shapesweep.estimators.cloud import Neighbors, clouds
from shapesweep.metrics import METRICS, CloudMetric, Metric, NeighborMetric
from shapesweep.shards import ORIGINS, Shard, read_shard

SELECTIONS = ("all", "no_first")
#: Neighbours kept a point, so that some are left whichever group of documents is left out: at
#: least so many, and so many times the most that a metric asks for.
LIST_LENGTH, LIST_FACTOR = 16, 2
#: A distance of fewer float32 units in the last place than this is mostly rounding (a state is a
#: sum over features and blocks); more than this share of such points, and the shard is flagged.
ROUNDING, ROUNDING_SHARE = 32, 0.01
#: Seed of the one permutation of tokens from which the N points of every cloud are taken.
PERMUTATION_SEED = 0

#: Beside a checkpoint's tables, where it could not be had this time.
AGAIN = "again"

Row = dict[str, Any]


@dataclass(frozen=True)
class Measured:
    """What has been measured of a checkpoint.

    Attributes
    ----------
    origins : dict
        For every corpus, what its shards were made `from`, and `by` which versions.
    geometry, replicates, losses : pandas.DataFrame
    """

    origins: dict[str, Any]
    geometry: pd.DataFrame
    replicates: pd.DataFrame
    losses: pd.DataFrame

    @classmethod
    def read(cls, folder: Path, settings: GeometryConfig) -> "Measured":
        """Read what `measure` has made; nothing, if it was made under other settings."""
        folder = Path(folder)
        try:
            made = tables.read_metadata(folder / "geometry.parquet")
            if made.get("settings") == settings.model_dump():
                return cls(
                    made["origins"],
                    tables.read(folder / "geometry.parquet", tables.GEOMETRY),
                    tables.read(folder / "replicates.parquet", tables.REPLICATES),
                    tables.read(folder / "losses.parquet", tables.LOSSES),
                )
        except ShapesweepError:
            pass  # Absent, damaged or of an older version: it is measured anew.
        return cls.of({}, [], [], [])

    @classmethod
    def of(cls, origins: dict[str, Any], *rows: list[Row]) -> "Measured":
        """Make it of the rows of its three tables."""
        schemas = (tables.GEOMETRY, tables.REPLICATES, tables.LOSSES)
        frames = [pd.DataFrame(r, columns=s.names) for r, s in zip(rows, schemas, strict=True)]
        return cls(origins, *frames)

    def versions(self, corpus: str) -> set[tuple[str, int]]:
        """(metric, version) of all that is measured of a corpus."""
        mine = self.geometry[self.geometry.corpus == corpus]
        pairs = mine[["metric", "metric_version"]].drop_duplicates()
        return {(metric, int(version)) for metric, version in pairs.itertuples(index=False)}

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
        order = ["corpus", "layer", "layer_kind", "selection", "metric", "group"]
        made = []
        for field in fields(self)[1:]:
            parts = [getattr(self, field.name), getattr(other, field.name)]
            table = pd.concat([part for part in parts if len(part)] or parts[:1])
            keys = [key for key in order if key in table]
            made.append(table.sort_values(keys, kind="stable", na_position="first"))
        return Measured({**other.origins, **self.origins}, *made)


def complete(folder: Path, settings: GeometryConfig) -> dict[str, Any]:
    """Corpora of which every metric has been measured already, in its present version.

    Parameters
    ----------
    folder : path-like
        What `measure` has made, if anything.
    settings : GeometryConfig

    Returns
    -------
    dict
        By corpus, the origin of its shards: where it is `from` the same, they need not be
        extracted again.
    """
    known = Measured.read(folder, settings)
    wanted = {(name, metric.version) for name, metric in METRICS.items()}
    return {
        corpus: origin
        for corpus, origin in known.origins.items()
        if wanted <= known.versions(corpus)
    }


def measure(activations: Path, out: Path, settings: GeometryConfig) -> str:
    """Measure the shards of a checkpoint; what `out` holds from the same origin is kept.

    Parameters
    ----------
    activations : path-like
        What `activations.extract` has made.
    out : path-like
        A folder, made whole or not at all: geometry, replicates, losses, failures and, of what
        was measured, the sample of its weights (`.parquet`).
    settings : GeometryConfig

    Returns
    -------
    str
        What was done, in one line.
    """
    activations = Path(activations)
    failed = failures.recorded(activations)
    if failed:
        known = fresh = Measured.of({}, [], [], [])
    else:
        origins = json.loads((activations / ORIGINS).read_bytes())
        known = Measured.read(out, settings).from_origins(origins)
        fresh = _measure(activations, origins, known, settings)
    made = known.joined(fresh)
    metadata = {"origins": made.origins, "settings": settings.model_dump()}
    with tables.whole_folder(out) as partial:
        tables.write(made.geometry, tables.GEOMETRY, partial / "geometry.parquet", metadata)
        tables.write(made.replicates, tables.REPLICATES, partial / "replicates.parquet", metadata)
        tables.write(made.losses, tables.LOSSES, partial / "losses.parquet", metadata)
        tables.write([failed] if failed else [], tables.FAILURES, partial / "failures.parquet")
        if failed and failed["transient"]:
            (partial / AGAIN).touch()
        if not failed:
            shutil.copyfile(activations / "sample.parquet", partial / "sample.parquet")
    if failed:
        return f"not measured: {failed['reason']}"
    return f"{len(fresh.geometry)} numbers measured, {len(known.geometry)} kept"


def _measure(
    activations: Path, origins: dict[str, Any], known: Measured, settings: GeometryConfig
) -> Measured:
    losses = tables.read(activations / "losses.parquet", tables.LOSSES)
    geometry: list[Row] = []
    replicates: list[Row] = []
    shards = sorted(activations.glob("*/layer-*.parquet"))
    for path in progress.track(shards, "measuring", "layers"):
        shard = read_shard(path)
        done = known.versions(shard.metadata["corpus"])
        missing = {n: metric for n, metric in METRICS.items() if (n, metric.version) not in done}
        for row, without in measure_shard(shard, settings.n_points, settings.groups, missing):
            geometry.append(row)
            replicates += without
    # The loss of a corpus that was not extracted again is known; a log is always told anew.
    again = losses.corpus.isin(list(known.losses.corpus.dropna()))
    made = Measured.of(origins, geometry, replicates, [])
    return Measured(origins, made.geometry, made.replicates, losses[~again])


def measure_shard(
    shard: Shard, n_points: int, n_groups: int, metrics: Mapping[str, Metric] = METRICS
) -> list[tuple[Row, list[Row]]]:
    """Measure one shard.

    Parameters
    ----------
    shard : Shard
    n_points : int
        N of every ID estimate, counted after repeated rows are gone.
    n_groups : int
        Groups of documents that the jackknife leaves out.
    metrics : mapping of str to Metric

    Returns
    -------
    list of (dict, list of dict)
        A row of `tables.GEOMETRY` with its rows of `tables.REPLICATES`.
    """
    n_groups = min(n_groups, shard.metadata["n_documents"])
    kept = {selection: shard.selected(selection) for selection in SELECTIONS}
    of_clouds = {n: m for n, m in metrics.items() if isinstance(m, CloudMetric)}
    of_neighbors = {n: m for n, m in metrics.items() if isinstance(m, NeighborMetric)}
    made = []
    for selection in SELECTIONS if of_clouds else ():
        own = {"selection": selection, "n_dropped": int((~kept[selection]).sum())}
        own |= {"n_points": int(kept[selection].sum()), "n_duplicates": 0}
        numbers = _of_cloud(of_clouds, shard, kept[selection], n_groups)
        made += [_rows(shard.metadata, own, *number, flags=[]) for number in numbers]
    if of_neighbors:
        samples, n_unique = _samples(shard, kept, n_points)
        # The selections' samples overlap almost wholly, so that one search serves them all.
        pooled = np.unique(np.concatenate(list(samples.values())))
        length = max(LIST_LENGTH, LIST_FACTOR * max(m.k for m in of_neighbors.values()))
        lists = neighbors.search(shard.activation[pooled], length, shard.document[pooled])
        for selection, sample in samples.items():
            n_kept = int(kept[selection].sum())
            own = {"selection": selection, "n_dropped": int((~kept[selection]).sum())}
            own |= {"n_points": len(sample), "n_duplicates": n_kept - n_unique[selection]}
            sampled = np.isin(pooled, sample)
            numbers, rounding = _of_neighbors(
                of_neighbors, lists, shard.document[pooled], sampled, n_groups
            )
            flags = ["shortfall"] if len(sample) < n_points else []
            flags += ["rounding"] if rounding else []
            made += [_rows(shard.metadata, own, *number, flags=flags) for number in numbers]
    return made


def _samples(
    shard: Shard, kept: dict[str, NDArray[np.bool_]], n_points: int
) -> tuple[dict[str, NDArray[np.int64]], dict[str, int]]:
    """For every selection, the first N different rows in the order of one fixed permutation.

    Returns
    -------
    samples : dict of ndarray of int
        Rows of the shard.
    n_unique : dict of int
        Different rows of the whole selection.
    """
    contexts = shard.contexts()
    permutation = np.random.default_rng(PERMUTATION_SEED).permutation(len(shard.token))
    samples, n_unique = {}, {}
    for selection, mask in kept.items():
        shuffled = permutation[mask[permutation]]
        unique = neighbors.unique_rows(shard.activation[shuffled], contexts[shuffled])
        samples[selection] = shuffled[unique[:n_points]]
        n_unique[selection] = len(unique)
    return samples, n_unique


@dataclass(frozen=True)
class _Number:
    version: int
    value: float
    replicates: list[float]
    k: int | None = None
    radius: float | None = None


def _of_cloud(
    metrics: dict[str, CloudMetric], shard: Shard, kept: NDArray[np.bool_], n_groups: int
) -> list[tuple[str, _Number]]:
    groups = jackknife.assign_groups(shard.document[kept], n_groups)
    whole, without = clouds(shard.activation[kept], groups, n_groups)
    replicates = [
        {
            name: m.compute(part) if part.n_points > 1 else float("nan")
            for name, m in metrics.items()
        }
        for part in without
    ]
    return [
        (name, _Number(metric.version, metric.compute(whole), [one[name] for one in replicates]))
        for name, metric in metrics.items()
    ]


def _of_neighbors(
    metrics: dict[str, NeighborMetric],
    lists: list[neighbors.NeighborLists],
    documents: NDArray[np.int32],
    sampled: NDArray[np.bool_],
    n_groups: int,
) -> tuple[list[tuple[str, _Number]], bool]:
    """Every metric of nearest neighbours of a sample, from one search, with its replicates.

    Returns
    -------
    list of (str, _Number)
    bool
        Whether the nearest neighbours lie at the resolution of float32.
    """
    groups = jackknife.assign_groups(documents, n_groups)
    # By whether neighbours of the same document are excluded, the most that any metric asks for.
    asked: dict[bool, int] = {}
    for metric in metrics.values():
        asked[metric.between] = max(metric.k, asked.get(metric.between, 0))

    def seen(keep: NDArray[np.bool_]) -> dict[bool, Neighbors]:
        found = {}
        for between, k in asked.items():
            distances, indices = lists[between].nearest(k, keep)
            same = documents[indices] == documents[keep][:, None]
            found[between] = Neighbors(distances, indices, np.flatnonzero(keep), same)
        return found

    def estimates(keep: NDArray[np.bool_]) -> dict[str, float]:
        found = seen(keep)
        return {
            name: metric.compute(found[metric.between].nearest(metric.k))
            for name, metric in metrics.items()
        }

    left = [estimates(sampled & (groups != group)) for group in range(n_groups)]
    full = seen(sampled)
    made = []
    for name, metric in metrics.items():
        near = full[metric.between].nearest(metric.k)
        radius = _mean_finite(near.distances[:, -1])
        replicates = [one[name] for one in left]
        number = _Number(metric.version, metric.compute(near), replicates, metric.k, radius)
        made.append((name, number))
    nearest, _ = lists[0].nearest(1, sampled)
    resolution = np.finfo(np.float32).eps * np.linalg.norm(lists[0].points[sampled], axis=1)
    return made, bool((nearest[:, 0] < ROUNDING * resolution).mean() > ROUNDING_SHARE)


def _mean_finite(distances: NDArray[np.float64]) -> float | None:
    finite = distances[np.isfinite(distances)]
    return float(finite.mean()) if len(finite) else None


def _rows(
    metadata: Row, own: Row, metric: str, number: _Number, flags: list[str]
) -> tuple[Row, list[Row]]:
    """A row of `tables.GEOMETRY` and its rows of `tables.REPLICATES`."""
    flags = flags if np.isfinite(number.value) else [*flags, "undefined"]
    shared = {key: metadata[key] for key in ("suite", "run", "revision", "step")}
    shared |= {key: metadata[key] for key in ("corpus", "pooling", "layer", "layer_kind")}
    shared |= {"metric": metric, "metric_version": number.version, "k": number.k}
    shared |= {key: own[key] for key in ("selection", "n_points")}
    named = ("seed", "architecture", "n_layers", "tokens", "document_length", "n_documents")
    row = {
        **shared,
        **own,
        **{key: metadata[key] for key in named},
        "value": number.value,
        "stderr": float(jackknife.stderr(number.replicates)),
        "radius": number.radius,
        "flag": ",".join(flags),
    }
    return row, [{**shared, "group": g, "value": v} for g, v in enumerate(number.replicates)]
