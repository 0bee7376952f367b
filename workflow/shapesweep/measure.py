"""Measuring a cloud that lies in a file: no suite, no configuration, the same microscope.

Takes in `.npy`, `.safetensors` or `.parquet`, a shard of a sweep among them; hands on words, JSON
or the local IDs of single points.
"""

import json
import tokenize
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from shapesweep import tables
from shapesweep.errors import ShapesweepError
from shapesweep.estimators import dimension, jackknife
from shapesweep.estimators import neighbors as search
from shapesweep.metrics import METRICS, Metric, NeighborMetric, PairMetric
from shapesweep.microscope import Layer, Number, look
from shapesweep.schema import near
from shapesweep.shards import MASSIVE, SELECTIONS, Shard, read_shard

#: Groups of points (of documents, where the file tells them) that the jackknife leaves out.
N_GROUPS = 16
#: Neighbours, where `--k` says nothing else.
NEIGHBORS = 20
#: A number beyond which squares do not fit into float64.
LARGEST = 1e140
#: Metrics whose k `--k` sets.
SCALED = ("id_mle", "id_corrint")
#: What the flags mean, for people.
FLAGS = {
    "undersampled": "more than so few points can tell (an ID above 2 log10 N, or a spectrum of "
    "fewer points than features)",
    "shortfall": "fewer different points than were asked for",
    "rounding": "nearest neighbours at the resolution of the file's numbers: ratios are noise",
    "undefined": "not defined for this cloud",
}


@dataclass(frozen=True)
class CloudFile:
    """A cloud as it lies in a file.

    Attributes
    ----------
    path : Path
    points : ndarray, shape (n_points, n_features), float32 or float64
    documents : ndarray of int, shape (n_points,), or None
    contexts : ndarray of int, shape (n_points,), or None
    columns : dict of ndarray
        What else the file tells of every point.
    massive : ndarray of bool, shape (n_points,)
    epsilon : float or None
        The points' relative spacing, where they were coarser than float32.
    """

    path: Path
    points: NDArray[np.floating]
    documents: NDArray[np.integer] | None
    contexts: NDArray[np.integer] | None
    columns: dict[str, NDArray[Any]]
    massive: NDArray[np.bool_]
    epsilon: float | None = None


def read(path: str | Path, selection: str = "all", tensor: str | None = None) -> CloudFile:
    """Read a cloud.

    Parameters
    ----------
    path : path-like
        `.npy` of two axes; `.safetensors` with one such tensor, or the one that `tensor` names;
        `.parquet`: a shard of a sweep, one column of lists of equal length, or columns of numbers
        (a column `document` says what belongs together).
    selection : str
        Of a shard's tokens.
    tensor : str, optional

    Returns
    -------
    CloudFile

    Raises
    ------
    ShapesweepError
        One line: which file, what is wrong with it, and what to do.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "there is no such file"
        raise ShapesweepError(f"{path}: {what}")
    if path.suffix == ".parquet" and _is_shard(path):
        if selection not in SELECTIONS:
            raise ShapesweepError(
                f"--selection: there is no {selection!r}{near(selection, SELECTIONS)}"
            )
        return _checked(_of_shard(path, read_shard(path), selection))
    if selection != "all":
        raise ShapesweepError(f"{path}: only a sweep's shards know a selection {selection!r}")
    if path.suffix == ".parquet":
        return _checked(_plain(path, *_read_parquet(path)))
    if path.suffix == ".safetensors":
        points, epsilon = _read_safetensors(path, tensor)
        return replace(_checked(_plain(path, points)), epsilon=epsilon)
    if path.suffix == ".npy":
        return _checked(_plain(path, _read_npy(path)))
    raise ShapesweepError(f"{path}: not one of .npy, .safetensors, .parquet")


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
    counted = [one.n_duplicates for one in numbers if one.k is not None]
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
    told = {name: values[rows] for name, values in cloud.columns.items()}
    return pd.DataFrame({"row": rows, **told, "local_id": dimension.local_id(distances)})


def write_local(cloud: CloudFile, k: int | None, out: str | Path) -> None:
    """Write `local` to a Parquet file, whole or not at all."""
    table = pa.Table.from_pandas(local(cloud, k), preserve_index=False)
    tables.write(table, table.schema, out)


def as_json(head: Mapping[str, Any], numbers: Sequence[Number]) -> str:
    """One line of JSON; a number that is not defined is null."""
    metrics: dict[str, Any] = {}
    for one in numbers:
        metric = METRICS[one.metric]
        entry = {
            "value": _or_null(one.value),
            "stderr": _or_null(one.stderr),
            "scale": one.radius,
            "k": one.k,
            "n_points": one.n_points,
            "flags": list(one.flags),
        }
        if one.model_stderr is not None:
            entry["model_stderr"] = _or_null(one.model_stderr)
        if isinstance(metric, NeighborMetric) and len(metric.k) > 1:
            metrics.setdefault(one.metric, []).append(entry)
        else:
            metrics[one.metric] = entry
    return json.dumps({**head, "metrics": metrics})


def as_table(head: Mapping[str, Any], numbers: Sequence[Number]) -> str:
    """A table for people, and what its flags mean."""
    repeated = f", {head['n_duplicates']:,} of them repeated" if head["n_duplicates"] else ""
    lines = [
        f"{head['file']}: {head['n_points']:,} points{repeated}, {head['n_features']:,} features"
    ]
    lines.append(f"  {'metric':28}{'value':>11}   {'stderr':>9}{'k':>5}{'N':>9}  {'scale':>9}")
    for one in numbers:
        k = "" if one.k is None else str(one.k)
        scale = "" if one.radius is None else f"{one.radius:.4g}"
        stderr = f"± {one.stderr:<9.2g}" if np.isfinite(one.stderr) else " " * 11
        value = f"{one.value:11.4g}" if np.isfinite(one.value) else f"{'–':>11}"
        cells = f"  {one.metric:28}{value} {stderr}{k:>5}{one.n_points:>9,}  {scale:>9}"
        lines.append(f"{cells}  {', '.join(one.flags)}".rstrip())
    used = {flag for one in numbers for flag in one.flags}
    lines += [f"  {flag}: {said}" for flag, said in FLAGS.items() if flag in used]
    return "\n".join(lines)


def _or_null(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _chosen(cloud: CloudFile, names: Sequence[str], k: int) -> dict[str, Metric]:
    for name in names:
        if name not in METRICS:
            raise ShapesweepError(f"--metrics: there is no metric {name!r}{near(name, METRICS)}")
    chosen = {}
    for name in names or METRICS:
        metric = METRICS[name]
        about_documents = name == "same_document_nn"
        if isinstance(metric, NeighborMetric):
            about_documents |= metric.between
            if name.removesuffix("_between") in SCALED:
                metric = replace(metric, k=(k,))
        reason = ""
        if isinstance(metric, PairMetric):
            reason = "a matter of two layers"
        elif about_documents and not _has_documents(cloud):
            reason = "a matter of documents, of which this file knows nothing"
        if reason and names:
            raise ShapesweepError(f"{cloud.path}: {name} is {reason}")
        if not reason:
            chosen[name] = metric
    return chosen


def _has_documents(cloud: CloudFile) -> bool:
    return cloud.documents is not None and len(np.unique(cloud.documents)) > 1


def _different(cloud: CloudFile) -> NDArray[np.int64]:
    return search.unique_rows(cloud.points, cloud.contexts)


def _read_npy(path: Path) -> NDArray[Any]:
    try:
        found = np.load(path, allow_pickle=False, mmap_mode="r")
        if not isinstance(found, np.ndarray):
            raise ValueError("it is an archive of arrays")
        return found
    # Whatever numpy makes of a header that is none.
    except (
        ValueError,
        OSError,
        EOFError,
        OverflowError,
        SyntaxError,
        tokenize.TokenError,
    ) as error:
        raise ShapesweepError(f"{path}: not an array of numbers ({_line(error)})") from None


def _read_safetensors(path: Path, tensor: str | None) -> tuple[NDArray[Any], float | None]:
    import torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
            clouds = [name for name, shape in shapes.items() if len(shape) == 2]
            if not clouds:
                raise ShapesweepError(f"{path}: none of its {len(shapes)} tensors has two axes")
            if tensor is None and len(clouds) != 1:
                raise ShapesweepError(
                    f"{path}: {len(clouds)} of its {len(shapes)} tensors have two axes; say "
                    f"which is meant with --tensor: {', '.join(clouds[:8])}"
                )
            if tensor is not None and tensor not in shapes:
                raise ShapesweepError(
                    f"{path}: there is no tensor {tensor!r}{near(tensor, shapes)}"
                )
            found = file.get_tensor(tensor or clouds[0])
    except (SafetensorError, OSError) as error:
        raise ShapesweepError(f"{path}: not safetensors ({_line(error)})") from None
    if found.is_floating_point() and found.itemsize < 4:
        # Numpy has no bfloat16.
        return found.float().numpy(), torch.finfo(found.dtype).eps
    return found.numpy(), None


def _is_shard(path: Path) -> bool:
    try:
        return b"shapesweep" in (pq.read_schema(path).metadata or {})
    except (pa.ArrowException, OSError) as error:
        raise ShapesweepError(f"{path}: damaged or not Parquet ({_line(error)})") from None


def _read_parquet(path: Path) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
    try:
        table = pq.read_table(path, partitioning=None)
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise ShapesweepError(f"{path}: damaged or not Parquet ({_line(error)})") from None
    names = table.column_names
    if "document" in names:
        _check_documents(path, table["document"])
    told = {name: table[name].to_numpy() for name in ("document",) if name in names}
    rest = table.drop_columns(list(told))
    lists = [field.name for field in rest.schema if _is_list(field.type)]
    if len(lists) == 1:
        values = rest[lists[0]].combine_chunks()
        lengths = values.value_lengths()
        if values.null_count or len(set(lengths.to_pylist())) > 1:
            raise ShapesweepError(f"{path}: the lists of {lists[0]!r} are not of one length")
        width = lengths[0].as_py() if len(values) else 0
        flat = values.flatten().to_numpy(zero_copy_only=False)
        return flat.reshape(len(values), width), told
    wrong = [
        field.name
        for field in rest.schema
        if not (pa.types.is_floating(field.type) or pa.types.is_integer(field.type))
    ]
    if wrong or not rest.num_columns:
        raise ShapesweepError(
            f"{path}: needs one column of lists, or columns of numbers; "
            + (f"{', '.join(wrong[:4])} is neither" if wrong else "there is none")
        )
    return np.stack([rest[name].to_numpy() for name in rest.column_names], axis=1), told


def _is_list(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (pa.types.is_list, pa.types.is_large_list,
                                       pa.types.is_fixed_size_list))  # fmt: skip


def _check_documents(path: Path, column: pa.ChunkedArray) -> None:
    simple = any(
        test(column.type)
        for test in (pa.types.is_integer, pa.types.is_string, pa.types.is_large_string)
    )
    if column.null_count or not simple:
        raise ShapesweepError(
            f"{path}: the column 'document' must hold whole numbers or words, and one in each row"
        )


def _of_shard(path: Path, shard: Shard, selection: str) -> CloudFile:
    if not len(shard.token):
        raise ShapesweepError(f"{path}: holds no tokens")
    kept = shard.selected(selection)
    columns = {"document": shard.document, "position": shard.position, "token": shard.token}
    return CloudFile(
        path,
        shard.activation[kept],
        shard.document[kept],
        shard.contexts()[kept],
        {name: values[kept] for name, values in columns.items()},
        shard.massive()[kept],
    )


def _plain(
    path: Path, points: NDArray[Any], columns: dict[str, NDArray[Any]] | None = None
) -> CloudFile:
    if points.dtype.kind not in "fiu":
        raise ShapesweepError(f"{path}: holds {points.dtype}, not numbers")
    if points.ndim != 2:
        raise ShapesweepError(
            f"{path}: has {points.ndim} axes {points.shape}; a cloud has two, points and features"
        )
    # What is coarser than float32 is the same in it, and whole numbers in float64.
    narrow = points.dtype.kind == "f" and points.dtype.itemsize <= 4
    epsilon = float(np.finfo(points.dtype).eps) if points.dtype == np.float16 else None
    exact: NDArray[np.floating] = points.astype(np.float32 if narrow else np.float64)
    columns = columns or {}
    documents = None
    if "document" in columns:
        _, documents = np.unique(columns["document"], return_inverse=True)
    massive = np.zeros(len(exact), dtype=bool)
    if len(exact):
        with np.errstate(invalid="ignore", over="ignore"):
            norms = np.sqrt(np.einsum("ij,ij->i", exact, exact, dtype=np.float64))
            massive = norms > MASSIVE * np.median(norms)
    return CloudFile(path, exact, documents, None, columns, massive, epsilon)


def _checked(cloud: CloudFile) -> CloudFile:
    points, path = cloud.points, cloud.path
    if len(points) < 2 or not points.shape[1]:
        raise ShapesweepError(
            f"{path}: {len(points)} points of {points.shape[1]} features are no cloud"
        )
    finite = np.isfinite(points)
    if not finite.all():
        row = int(np.flatnonzero(~finite.all(axis=1))[0])
        what = "NaN" if np.isnan(points[row]).any() else "infinite"
        n_bad = int((~finite.all(axis=1)).sum())
        raise ShapesweepError(
            f"{path}: row {row} is {what} ({n_bad:,} of {len(points):,} rows are)"
        )
    largest = float(np.abs(points).max())
    if largest > LARGEST:
        raise ShapesweepError(
            f"{path}: holds numbers of {largest:.0e}, whose squares are none: divide all of them"
        )
    if (points == points[0]).all():
        raise ShapesweepError(f"{path}: all {len(points):,} points are equal")
    return cloud


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
