"""Read and write the tables that steps exchange, and check them against their `schemas`.

Every table is a Parquet file with a checksum, and is written atomically.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from shapesweep.errors import ShapesweepError
from shapesweep.storage import atomic, checksummed

#: Key of shapesweep's metadata in the metadata of a table.
_KEY = "shapesweep"


def write(
    rows: pa.Table | pd.DataFrame | list[dict[str, Any]],
    schema: pa.Schema,
    path: str | Path,
    metadata: dict[str, Any] | None = None,
) -> None:
    """Write a table atomically.

    Parameters
    ----------
    rows : pyarrow.Table, pandas.DataFrame or list of dict
        Rows with the columns of the schema; values may be null. Additional columns are dropped from
        a `pyarrow.Table`, but cause a ValueError in all other types.
    schema : pyarrow.Schema
    path : path-like
    metadata : dict, optional
        Description of the table's inputs, in values that can be serialised as JSON.
    """
    path = Path(path)
    if isinstance(rows, pa.Table):
        table = rows.select(schema.names).cast(schema)
        table = table.replace_schema_metadata(rows.schema.metadata or {})
    else:
        frame = pd.DataFrame(rows, columns=None if len(rows) else schema.names)
        unknown = set(frame.columns) - set(schema.names)
        if unknown:
            raise ValueError(f"{path.name} has no column {sorted(unknown)}")
        table = pa.Table.from_pandas(frame[schema.names], schema=schema, preserve_index=False)
    # pandas adds metadata that preserve the integer types.
    write_parts([table], table.schema, path, metadata)


def write_parts(
    parts: Iterable[pa.Table],
    schema: pa.Schema,
    path: str | Path,
    metadata: dict[str, Any] | None = None,
) -> None:
    """Write many tables as one table, atomically; only one of them is in memory at a time.

    Parameters
    ----------
    parts : iterable of pyarrow.Table
        Tables with the columns of the schema; each table becomes a row group.
    schema : pyarrow.Schema
    path : path-like
    metadata : dict, optional
        Values that can be serialised as JSON.
    """
    if metadata:
        schema = schema.with_metadata({**(schema.metadata or {}), _KEY: json.dumps(metadata)})
    with (
        atomic.file(path) as partial,
        checksummed.Writer(partial, schema, compression="zstd") as writer,
    ):
        for part in parts:
            writer.write_table(part.cast(schema))


def read(path: str | Path, schema: pa.Schema) -> pd.DataFrame:
    """Read a table as pandas, and check it against its schema.

    Returns
    -------
    pandas.DataFrame
        Integers are nullable (Int64).

    Raises
    ------
    ShapesweepError
        In the same cases as `read_arrow`.
    """
    return as_pandas(read_arrow(path, schema))


class Reader:
    """Reads only the rows of chosen checkpoints into memory.

    Parameters
    ----------
    path : path-like
        A file written by `write_parts`.
    schema : pyarrow.Schema
        Schema with the columns `suite`, `run` and `revision`.

    Raises
    ------
    ShapesweepError
        In the same cases as `read_arrow`.
    """

    def __init__(self, path: str | Path, schema: pa.Schema) -> None:
        self._path, self._schema = path, schema
        self._file = _open(path, checksummed.open_file)
        self._row_groups: dict[tuple[str, str, str], list[int]] = {}
        for number in range(self._file.num_row_groups):
            found = self._file.read_row_group(number, columns=["suite", "run", "revision"])
            names = pa.TableGroupBy(found, found.column_names).aggregate([])
            for key in zip(*(column.to_pylist() for column in names.columns), strict=True):
                self._row_groups.setdefault(key, []).append(number)

    def __call__(self, suite: str, run: str, revisions: Sequence[str]) -> pd.DataFrame:
        """Return the rows of the given checkpoints, in the same format as `read`."""
        groups = {
            n for revision in revisions for n in self._row_groups.get((suite, run, revision), [])
        }
        table = self._file.read_row_groups(sorted(groups))
        mine = pc.and_(pc.equal(table["suite"], suite), pc.equal(table["run"], run))
        mine = pc.and_(mine, pc.is_in(table["revision"], pa.array(revisions)))
        return as_pandas(_conform(table.filter(mine), self._schema, self._path))


def read_arrow(path: str | Path, schema: pa.Schema) -> pa.Table:
    """Read a table, and check it against its schema.

    Returns
    -------
    pyarrow.Table

    Raises
    ------
    ShapesweepError
        If the file is absent or damaged, or if its columns or types do not match the schema.
    """
    return _conform(_open(path, checksummed.read), schema, path)


def read_metadata(path: str | Path) -> dict[str, Any]:
    """Return the metadata of a table; empty if the table has no metadata.

    Raises
    ------
    ShapesweepError
        If the file is absent or damaged.
    """
    found = _open(path, checksummed.read_schema).metadata or {}
    return json.loads(found.get(_KEY.encode(), b"{}"))


def _conform(table: pa.Table, schema: pa.Schema, path: str | Path) -> pa.Table:
    """Select the columns of the schema, and cast them to the types in the schema."""
    try:
        return table.select(schema.names).cast(schema)
    except (pa.ArrowInvalid, KeyError) as error:
        raise ShapesweepError(
            f"{path}: not a table of this version ({first_line(error)})"
        ) from None


def as_pandas(table: pa.Table) -> pd.DataFrame:
    """Convert a table to pandas, with nullable integers (Int64)."""
    return table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)


def _open(path: str | Path, reader: Callable[[str | Path], Any]) -> Any:
    try:
        return reader(path)
    except FileNotFoundError:
        raise ShapesweepError(f"{path}: no such file; run snakemake first") from None
    except (pa.ArrowException, OSError) as error:
        raise ShapesweepError(
            f"{path}: damaged ({first_line(error)}); remove it, and run again"
        ) from None


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, or the error's type if there is no message."""
    return (str(error) or type(error).__name__).splitlines()[0]
