"""Extract the activations of a batch of checkpoints, measure them, and write the tables.

The numbers of each checkpoint are kept in a folder as soon as the checkpoint is measured. At the
end, the tables of the batch are written from these folders. A job that is stopped therefore loses
the numbers of at most one checkpoint.
"""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from shapesweep.activations import budget, extract
from shapesweep.activations.extract import Source
from shapesweep.config.measurement import Measurement
from shapesweep.errors import CheckpointError, ShapesweepError, as_checkpoint_errors
from shapesweep.geometry import checkpoint
from shapesweep.geometry.isolation import FIRST, Attempt
from shapesweep.geometry.measured import Measured
from shapesweep.geometry.member import Member
from shapesweep.storage import atomic, failures, schemas, tables


def measure(
    members: Sequence[Member],
    out: str | Path,
    temporary: str | Path,
    settings: Measurement,
    kept: str | Path | None = None,
    attempt: Attempt = FIRST,
) -> Iterator[str]:
    """Measure checkpoints, and write their tables.

    Parameters
    ----------
    members : sequence of Member
    out : path-like
        Folder for the tables `geometry`, `replicates`, `losses`, `samples`, `origins` and
        `failures` (`.parquet`).
    temporary : path-like
        Folder for shards, which are removed after they are measured.
    settings : Measurement
    kept : path-like, optional
        Folder in which the shards of a single checkpoint are kept; by default, shards are removed.
    attempt : Attempt, optional
        Checkpoints that ended the process in earlier attempts.

    Yields
    ------
    str
        Message of one line.

    Raises
    ------
    ShapesweepError
        If a shard is damaged; or if memory runs out, and the job will be repeated with more memory.
    """
    failed: dict[str | None, dict[str, Any]] = {}
    for member in members:
        error = attempt.crashed.get(str(member.checkpoint.revision))
        if error:
            failed[member.checkpoint.revision] = failures.as_row(member.checkpoint, error)
            if kept:
                with atomic.folder(kept) as partial:
                    failures.record(partial, member.checkpoint, error)
            yield f"{member.checkpoint.name}: skipped: {error}"
    with atomic.temporary(temporary, "shards") as folder:
        sources = []
        for member in (each for each in members if each.checkpoint.revision not in failed):
            # To keep the shards, extract all of them, even if their numbers are already measured.
            if member.is_measured and not kept:
                yield f"{member.checkpoint.name}: already measured"
                continue
            shards = Path(kept) if kept else folder / str(member.checkpoint.revision)
            sources.append(member.source(shards, None if kept else member.known.complete()))
        folders = {member.checkpoint.revision: _measured_folder(member) for member in members}
        for number, (source, line) in enumerate(_extract(sources, settings, attempt)):
            yield line
            revision = source.checkpoint.revision
            failure = failures.recorded(source.out)
            if failure:
                attempt.raise_if_repeated(failure["reason"])
                failed[revision] = failure
            else:
                part = (number, len(sources))
                try:
                    with as_checkpoint_errors():
                        line = checkpoint.measure(source.out, folders[revision], settings, part)
                except CheckpointError as error:
                    attempt.raise_if_repeated(str(error))
                    failed[revision] = failures.as_row(source.checkpoint, error)
                    line = f"skipped: {error}"
                yield f"{source.checkpoint.name}: {line}"
            if not kept:
                shutil.rmtree(source.out)
    _write(members, failed, Path(out), settings)


def _extract(
    sources: Sequence[Source], settings: Measurement, attempt: Attempt
) -> Iterator[tuple[Source, str]]:
    """Extract checkpoints. If an earlier attempt crashed, finish each before the next is read."""
    if not attempt.one_by_one:
        yield from extract.extract(sources, settings)
        return
    for source in sources:
        attempt.begin(str(source.checkpoint.revision))
        yield from extract.extract([source], settings)


def measure_budget(member: Member, out: str | Path, rise: float, attempt: Attempt = FIRST) -> str:
    """Measure the dimension budget of a checkpoint, and write its table.

    Parameters
    ----------
    member : Member
    out : path-like
        Parquet file with the columns of `schemas.BUDGETS`. If the checkpoint cannot be measured,
        the table is empty, and its metadata contain a row of `schemas.FAILURES`.
    rise : float
        Maximum relative increase of the loss.
    attempt : Attempt, optional
        Whether the checkpoint ended the process in an earlier attempt.

    Returns
    -------
    str
        Message of one line.

    Raises
    ------
    ShapesweepError
        If memory runs out, and the job will be repeated with more memory.
    """
    revision = str(member.checkpoint.revision)
    rows, failure, line = member.budget(rise), None, "already measured"
    if rows is None:
        try:
            with as_checkpoint_errors():
                if revision in attempt.crashed:
                    raise attempt.crashed[revision]
                attempt.begin(revision)
                rows = budget.measure(
                    member.checkpoint, member.folder, member.settings, member.tokenizer, rise
                )
            line = f"{len(rows)} layers"
            member.keep_budget(rise, rows)
        except CheckpointError as error:
            attempt.raise_if_repeated(str(error))
            rows, failure = [], failures.without_budget(member.checkpoint, error)
            line = failure["reason"]
    metadata = {"transient": int(bool(failure and failure["transient"])), "failure": failure}
    tables.write(rows, schemas.BUDGETS, out, metadata)
    return f"{member.checkpoint.name}: {line}"


def _write(
    members: Sequence[Member],
    failed: dict[str | None, dict[str, Any]],
    out: Path,
    settings: Measurement,
) -> None:
    """Write the tables of a batch from the kept tables of its checkpoints."""
    measured = {}
    for member in members:
        if member.checkpoint.revision in failed:
            continue
        folder = _measured_folder(member)
        numbers = Measured.read(folder, settings)
        if not numbers.is_finished(member.fingerprint):
            raise ShapesweepError(
                f"{folder}: another job changed this folder while it was being read; run again"
            )
        measured[member.checkpoint.revision] = numbers
    corpora = {name for numbers in measured.values() for name in numbers.origins}
    texts = {name: settings.sha256_of(name) for name in corpora}
    stages = {member.checkpoint.revision: member.checkpoint.stage for member in members}
    for name in schemas.OF_CHECKPOINT:
        schema = getattr(schemas, name.upper())
        frames = (
            _completed(getattr(numbers, name), stages[revision], texts)
            for revision, numbers in measured.items()
        )
        parts = (pa.Table.from_pandas(frame, schema, preserve_index=False) for frame in frames)
        vocabularies = {revision: numbers.vocabulary for revision, numbers in measured.items()}
        metadata = {"vocabularies": vocabularies} if name == "samples" else None
        tables.write_parts(parts, schema, out / f"{name}.parquet", metadata)
    origins = [
        origin["from"] | origin["by"] | {"text_sha256": texts[name]}
        for numbers in measured.values()
        for name, origin in numbers.origins.items()
    ]
    rows = [{name: origin.get(name) for name in schemas.ORIGINS.names} for origin in origins]
    tables.write(rows, schemas.ORIGINS, out / "origins.parquet")
    rows = [failed[m.checkpoint.revision] for m in members if m.checkpoint.revision in failed]
    transient = sum(row["transient"] for row in rows)
    tables.write(rows, schemas.FAILURES, out / "failures.parquet", {"transient": transient})


def _completed(frame: pd.DataFrame, stage: str | None, texts: dict[str, str]) -> pd.DataFrame:
    """Add the stage of a checkpoint, and the digest of the text to every row that has a corpus."""
    if "corpus" in frame:
        frame = frame.assign(text_sha256=frame.corpus.map(texts))
    return frame.assign(stage=stage)


def _measured_folder(member: Member) -> Path:
    if member.kept_folder is None:
        raise ValueError(f"{member.checkpoint.name} has no folder in which its numbers are kept")
    return member.kept_folder
