"""Read and check clouds of points from `.npy`, `.safetensors` and `.parquet` files."""

import contextlib
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import types

from shapesweep.errors import ShapesweepError, near
from shapesweep.estimators.moments import norms
from shapesweep.storage import checksummed
from shapesweep.storage.selections import SELECTIONS, are_massive
from shapesweep.storage.shards import Shard, read_shard

#: Maximum absolute value that is accepted: sums of squares over features must fit into float64.
LARGEST = 1e140
#: For formats that cannot be read: how numpy.save gets the array of such a file.
CONVERSIONS = {
    ".npz": 'numpy.load("{}")[NAME])',
    ".csv": 'numpy.loadtxt("{}", delimiter=","))',
    ".tsv": 'numpy.loadtxt("{}", delimiter="\\t"))',
    ".txt": 'numpy.loadtxt("{}"))',
    ".pt": 'torch.load("{}").detach().float().numpy())',
    ".pth": 'torch.load("{}").detach().float().numpy())',
}
NOT_PARQUET = "damaged or not Parquet"
LISTS = (pa.ListType, pa.LargeListType, pa.FixedSizeListType)


@dataclass(frozen=True)
class CloudFile:
    """A cloud from a file.

    Attributes
    ----------
    path : Path
    points : ndarray, shape (n_points, n_features), float32 or float64
    documents : ndarray of int, shape (n_points,), or None
        Document of every point; None if the file has no documents or only one document.
    contexts : ndarray of int, shape (n_points,), or None
    columns : dict of ndarray
        Columns of the file that are not features.
    massive : ndarray of bool, shape (n_points,)
    first : ndarray of bool, shape (n_points,), or None
        Mask of the first tokens and the special tokens of a shard.
    """

    path: Path
    points: NDArray[np.floating]
    documents: NDArray[np.integer] | None
    contexts: NDArray[np.integer] | None
    columns: dict[str, NDArray[Any]]
    massive: NDArray[np.bool_]
    first: NDArray[np.bool_] | None = None


def read(path: str | Path, selection: str = "all", tensor: str | None = None) -> CloudFile:
    """Read a cloud from a file.

    Parameters
    ----------
    path : path-like
        A `.npy` file with an array of two axes, a `.safetensors` file with a tensor of two axes, or
        a `.parquet` file. The Parquet file has one of three forms: a shard of a sweep, one column
        of lists of equal length, or columns of numbers. In the last two forms, an optional column
        `document` assigns points to documents.
    selection : str
        Selection of tokens; files that are not shards only have the selection `all`.
    tensor : str, optional
        Name of the tensor, if a `.safetensors` file has several tensors of two axes.

    Returns
    -------
    CloudFile

    Raises
    ------
    ShapesweepError
        If the file does not contain a cloud; the message states the reason.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "there is no such file"
        raise ShapesweepError(f"{path}: {what}")
    if path.suffix == ".parquet" and _is_shard(path):
        if selection not in SELECTIONS:
            raise ShapesweepError(
                f"--selection: there is no selection {selection!r}{near(selection, SELECTIONS)}"
            )
        return _of_shard(path, read_shard(path), selection)
    if selection != "all":
        raise ShapesweepError(f"{path}: only shards of a sweep have the selection {selection!r}")
    document = None
    if path.suffix == ".parquet":
        points, document = _read_parquet(path)
    elif path.suffix == ".safetensors":
        points = _read_safetensors(path, tensor)
    elif path.suffix == ".npy":
        points = _read_npy(path)
    else:
        how = CONVERSIONS.get(path.suffix.lower(), "array)").format(path.name)
        raise ShapesweepError(
            f"{path}: not one of .npy, .safetensors, .parquet; save the array with "
            f'numpy.save("{path.stem}.npy", {how}'
        )
    points, columns, documents = _exact(path, points), {}, None
    _check(path, points)
    if document is not None:
        columns = {"document": document}
        documents = _several(np.unique(document, return_inverse=True)[1])
    massive = are_massive(norms(points))
    return CloudFile(path, points, documents, None, columns, massive)


@contextlib.contextmanager
def _refusing(path: Path, what: str, *errors: type[Exception]) -> Iterator[None]:
    """Convert a reader's error to a one-line `ShapesweepError` that contains the text `what`."""
    try:
        yield
    except errors as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ShapesweepError(f"{path}: {what} ({reason})") from None


def _read_npy(path: Path) -> NDArray[Any]:
    # Numpy raises many types of errors for damaged headers.
    errors = (ValueError, OSError, EOFError, OverflowError, SyntaxError, tokenize.TokenError)
    with _refusing(path, "not an array of numbers", *errors):
        found = np.load(path, allow_pickle=False, mmap_mode="r")
        if not isinstance(found, np.ndarray):
            raise ValueError("the file is an archive of arrays; save one array with numpy.save")
    return found


def _read_safetensors(path: Path, tensor: str | None) -> NDArray[Any]:
    from safetensors import SafetensorError, safe_open

    with (
        _refusing(path, "not safetensors", SafetensorError, OSError),
        safe_open(path, framework="pt") as file,
    ):
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
            raise ShapesweepError(f"{path}: there is no tensor {tensor!r}{near(tensor, shapes)}")
        found = file.get_tensor(tensor or clouds[0])
    if found.is_floating_point() and found.itemsize < 4:
        # Numpy has no bfloat16.
        found = found.float()
    values: NDArray[Any] = found.numpy()
    return values


def _is_shard(path: Path) -> bool:
    with _refusing(path, NOT_PARQUET, pa.ArrowException, OSError):
        return b"shapesweep" in (checksummed.read_schema(path).metadata or {})


def _read_parquet(path: Path) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Return the points, and the column `document` if it exists."""
    with _refusing(path, NOT_PARQUET, pa.ArrowException, OSError):
        table = checksummed.read(path)
        table.validate(full=True)
    documents = None
    if "document" in table.column_names:
        column, kind = table["document"], table["document"].type
        is_word = types.is_string(kind) or types.is_large_string(kind)
        if column.null_count or not (types.is_integer(kind) or is_word):
            raise ShapesweepError(
                f"{path}: the column 'document' must contain integers or strings, without missing "
                "values"
            )
        documents, table = column.to_numpy(), table.drop_columns("document")
    lists = [field.name for field in table.schema if isinstance(field.type, LISTS)]
    if len(lists) == 1:
        values = table[lists[0]].combine_chunks()
        widths = set(values.value_lengths().to_pylist())
        if values.null_count or len(widths) > 1:
            raise ShapesweepError(f"{path}: the lists of {lists[0]!r} have different lengths")
        flat = values.flatten().to_numpy(zero_copy_only=False)
        return flat.reshape(len(values), *(widths or {0})), documents
    wrong = [
        field.name
        for field in table.schema
        if not (types.is_floating(field.type) or types.is_integer(field.type))
    ]
    if wrong or not table.num_columns:
        raise ShapesweepError(
            f"{path}: needs one column of lists, or columns of numbers; "
            + (
                f"found other columns: {', '.join(wrong[:4])}"
                if wrong
                else "the file has no such columns"
            )
        )
    return np.stack([table[name].to_numpy() for name in table.column_names], axis=1), documents


def _of_shard(path: Path, shard: Shard, selection: str) -> CloudFile:
    if not len(shard.token):
        raise ShapesweepError(f"{path}: the shard contains no tokens")
    kept = shard.selected(selection)
    names = ("document", "position", "token")
    columns = {name: getattr(shard, name)[kept] for name in names}
    points = shard.activation[kept]
    _check(path, points)
    documents = _several(columns["document"])
    contexts, massive = shard.context[kept], shard.massive()[kept]
    first = ~shard.selected("no_first")[kept]
    return CloudFile(path, points, documents, contexts, columns, massive, first)


def _exact(path: Path, points: NDArray[Any]) -> NDArray[np.floating]:
    if points.dtype.kind not in "fiu":
        raise ShapesweepError(f"{path}: contains {points.dtype}, not numbers")
    if points.ndim != 2:
        raise ShapesweepError(
            f"{path}: has {points.ndim} axes {points.shape}; a cloud has two: points and features"
        )
    # Float32 represents floats of at most 32 bits exactly; integers need float64.
    narrow = points.dtype.kind == "f" and points.dtype.itemsize <= 4
    return points.astype(np.float32 if narrow else np.float64)


def _several(documents: NDArray[np.integer]) -> NDArray[np.integer] | None:
    return documents if (documents != documents[0]).any() else None


def _check(path: Path, points: NDArray[np.floating]) -> None:
    if len(points) < 2 or not points.shape[1]:
        raise ShapesweepError(
            f"{path}: has shape {points.shape}; a cloud needs at least two points and one feature"
        )
    wrong = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if len(wrong):
        what = "NaN" if np.isnan(points[wrong[0]]).any() else "infinite values"
        raise ShapesweepError(
            f"{path}: row {wrong[0]} contains {what} (rows with NaN or infinite values: "
            f"{len(wrong):,} of {len(points):,})"
        )
    largest = float(np.abs(points).max())
    if largest > LARGEST:
        raise ShapesweepError(
            f"{path}: contains numbers up to {largest:.0e}; such values overflow when squared, so "
            "rescale the data"
        )
    if (points == points[0]).all():
        raise ShapesweepError(f"{path}: all {len(points):,} points are equal")
