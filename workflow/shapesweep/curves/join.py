"""Join the tables of all batches, and leave out inconsistent checkpoints.

This module also checks whether checkpoints are consistent with their neighbours, and records
inconsistent checkpoints in the table of failures.
"""

import functools
import operator
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from shapesweep.curves.continuity import between_neighbours
from shapesweep.curves.copies import copies
from shapesweep.curves.weights import Sample
from shapesweep.storage import failures, schemas, tables
from shapesweep.storage.manifests import Checkpoint
from shapesweep.storage.manifests import read as read_manifest
from shapesweep.storage.manifests import write as write_manifest

_KEY = ["suite", "run", "revision"]
_NOTHING = pd.DataFrame(columns=schemas.HISTORY.names)
#: Maximum difference between the loss of an untrained causal model and ln(size of the vocabulary),
#: in nats.
START_LOSS = 0.5


@dataclass(frozen=True)
class CheckpointTables:
    """A checkpoint and the folder of its tables.

    Attributes
    ----------
    checkpoint : Checkpoint
    folder : Path
        Folder with the tables of the checkpoint's batch.
    """

    checkpoint: Checkpoint
    folder: Path

    def read(self, name: str, schema: pa.Schema) -> pa.Table:
        """Read the rows of the checkpoint from a table.

        Raises
        ------
        ShapesweepError
            If the table is absent or damaged.
        """
        table = _read(self.folder / f"{name}.parquet", schema)
        return table.filter(pc.equal(table["revision"], self.checkpoint.revision))


def join(
    plans: Sequence[str | Path],
    manifests: Sequence[str | Path],
    histories: Sequence[str | Path],
    results: str | Path,
    out: str | Path,
) -> None:
    """Join the tables of all batches.

    Parameters
    ----------
    plans, manifests, histories : sequence of path-like
        One plan, one manifest and one history per suite. A plan lists the batches and budgets of a
        suite. A manifest lists checkpoints, including those that could not be selected.
    results : path-like
        Folder of the results, to which the paths in plans are relative.
    out : path-like
        Folder for `geometry`, `replicates`, `losses`, `budgets`, `origins`, `failures`, `history`,
        `continuity`, `copies` and `manifest` (`.parquet`).

    Raises
    ------
    ShapesweepError
        If a file is absent or damaged.
    """
    _read.cache_clear()
    records = [failures.read_json(Path(path)) for path in plans]
    listed = [checkpoint for path in manifests for checkpoint in read_manifest(path)]
    entries = _with_tables(records, listed, Path(results))
    weights = _weights(entries)
    continuity = _continuity(weights)
    accepted = {record["suite"]: record["definition"].get("accept", []) for record in records}
    doubts = _doubts(entries, continuity, accepted)
    key = operator.itemgetter("suite", "run", "revision")
    excluded = {key(row) for row in doubts if not row["measured"]}
    kept = [entry for entry in entries if entry.checkpoint.key not in excluded]
    copied = _copies(weights, excluded)
    out = Path(out)
    for name in ("geometry", "replicates", "origins"):
        schema = getattr(schemas, name.upper())
        tables.write_parts(
            (entry.read(name, schema) for entry in kept), schema, out / f"{name}.parquet"
        )
    paths = [Path(results, path) for record in records for path in record["budgets"]]
    counted = [tables.read_arrow(path, schemas.BUDGETS) for path in paths]
    budgeted = pa.concat_tables([schemas.BUDGETS.empty_table(), *counted]).to_pylist()
    sound = [row for row in budgeted if key(row) not in excluded]
    tables.write(sound, schemas.BUDGETS, out / "budgets.parquet")
    history = pd.concat([tables.read(path, schemas.HISTORY) for path in histories] or [_NOTHING])
    tables.write(history, schemas.HISTORY, out / "history.parquet")
    tables.write(_losses(kept, history), schemas.LOSSES, out / "losses.parquet")
    tables.write(continuity, schemas.CONTINUITY, out / "continuity.parquet")
    tables.write(copied, schemas.COPIES, out / "copies.parquet")
    write_manifest(_flagged(listed, continuity), out / "manifest.parquet")
    found = [_failure(c, ", ".join(c.status)) for c in listed if _is_excluded(c)] + doubts
    found += [_copied(row, entries) for row in copied.itertuples()]
    failed = []
    for entry in entries:
        rows = entry.read("failures", schemas.FAILURES).to_pylist()
        failed += [row | {"log": _log(entry.folder, results)} for row in rows]
    without_budget = [_without_budget(path, results) for path in paths]
    not_measured = excluded | {key(row) for row in failed}
    found += [row for row in without_budget if row and key(row) not in not_measured]
    tables.write([*found, *failed], schemas.FAILURES, out / "failures.parquet")


def _with_tables(
    records: Sequence[Mapping[str, Any]], listed: Sequence[Checkpoint], results: Path
) -> list[CheckpointTables]:
    """Return the checkpoints of all batches, in the order of the manifests.

    If a training run has added checkpoints since the plan was made, they are left to the next
    sweep.
    """
    folders = {
        (record["suite"], batch["run"], revision): results / "geometry" / batch["folder"]
        for record in records
        for batch in record["batches"]
        for revision in batch["revisions"]
    }
    known = {checkpoint.key for checkpoint in listed}
    sound = [checkpoint for checkpoint in listed if checkpoint.selected]
    # If a checkpoint has been removed since the plan was made, its batch has recorded a failure.
    gone = [Checkpoint(*key) for key in folders if key not in known]
    return [
        CheckpointTables(checkpoint, folders[checkpoint.key])
        for checkpoint in [*sound, *gone]
        if checkpoint.key in folders
    ]


def _without_budget(path: Path, results: str | Path) -> dict[str, Any] | None:
    """Return the row of a failed dimension budget; None if the budget was measured."""
    row = tables.read_metadata(path).get("failure")
    return row and row | {"log": _log(path.with_suffix(""), results)}


def _log(output: Path, results: str | Path) -> str:
    """Return the path of the log of the job that wrote an output, relative to the results."""
    return f"logs/{output.relative_to(results)}.log"


@functools.lru_cache(maxsize=4)
def _read(path: Path, schema: pa.Schema) -> pa.Table:
    """Read a table of a batch; the cache keeps it for the other checkpoints of the batch."""
    return tables.read_arrow(path, schema)


def _losses(kept: Sequence[CheckpointTables], history: pd.DataFrame) -> pd.DataFrame:
    """Collect the losses that were measured on the corpora, and the losses that runs logged."""
    parts = [tables.as_pandas(entry.read("losses", schemas.LOSSES)) for entry in kept]
    measured = pd.concat(parts) if parts else pd.DataFrame(columns=schemas.LOSSES.names)
    logged = history[(history.source == "log") & (history.metric == "loss")]
    losses = pd.concat([measured, logged]).reindex(columns=schemas.LOSSES.names)
    return losses.sort_values(["suite", "run", "source", "step"], kind="stable")


def _is_excluded(checkpoint: Checkpoint) -> bool:
    """Return whether the manifest excludes a checkpoint."""
    return (checkpoint.chosen and not checkpoint.selected) or "empty_main" in checkpoint.status


#: The checkpoints of every run, by suite and run, each with a sample of its weights.
Weights = dict[tuple[str, str], list[tuple[Checkpoint, Sample]]]


def _weights(entries: Sequence[CheckpointTables]) -> Weights:
    runs: Weights = {}
    for entry in entries:
        found = entry.read("samples", schemas.SAMPLES).to_pandas()
        if len(found):
            by_class = found.groupby("tensor_class", sort=False).value
            sample = {kind: values.to_numpy(np.float32) for kind, values in by_class}
            key = entry.checkpoint.suite, entry.checkpoint.run
            runs.setdefault(key, []).append((entry.checkpoint, sample))
    return runs


def _continuity(weights: Weights) -> pd.DataFrame:
    """Compute the table `schemas.CONTINUITY`: compare the weights of neighbouring checkpoints."""
    rows: list[dict[str, Any]] = []
    for key, members in weights.items():
        others = [its for (suite, run), its in weights.items() if suite == key[0] and run != key[1]]
        rows += between_neighbours(members, others)
    return pd.DataFrame(rows, columns=schemas.CONTINUITY.names)


def _copies(weights: Weights, excluded: Set[tuple[str, str, str]]) -> pd.DataFrame:
    """Compute the table `schemas.COPIES`: find runs that are copies of other runs.

    Excluded checkpoints are ignored, because their weights may belong to another run.
    """
    rows = []
    for suite in dict.fromkeys(suite for suite, _ in weights):
        runs = {
            run: {
                checkpoint.step: sample
                for checkpoint, sample in members
                if checkpoint.key not in excluded
            }
            for (of, run), members in weights.items()
            if of == suite
        }
        rows += [{"suite": suite, **row} for row in copies(runs)]
    return pd.DataFrame(rows, columns=schemas.COPIES.names)


def _flagged(listed: Sequence[Checkpoint], continuity: pd.DataFrame) -> list[Checkpoint]:
    """Add the flags from the comparison of weights to the status of the checkpoints."""
    flags = continuity[continuity.flag != ""].drop_duplicates(_KEY).set_index(_KEY).flag.to_dict()
    added = {c.key: (flags[c.key],) if c.key in flags else () for c in listed}
    return [replace(c, status=(*c.status, *added[c.key])) for c in listed]


#: Reason for each flag. `end` is the flag `discontinuous` of the first or last checkpoint of a run.
#: If the flag is `break`, the weights do not show whether the checkpoints before or after the break
#: are wrong.
_REASONS = {
    "same_weights_as": "its weights are those of another step of this run",
    "discontinuous": "its weights are far from both neighbouring checkpoints, although the weights "
    "change slowly in this run",
    "end": "its weights do not belong to this run: their correlation with the weights of "
    "{neighbour} is {correlation:.2f}, but the weights change slowly in this run, or in the other "
    "runs of the suite",
    "out_of_order": "the weights show that its label is swapped with the label of a neighbouring "
    "checkpoint",
    "break": "its weights are far from {neighbour}: the training was restarted, or the checkpoints "
    "before or after the break belong to another run",
}


def _doubts(
    entries: Sequence[CheckpointTables],
    continuity: pd.DataFrame,
    accepted: Mapping[str, Sequence[str]],
) -> list[dict[str, Any]]:
    """Return a row of `schemas.FAILURES` for each checkpoint with implausible weights or losses."""
    found = []
    for row in continuity[continuity.flag != ""].drop_duplicates(_KEY).itertuples():
        reason = f"{row.flag}: {_reason(row, continuity)}"
        measured = row.flag == "break" or "discontinuous" in accepted.get(row.suite, ())
        found.append(_failure(row, reason, measured=measured))
    # The loss of a checkpoint that is left out does not matter.
    excluded = {(row["suite"], row["run"], row["revision"]) for row in found if not row["measured"]}
    kept = [entry for entry in entries if entry.checkpoint.key not in excluded]
    doubts = [(entry.checkpoint, _start(entry)) for entry in kept]
    return found + [_failure(row, doubt, measured=True) for row, doubt in doubts if doubt]


def _reason(row: Any, continuity: pd.DataFrame) -> str:
    """Return the reason for a flag in the table `schemas.CONTINUITY`."""
    run = continuity[(continuity.suite == row.suite) & (continuity.run == row.run)]
    run = run[run.correlation.notna()]
    before, after = run[run.revision == row.revision], run[run.previous == row.revision]
    is_end = row.flag == "discontinuous" and not (len(before) and len(after))
    return _REASONS["end" if is_end else row.flag.partition(":")[0]].format(
        neighbour=row.previous if len(before) else "".join(after.revision[:1]),
        correlation=pd.concat([before, after]).correlation.mean(),
    )


def _start(entry: CheckpointTables) -> str | None:
    """Return a message if the loss of an untrained causal model is implausible."""
    if entry.checkpoint.step != 0:
        return None
    families = entry.read("geometry", schemas.GEOMETRY)["family"].unique().to_pylist()
    if families != ["decoder"]:
        return None
    losses = entry.read("losses", schemas.LOSSES).to_pandas()
    losses = losses[(losses.source == "eval") & losses.corpus.isin(["text", "random"])]
    metadata = tables.read_metadata(entry.folder / "samples.parquet")
    vocabulary = metadata.get("vocabularies", {}).get(entry.checkpoint.revision)
    if not len(losses) or not vocabulary:
        return None
    loss = float(losses.sort_values("corpus", ascending=False).value.iloc[0])
    if abs(loss - np.log(vocabulary)) <= START_LOSS:
        return None
    return (
        f"its loss at step 0 is {loss:.2f}, but the loss of an untrained model with a vocabulary "
        f"of {vocabulary:,} tokens is about {np.log(vocabulary):.2f}"
    )


def _copied(row: Any, entries: Sequence[CheckpointTables]) -> dict[str, Any]:
    """Return a row of `schemas.FAILURES` for a run that is a copy of another run."""
    last = next(
        entry.checkpoint
        for entry in entries
        if (entry.checkpoint.suite, entry.checkpoint.run) == (row.suite, row.run)
        and entry.checkpoint.step == (None if pd.isna(row.step) else row.step)
    )
    reason = (
        f"copy: its weights are those of {row.of} (correlation {row.correlation:.3f}); the run "
    )
    return _failure(last, reason + "does not count as another seed", measured=True)


def _failure(row: Any, reason: str, measured: bool = False) -> dict[str, Any]:
    key = {"suite": row.suite, "run": row.run, "revision": row.revision, "step": row.step}
    of_no_job = {"transient": False, "unexpected": False, "log": None}
    return {**key, "reason": reason, "measured": measured, **of_no_job}
