"""Read and write manifests: tables with one row for each `Checkpoint`."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa

from shapesweep.storage import schemas, tables
from shapesweep.storage.files import File, LocalFile

#: Suite, run and revision.
Key = tuple[str, str, str | None]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint, as a row of the manifest describes it.

    Attributes
    ----------
    suite, run : str
    revision : str or None
        None if the step should have a checkpoint, but has none.
    seed, step, tokens : int or None
        `tokens` is the number of tokens on which the model was trained.
    phase : str or None
    stage : str or None
        Stage of the training after pre-training, such as SFT.
    chosen : bool
        Whether the configuration chooses the checkpoint.
    selected : bool
        Whether the checkpoint is chosen and nothing excludes it.
    architecture : str
        Name of the model's class in transformers; empty if unknown.
    n_layers : int or None
    repository : str or None
        Repository on the Hub; None for a checkpoint on this machine.
    folder : str or None
        Folder inside the repository; for a checkpoint on this machine, the path of the folder.
    commit : str or None
        Commit of the repository; for a local checkpoint, a digest of its files.
    files : tuple of File
        Files (`LocalFile` for a local checkpoint) that are needed to load the checkpoint. For an
        adapter, these include the files of the base model, which have absolute paths.
    status : tuple of str
        Problems of the checkpoint.
    """

    suite: str
    run: str
    revision: str | None
    seed: int | None = None
    step: int | None = None
    tokens: int | None = None
    phase: str | None = None
    stage: str | None = None
    chosen: bool = True
    selected: bool = True
    architecture: str = ""
    n_layers: int | None = None
    repository: str | None = None
    folder: str | None = None
    commit: str | None = None
    files: tuple[File, ...] = ()
    status: tuple[str, ...] = ()

    @property
    def key(self) -> Key:
        """Suite, run and revision."""
        return self.suite, self.run, self.revision

    @property
    def name(self) -> str:
        """`suite/run/revision`, for messages."""
        return f"{self.suite}/{self.run}/{self.revision}"

    @property
    def base(self) -> Path | None:
        """Folder of the base model, if the checkpoint is an adapter."""
        paths = (Path(file.path) for file in self.files)
        return next((path.parent for path in paths if path.is_absolute()), None)

    @property
    def n_bytes(self) -> int:
        """Total size of the checkpoint's files, in bytes."""
        return sum(file.size for file in self.files)


def write(
    checkpoints: Iterable[Checkpoint], path: str | Path, texts: dict[str, str] | None = None
) -> None:
    """Write a manifest atomically.

    Parameters
    ----------
    checkpoints : iterable of Checkpoint
    path : path-like
    texts : dict of str, optional
        SHA-256 digests of the user's text files, by text.
    """
    rows = [{**asdict(checkpoint), "bytes": checkpoint.n_bytes} for checkpoint in checkpoints]
    table = pa.Table.from_pylist(rows, schema=schemas.MANIFEST)
    # With these metadata, pandas reads integer columns as integers even if they contain nulls.
    metadata = pa.Schema.from_pandas(tables.as_pandas(table.slice(0, 0))).metadata
    table = table.replace_schema_metadata(metadata)
    tables.write(table, schemas.MANIFEST, path, {"texts": texts or {}})


def read(path: str | Path) -> list[Checkpoint]:
    """Read a manifest.

    Raises
    ------
    ShapesweepError
        If the file is absent, damaged, or of another version.
    """
    names = [field.name for field in fields(Checkpoint)]
    rows = tables.read_arrow(path, schemas.MANIFEST).select(names).to_pylist()
    return [_checkpoint(row) for row in rows]


def texts(path: str | Path) -> dict[str, str]:
    """Return the SHA-256 digests of the user's text files, by text.

    Raises
    ------
    ShapesweepError
        If the manifest is absent or damaged.
    """
    return tables.read_metadata(path).get("texts", {})


def _checkpoint(row: dict[str, Any]) -> Checkpoint:
    files = tuple(_file(**file) for file in row["files"])
    return Checkpoint(**{**row, "files": files, "status": tuple(row["status"])})


def _file(modified: int | None, **listed: Any) -> File:
    return File(**listed) if modified is None else LocalFile(**listed, modified=modified)
