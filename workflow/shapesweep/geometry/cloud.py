"""Measure a cloud of points from a file.

The results are formatted as a text table or as JSON. The local ID of every point can be written to
a Parquet file.
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

from shapesweep import neighbors
from shapesweep.errors import ShapesweepError, near
from shapesweep.estimators import dimension, jackknife
from shapesweep.geometry import subsamples
from shapesweep.geometry.cloud_file import CloudFile
from shapesweep.geometry.layer import Layer, Number
from shapesweep.geometry.measure import measure_layer
from shapesweep.metrics import ALL_METRICS, Metric, NeighborMetric, PairMetric
from shapesweep.storage import tables

#: Maximum number of jackknife groups. A group consists of documents if the file has documents, and
#: of points otherwise.
N_GROUPS = 16
#: Default number of neighbours (`--k`).
NEIGHBORS = 20
#: Meanings of the flags.
FLAGS = {
    "undersampled": "cannot be determined from N points (an ID above 2 log10 N, or a spectrum "
    "from fewer points than features)",
    "shortfall": "fewer distinct points than requested",
    "rounding": "distances to nearest neighbours are at the resolution of the values in the file, "
    "so their ratios are noise",
    "poor_fit": "the points do not fit the assumptions of ID estimates, so these IDs depend on the "
    "estimator, the scale or the point (a metric whose name begins with `fit_` exceeds its limit)",
    "one_group": "one group of documents (or points) causes most of the standard error",
    "undefined": "not defined for this cloud",
}


def measure(
    cloud: CloudFile,
    metrics: Sequence[str] = (),
    k: int | None = None,
    n_points: int | None = None,
    seed: int = 0,
) -> tuple[dict[str, Any], dict[str, list[Number]]]:
    """Measure the metrics of a cloud, and IDs of subsamples if the points belong to documents.

    Parameters
    ----------
    cloud : CloudFile
    metrics : sequence of str
        Names of metrics. By default, all metrics that the file allows; some metrics need documents.
    k : int, optional
        Number of neighbours for `id_mle` and `id_corrint`; the latter also uses half this number,
        rounded down. By default 20, or all other points if there are fewer than 20.
    n_points : int, optional
        Number N of distinct points from which IDs are estimated. These points are drawn at random.
        By default, all distinct points are used.
    seed : int
        Random seed of the permutation from which the N points are taken.

    Returns
    -------
    head : dict
        Keys: file, n_points, n_features, n_duplicates.
    found : dict of list of Number
        `all` contains the numbers of all points. `one_per_document` and `few_documents` contain the
        numbers of subsamples of equal N, if there are enough documents.

    Raises
    ------
    ShapesweepError
        If a metric does not exist or cannot be computed from the file, or if k is out of range.
    """
    n = len(cloud.points)
    k = _neighbors(cloud, k, n)
    # Without documents, the jackknife leaves out groups of points.
    documents = np.arange(n) if cloud.documents is None else cloud.documents
    n_groups = min(N_GROUPS, len(np.unique(documents)))
    layer = Layer(
        cloud.points,
        _labels(cloud),
        jackknife.assign_groups(documents, n_groups),
        cloud.contexts,
        {"all": np.ones(n, dtype=bool)},
        cloud.massive,
        cloud.first,
        _draws(cloud),
    )
    chosen = _chosen(cloud, metrics, k)
    # The flag `poor_fit` depends on the effect sizes.
    fits = {name: metric for name, metric in ALL_METRICS.items() if _is_fit(metric)}
    measured = measure_layer(layer, n_points, {**fits, **chosen}, seed=seed)
    found = {
        selection: [number for number in numbers if number.metric in chosen]
        for selection, numbers in measured.items()
    }
    found = {selection: numbers for selection, numbers in found.items() if numbers}
    counted = [number.n_duplicates for number in measured["all"] if number.k is not None]
    head = {
        "file": str(cloud.path),
        "n_points": n,
        "n_features": cloud.points.shape[1],
        "n_duplicates": counted[0] if counted else n - len(_different(cloud)),
    }
    return head, found


def _neighbors(cloud: CloudFile, k: int | None, n_points: int) -> int:
    if k is None:
        return min(NEIGHBORS, max(n_points - 1, 2))
    if not 2 <= k < n_points:
        raise ShapesweepError(f"{cloud.path}: --k must lie between 2 and {n_points - 1}, got {k}")
    return k


def write_local(cloud: CloudFile, k: int | None, out: str | Path) -> None:
    """Write the local ID of every distinct point to a Parquet file, atomically.

    Parameters
    ----------
    cloud : CloudFile
    k : int, optional
        Number of neighbours, as in `measure`.
    out : path-like
        Parquet file with the columns `row` (index of the point in the cloud), `local_id`, and the
        columns of the cloud's file that are not features.
    """
    rows = _different(cloud)
    if len(rows) < 3:
        raise ShapesweepError(
            f"{cloud.path}: {len(rows)} distinct points are too few for local IDs"
        )
    distances, _ = neighbors.nearest_neighbors(cloud.points[rows], _neighbors(cloud, k, len(rows)))
    columns = {name: values[rows] for name, values in cloud.columns.items()}
    frame = pd.DataFrame({"row": rows, **columns, "local_id": dimension.local_id(distances)})
    table = pa.Table.from_pandas(frame, preserve_index=False)
    tables.write(table, table.schema, out)


def as_json(head: Mapping[str, Any], found: Mapping[str, Sequence[Number]]) -> str:
    """Return the results as one line of JSON, in which undefined numbers are null."""
    every, *pair = ({name: _entries(numbers)} for name, numbers in found.items())
    subsamples = {name: entries for one in pair for name, entries in one.items()}
    more = {"subsamples": subsamples} if subsamples else {}
    return json.dumps({**head, "metrics": every["all"], **more})


def _entries(numbers: Sequence[Number]) -> dict[str, Any]:
    """Return the values, errors, scales and flags of numbers by metric."""
    metrics: dict[str, Any] = {}
    for number in numbers:
        metric = ALL_METRICS[number.metric]
        entry = {
            "value": _or_null(number.value),
            "stderr": _or_null(number.stderr),
            **({} if number.without_group is None else {"without_group": number.without_group}),
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
    return metrics


def as_table(head: Mapping[str, Any], found: Mapping[str, Sequence[Number]]) -> str:
    """Return the results as a text table, followed by the meanings of its flags."""
    repeated = f", {head['n_duplicates']:,} of them repeated" if head["n_duplicates"] else ""
    lines = [
        f"{head['file']}: {head['n_points']:,} points{repeated}, {head['n_features']:,} features",
        f"  {'metric':28}{'value':>11}   {'stderr':>9}{'k':>5}{'N':>9}  {'scale':>9}",
    ]
    for selection, numbers in found.items():
        if selection != "all":
            lines.append(f"  {selection} (mean of several draws)")
        for number in numbers:
            k = "" if number.k is None else str(number.k)
            scale = "" if number.radius is None else f"{number.radius:.4g}"
            stderr = f"± {number.stderr:<9.2g}" if np.isfinite(number.stderr) else " " * 11
            value = f"{number.value:11.4g}" if np.isfinite(number.value) else f"{'–':>11}"
            cells = f"  {number.metric:28}{value} {stderr}{k:>5}{number.n_points:>9,}  {scale:>9}"
            lines.append(f"{cells}  {', '.join(number.flags)}".rstrip())
    used = {flag for numbers in found.values() for number in numbers for flag in number.flags}
    lines += [f"  {flag}: {meaning}" for flag, meaning in FLAGS.items() if flag in used]
    return "\n".join(lines)


def _or_null(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _is_fit(metric: Metric) -> bool:
    return isinstance(metric, NeighborMetric) and metric.limit is not None


def _draws(cloud: CloudFile) -> subsamples.Draws:
    if cloud.documents is None:
        return {}
    # As in sweeps, first tokens are not drawn.
    positions = cloud.columns.get("position")
    later = np.ones(len(cloud.points), bool) if positions is None else positions > 0
    return subsamples.draw(cloud.documents, cloud.columns.get("token"), later)


def _labels(cloud: CloudFile) -> dict[str, NDArray[np.integer]]:
    """Return the document, token and position of every point, as far as they are known."""
    known: dict[str, NDArray[np.integer]] = {
        name: values for name, values in cloud.columns.items() if name != "document"
    }
    if cloud.documents is not None:
        known["document"] = cloud.documents
    return known


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
            reason = "computed from two layers"
        elif isinstance(metric, NeighborMetric):
            if metric.label and metric.label not in _labels(cloud):
                reason = f"computed from {metric.label}s, but the file does not contain them"
            metric = replace(metric, k=(k,)) if metric.adjustable else metric
        if reason and names:
            raise ShapesweepError(f"{cloud.path}: {name} is {reason}")
        if not reason:
            chosen[name] = metric
    return chosen


def _different(cloud: CloudFile) -> NDArray[np.int64]:
    return neighbors.unique_rows(cloud.points, cloud.contexts)
