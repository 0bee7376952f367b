"""Measuring a batch: extract the activations of its checkpoints, measure them, write the tables.

Each checkpoint is finished by itself, in the folder that keeps its numbers. The tables of the batch
are written at the end from these folders, so a job that is stopped loses one checkpoint at most.
"""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from shapesweep.activations import budget, extract
from shapesweep.config.measurement import Measurement
from shapesweep.errors import CheckpointError, ShapesweepError
from shapesweep.geometry import checkpoint
from shapesweep.geometry.kept import Measured, write_budget
from shapesweep.geometry.member import Member
from shapesweep.storage import atomic, failures, schemas, tables

#: Tables that are joined from those of the checkpoints.
_JOINED = {
    "geometry": schemas.GEOMETRY,
    "replicates": schemas.REPLICATES,
    "losses": schemas.LOSSES,
    "samples": schemas.SAMPLES,
}


def measure(
    members: Sequence[Member],
    out: str | Path,
    temporary: str | Path,
    settings: Measurement,
    kept: str | Path | None = None,
) -> Iterator[str]:
    """Measure checkpoints, and write their tables.

    Parameters
    ----------
    members : sequence of Member
    out : path-like
        Folder of `geometry`, `replicates`, `losses`, `samples`, `origins`, `failures` (`.parquet`).
    temporary : path-like
        Folder for shards, each removed when it is measured.
    settings : Measurement
    kept : path-like, optional
        Folder for shards that are kept, of a single checkpoint.

    Yields
    ------
    str
        What was done, line by line.

    Raises
    ------
    ShapesweepError
        If a shard is damaged.
    """
    failed: dict[str, dict[str, Any]] = {}
    with atomic.temporary(temporary, "shards") as folder:
        sources = []
        for member in members:
            # Shards that are kept are all extracted, whether or not they are measured.
            if member.is_measured and not kept:
                yield f"{member.checkpoint.name}: measured before"
                continue
            sources.append(
                extract.Source(
                    member.checkpoint,
                    member.folder,
                    Path(kept) if kept else folder / str(member.checkpoint.revision),
                    member.tokenizer,
                    {} if kept else member.known.complete(),
                    member.fingerprint,
                )
            )
        folders = {member.checkpoint.revision: _place(member) for member in members}
        for number, (source, line) in enumerate(extract.extract(sources, settings)):
            yield line
            name = str(source.checkpoint.revision)
            failure = failures.recorded(source.out)
            if failure:
                failed[name] = failure
            else:
                part = (number, len(sources))
                line = checkpoint.measure(source.out, folders[name], settings, part)
                yield f"{source.checkpoint.name}: {line}"
            if not kept:
                shutil.rmtree(source.out)
    _write(members, failed, Path(out), settings)


def measure_budget(member: Member, out: str | Path, rise: float) -> str:
    """Measure the dimension budget of a checkpoint, and write its table.

    Parameters
    ----------
    one : Member
    out : path-like
        A Parquet file of `schemas.BUDGETS`. If the checkpoint cannot be measured, it has no rows,
        and its metadata has the row of `schemas.FAILURES`.
    rise : float
        Relative rise of the loss that is allowed.

    Returns
    -------
    str
        What was done, in one line.
    """
    rows = member.budget(rise)
    line, failure = f"{member.checkpoint.name}: measured before", None
    if rows is None:
        try:
            rows = budget.measure(
                member.checkpoint, member.folder, member.settings, member.tokenizer, rise
            )
            line = f"{member.checkpoint.name}: {len(rows)} layers"
            if member.place:
                write_budget(rows, member.place, member.budget_fingerprint(rise))
        except CheckpointError as error:
            rows, failure = [], failures.without_budget(member.checkpoint, error)
            line = f"{member.checkpoint.name}: {failure['reason']}"
    metadata = {"transient": int(bool(failure and failure["transient"])), "failure": failure}
    tables.write(rows, schemas.BUDGETS, out, metadata)
    return line


def _write(
    members: Sequence[Member],
    failed: dict[str, dict[str, Any]],
    out: Path,
    settings: Measurement,
) -> None:
    """Write the tables of a batch from those of its checkpoints."""
    names = [str(member.checkpoint.revision) for member in members]
    measured = {
        name: _finished(member, settings)
        for name, member in zip(names, members, strict=True)
        if name not in failed
    }
    for name, schema in _JOINED.items():
        frames = (getattr(numbers, name) for numbers in measured.values())
        parts = (pa.Table.from_pandas(frame, schema, preserve_index=False) for frame in frames)
        vocabularies = {revision: numbers.vocabulary for revision, numbers in measured.items()}
        metadata = {"vocabularies": vocabularies} if name == "samples" else None
        tables.write_parts(parts, schema, out / f"{name}.parquet", metadata)
    origins = [row for numbers in measured.values() for row in _origins(numbers)]
    tables.write(origins, schemas.ORIGINS, out / "origins.parquet")
    rows = [failed[name] for name in names if name in failed]
    transient = sum(row["transient"] for row in rows)
    tables.write(rows, schemas.FAILURES, out / "failures.parquet", {"transient": transient})


def _origins(measured: Measured) -> Iterator[dict[str, Any]]:
    """What a checkpoint's numbers were made from and by, corpus by corpus."""
    for corpus, origin in measured.origins.items():
        known = {**origin["from"], **origin["by"], "corpus": corpus}
        yield {name: known.get(name) for name in schemas.ORIGINS.names}


def _finished(member: Member, settings: Measurement) -> Measured:
    """What has been measured of a checkpoint, all of it."""
    folder = _place(member)
    found = Measured.read(folder, settings)
    if not found.is_finished(member.fingerprint):
        raise ShapesweepError(f"{folder}: changed by another job while it was read; run again")
    return found


def _place(member: Member) -> Path:
    if member.place is None:
        raise ValueError(f"{member.checkpoint.name} has no folder that keeps its numbers")
    return member.place
