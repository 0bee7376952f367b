"""Read and check clouds of points from files: `.npy`, `.safetensors`, `.parquet`, or shards."""

import tokenize
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shapesweep.errors import ShapesweepError, near
from shapesweep.estimators.moments import norms
from shapesweep.storage import checksummed
from shapesweep.storage.selections import SELECTIONS, are_massive
from shapesweep.storage.shards import Shard, read_shard

#: The largest number whose square, summed over features, fits into float64.
LARGEST = 1e140


@dataclass(frozen=True)
class CloudFile:
    """A cloud from a file.


    Attributes
    ----------
    path : Path
    points : ndarray, shape (n_points, n_features), float32 or float64
    documents : ndarray of int, shape (n_points,), or None
    contexts : ndarray of int, shape (n_points,), or None
    columns : dict of ndarray
        Other columns of the file.
    massive : ndarray of bool, shape (n_points,)
    epsilon : float or None
        Relative spacing of the numbers, if it is coarser than that of float32.
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
        (a column `document` assigns points to documents).
    selection : str
        Selection of a shard's tokens.

    tensor : str, optional

    Returns
    -------
    CloudFile

    Raises
    ------
    ShapesweepError
        If the file is not a cloud; the message says what to do.
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
        raise ShapesweepError(f"{path}: only shards of a sweep have the selection {selection!r}")
    if path.suffix == ".parquet":
        return _checked(_plain(path, *_read_parquet(path)))
    if path.suffix == ".safetensors":
        points, epsilon = _read_safetensors(path, tensor)
        return replace(_checked(_plain(path, points)), epsilon=epsilon)
    if path.suffix == ".npy":
        return _checked(_plain(path, _read_npy(path)))
    raise ShapesweepError(f"{path}: not one of .npy, .safetensors, .parquet")


def _read_npy(path: Path) -> NDArray[Any]:
    try:
        found = np.load(path, allow_pickle=False, mmap_mode="r")
        if not isinstance(found, np.ndarray):
            raise ValueError("it is an archive of arrays")
        return found
    # Numpy raises all kinds of errors for damaged headers.
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
                    f"{path}: {len(clouds)} of its {len(shapes)} tensors have two axes; choose "
                    f"one with --tensor: {', '.join(clouds[:8])}"
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
        return b"shapesweep" in (checksummed.read_schema(path).metadata or {})
    except (pa.ArrowException, OSError) as error:
        raise ShapesweepError(f"{path}: damaged or not Parquet ({_line(error)})") from None


def _read_parquet(path: Path) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
    try:
        table = checksummed.read(path)
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise ShapesweepError(f"{path}: damaged or not Parquet ({_line(error)})") from None
    names = table.column_names
    if "document" in names:
        _check_documents(path, table["document"])
    columns = {name: table[name].to_numpy() for name in ("document",) if name in names}
    rest = table.drop_columns(list(columns))
    lists = [field.name for field in rest.schema if _is_list(field.type)]
    if len(lists) == 1:
        values = rest[lists[0]].combine_chunks()
        lengths = values.value_lengths()
        if values.null_count or len(set(lengths.to_pylist())) > 1:
            raise ShapesweepError(f"{path}: the lists of {lists[0]!r} have different lengths")
        width = lengths[0].as_py() if len(values) else 0
        flat = values.flatten().to_numpy(zero_copy_only=False)
        return flat.reshape(len(values), width), columns
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
    return np.stack([rest[name].to_numpy() for name in rest.column_names], axis=1), columns


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
            f"{path}: the column 'document' must hold whole numbers or words, without empty cells"
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
    # Coarser floats are exact in float32, and whole numbers in float64.
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
            massive = are_massive(norms(exact))
    return CloudFile(path, exact, documents, None, columns, massive, epsilon)


def _checked(cloud: CloudFile) -> CloudFile:
    points, path = cloud.points, cloud.path
    if len(points) < 2 or not points.shape[1]:
        raise ShapesweepError(
            f"{path}: {len(points)} points of {points.shape[1]} features are not a cloud"
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
            f"{path}: holds numbers of {largest:.0e}, values overflow when squared; rescale the "
            "data"
        )
    if (points == points[0]).all():
        raise ShapesweepError(f"{path}: all {len(points):,} points are equal")
    return cloud


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
