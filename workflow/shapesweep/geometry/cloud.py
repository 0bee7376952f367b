"""Measuring a cloud that lies in a file: no suite, no configuration, the same microscope.

Takes in what `cloudfile` has read; hands on words, JSON or the local IDs of single points.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from shapesweep import neighbors as search
from shapesweep.errors import ShapesweepError, near
from shapesweep.estimators import dimension, jackknife
from shapesweep.geometry.cloud_file import CloudFile
from shapesweep.geometry.layer import Layer, Number, look
from shapesweep.metrics import ALL_METRICS, Metric, NeighborMetric, PairMetric
from shapesweep.storage import tables

#: Groups of points (of documents, where the file tells them) that the jackknife leaves out.
N_GROUPS = 16
#: Neighbours, where `--k` says nothing else.
NEIGHBORS = 20
#: What the flags mean, for people.
FLAGS = {
    "undersampled": "more than so few points can tell (an ID above 2 log10 N, or a spectrum of "
    "fewer points than features)",
    "shortfall": "fewer different points than were asked for",
    "rounding": "nearest neighbours at the resolution of the file's numbers: ratios are noise",
    "undefined": "not defined for this cloud",
}


def measure(
    cloud: CloudFile,
    metrics: Sequence[str] = (),
    k: int | None = None,
    n_points: int | None = None,
    seed: int = 0,
) -> tuple[dict[str, Any], list[Number]]:
    """Every metric of a cloud.

    Parameters
    ----------
    cloud : CloudFile
    metrics : sequence of str
        By default all that the file allows: without documents nothing is said of them.
    k : int, optional
        Neighbours of `id_mle`, and outer ones of `id_corrint`; 20, if there are so many points.
    n_points : int, optional
        N of the IDs: so many different points, drawn at random; by default all.
    seed : int
        Of that drawing, and of the decimation.

    Returns
    -------
    head : dict
        file, n_points, n_features, n_duplicates.
    numbers : list of Number

    Raises
    ------
    ShapesweepError
        If there is no such metric, or k is out of range.
    """
    n = len(cloud.points)
    k = _neighbors(cloud, k, n)
    # One document alone is none: its points are left out as if each were its own.
    documents = cloud.documents if _has_documents(cloud) else None
    documents = np.arange(n) if documents is None else documents
    n_groups = min(N_GROUPS, len(np.unique(documents)))
    layer = Layer(
        cloud.points,
        documents,
        jackknife.assign_groups(documents, n_groups),
        cloud.contexts,
        {"all": np.ones(n, dtype=bool)},
        cloud.massive,
        cloud.epsilon,
    )
    chosen = _chosen(cloud, metrics, k)
    numbers = look(layer, n_points, chosen, seed=seed)["all"]
    counted = [number.n_duplicates for number in numbers if number.k is not None]
    n_duplicates = counted[0] if counted else n - len(_different(cloud))
    head = {"file": str(cloud.path), "n_points": n, "n_features": cloud.points.shape[1]}
    return {**head, "n_duplicates": n_duplicates}, numbers


def _neighbors(cloud: CloudFile, k: int | None, n_points: int) -> int:
    if k is None:
        return min(NEIGHBORS, max(n_points - 1, 2))
    if not 2 <= k < n_points:
        raise ShapesweepError(f"{cloud.path}: --k must lie between 2 and {n_points - 1}, got {k}")
    return k


def local(cloud: CloudFile, k: int | None = None) -> pd.DataFrame:
    """The local ID of every different point, from k neighbours.

    Returns
    -------
    pandas.DataFrame
        `row` in the file, what else the file tells of it, `local_id`.
    """
    rows = _different(cloud)
    if len(rows) < 3:
        raise ShapesweepError(f"{cloud.path}: {len(rows)} different points have no local ID")
    distances, _ = search.nearest_neighbors(cloud.points[rows], _neighbors(cloud, k, len(rows)))
    columns = {name: values[rows] for name, values in cloud.columns.items()}
    return pd.DataFrame({"row": rows, **columns, "local_id": dimension.local_id(distances)})


def write_local(cloud: CloudFile, k: int | None, out: str | Path) -> None:
    """Write `local` to a Parquet file, whole or not at all."""
    table = pa.Table.from_pandas(local(cloud, k), preserve_index=False)
    tables.write(table, table.schema, out)


def as_json(head: Mapping[str, Any], numbers: Sequence[Number]) -> str:
    """One line of JSON; a number that is not defined is null."""
    metrics: dict[str, Any] = {}
    for number in numbers:
        metric = ALL_METRICS[number.metric]
        entry = {
            "value": _or_null(number.value),
            "stderr": _or_null(number.stderr),
            "scale": number.radius,
            "k": number.k,
            "n_points": number.n_points,
            "flags": list(number.flags),
        }
        if number.model_stderr is not None:
            entry["model_stderr"] = _or_null(number.model_stderr)
        if isinstance(metric, NeighborMetric) and len(metric.k) > 1:
            metrics.setdefault(number.metric, []).append(entry)
        else:
            metrics[number.metric] = entry
    return json.dumps({**head, "metrics": metrics})


def as_table(head: Mapping[str, Any], numbers: Sequence[Number]) -> str:
    """A table for people, and what its flags mean."""
    repeated = f", {head['n_duplicates']:,} of them repeated" if head["n_duplicates"] else ""
    lines = [
        f"{head['file']}: {head['n_points']:,} points{repeated}, {head['n_features']:,} features"
    ]
    lines.append(f"  {'metric':28}{'value':>11}   {'stderr':>9}{'k':>5}{'N':>9}  {'scale':>9}")
    for number in numbers:
        k = "" if number.k is None else str(number.k)
        scale = "" if number.radius is None else f"{number.radius:.4g}"
        stderr = f"± {number.stderr:<9.2g}" if np.isfinite(number.stderr) else " " * 11
        value = f"{number.value:11.4g}" if np.isfinite(number.value) else f"{'–':>11}"
        cells = f"  {number.metric:28}{value} {stderr}{k:>5}{number.n_points:>9,}  {scale:>9}"
        lines.append(f"{cells}  {', '.join(number.flags)}".rstrip())
    used = {flag for number in numbers for flag in number.flags}
    lines += [f"  {flag}: {meaning}" for flag, meaning in FLAGS.items() if flag in used]
    return "\n".join(lines)


def _or_null(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _chosen(cloud: CloudFile, names: Sequence[str], k: int) -> dict[str, Metric]:
    for name in names:
        if name not in ALL_METRICS:
            raise ShapesweepError(
                f"--metrics: there is no metric {name!r}{near(name, ALL_METRICS)}"
            )
    chosen = {}
    for name in names or ALL_METRICS:
        metric = ALL_METRICS[name]
        reason = ""
        if isinstance(metric, PairMetric):
            reason = "a matter of two layers"
        elif isinstance(metric, NeighborMetric):
            if metric.of_documents and not _has_documents(cloud):
                reason = "a matter of documents, of which this file knows nothing"
            metric = replace(metric, k=(k,)) if metric.adjustable else metric
        if reason and names:
            raise ShapesweepError(f"{cloud.path}: {name} is {reason}")
        if not reason:
            chosen[name] = metric
    return chosen


def _has_documents(cloud: CloudFile) -> bool:
    return cloud.documents is not None and len(np.unique(cloud.documents)) > 1


def _different(cloud: CloudFile) -> NDArray[np.int64]:
    return search.unique_rows(cloud.points, cloud.contexts)
