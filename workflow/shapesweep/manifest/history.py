"""The history of runs: one table per suite, with the values that logs and probes recorded.

A log is a Trainer's `trainer_state.json`, a CSV file, or a file with one JSON object per line.
Probes write `probe.parquet`. If a log is still being written, only its complete entries are read.
"""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from shapesweep.config.hub_suite import HubSuite
from shapesweep.config.suite import AnySuite, LocalSuite, checkpoint_folder
from shapesweep.errors import ShapesweepError, near
from shapesweep.hub import client, listing
from shapesweep.hub.errors import RefusedError, UnreachableError
from shapesweep.hub.revisions import Repository
from shapesweep.manifest.checkpoints import list_checkpoints, listing_file
from shapesweep.storage import axis, schemas, tables
from shapesweep.storage.files import stats
from shapesweep.storage.schemas import LARGEST, PROBE_FILE

#: Column names that logs may use, by priority: first those of the Trainer, then those of the model
#: Lucie, of Megatron-LM, and of Weights & Biases.
STEP = ("step", "training_steps", "iteration", "iter", "global_step", "_step", "steps")
NAMES = {
    "loss": ("loss", "training_loss", "train_loss", "train/loss", "lm loss", "lm_loss", "lm-loss"),
    "gradient_norm": ("grad_norm", "gradient_norm", "train/grad_norm", "grad norm"),
    "learning_rate": ("learning_rate", "lr", "train/learning_rate", "learning rate"),
}

#: `_NOTHING` is a table without entries. A `Log` is a table of logged values, with a list of
#: messages about problems.
_NOTHING = pd.DataFrame(columns=["step", "metric", "value"])
Log = tuple[pd.DataFrame, list[str]]


def read_log(path: str | Path, data: bytes | None = None) -> pd.DataFrame:
    """Read the numbers that a training run has logged.

    Parameters
    ----------
    path : path-like
        A file `*.json` (state of a Trainer), `*.jsonl` (one object per line) or `*.csv`.
    data : bytes, optional
        Contents of the file, if the file is not on this machine.

    Returns
    -------
    pandas.DataFrame
        With columns step, metric (`loss`, `gradient_norm`, `learning_rate`) and value; for each
        step and metric, the last value that was logged.

    Raises
    ------
    ShapesweepError
        If the file is absent or damaged, or has no column of steps or of losses.
    """
    path = Path(path)
    try:
        data = path.read_bytes() if data is None else data
    except FileNotFoundError:
        raise ShapesweepError(f"{path}: there is no such log") from None
    if path.suffix not in _FORMATS:
        raise ShapesweepError(f"{path}: the suffix of a log must be .json, .jsonl or .csv")
    try:
        entries = _FORMATS[path.suffix](data)
        if not all(isinstance(entry, dict) for entry in entries):
            raise TypeError
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ShapesweepError(f"{path}: damaged: its contents do not match its suffix") from None
    columns = dict.fromkeys(name for entry in entries for name in entry)
    names = ", ".join(map(str, columns)) or "nothing"
    step = next((name for name in STEP if name in columns), None)
    if step is None and entries:
        raise ShapesweepError(f"{path}: has no column {' or '.join(STEP[:3])}; it has {names}")
    rows = []
    for metric, known in NAMES.items():
        name = next((name for name in known if name in columns), None)
        # A missing value is None, because NaN is a value that a log may contain.
        values = [(entry.get(step), metric, entry.get(name)) for entry in entries]
        rows += [row for row in values if _is_number(row[0]) and _is_number(row[2])]
    table = pd.DataFrame(rows, columns=_NOTHING.columns)
    steps = pd.to_numeric(table.step, errors="coerce").to_numpy(float)
    if not (np.isfinite(steps) & (steps >= 0) & (steps <= LARGEST)).all():
        raise ShapesweepError(f"{path}: the column {step} must contain non-negative integers")
    table = table.assign(step=steps.astype(int), value=table.value.astype(float))
    if entries and "loss" not in set(table.metric):
        raise ShapesweepError(
            f"{path}: has no column {' or '.join(NAMES['loss'][:3])}; it has {names}"
        )
    # A training run that was resumed may have logged some steps twice.
    table = table.drop_duplicates(["step", "metric"], keep="last")
    return table.sort_values(["metric", "step"], kind="stable").reset_index(drop=True)


def of_folder(folder: str | Path) -> Log:
    """Return the log of a Trainer's run, from the `trainer_state.json` with the highest step.

    Parameters
    ----------
    folder : path-like
        Folder with `checkpoint-<step>/trainer_state.json`, `trainer_state.json`, or both.

    Returns
    -------
    log : pandas.DataFrame
        Table with the columns of `read_log`; empty if there is no intact state file.
    problems : list of str
        Messages about damaged state files. Damaged files are skipped. The intact files lack at most
        the last entries of the log.
    """
    found, problems = [], []
    for path in _states_of_trainer(folder):
        try:
            found.append(read_log(path))
        except ShapesweepError as error:
            problems.append(str(error))
    longest = max(found, key=lambda log: log.step.max() if len(log) else -1, default=_NOTHING)
    return longest, problems


def of_suite(name: str, suite: AnySuite, results: str | Path) -> Log:
    """Return the history of a suite's runs, with the columns of `schemas.HISTORY`.

    Parameters
    ----------
    name : str
    suite : EmbeddedSuite, LocalSuite or HubSuite
    results : path-like
        Results folder, which contains trained checkpoints and listings.

    Returns
    -------
    history : pandas.DataFrame
        Rows for every run that has a log or a probe.
    problems : list of str
        Messages about unreadable logs. These messages do not count as errors.

    Raises
    ------
    ShapesweepError
        If the file of a probe is damaged, if a log that a local suite names is damaged or absent,
        or if the Hub does not answer.
    """
    parts = [pd.DataFrame(columns=schemas.HISTORY.names)]
    problems: list[str] = []
    for run, (log, more), folder in _logs(name, suite, results):
        problems += more
        known = [log.assign(source="log")]
        if folder is not None and (folder / PROBE_FILE).is_file():
            probed = tables.read(folder / PROBE_FILE, schemas.PROBE)
            known.append(probed.assign(source="probe"))
        parts += [part.assign(suite=name, run=run) for part in known if len(part)]
    table = pd.concat(parts[1:] or parts).reindex(columns=schemas.HISTORY.names)
    return table.reset_index(drop=True), problems


def states(name: str, suite: AnySuite) -> list[Any]:
    """Return the names, sizes and times of the logs that the history of a suite depends on.

    Raises
    ------
    ShapesweepError
        If a log that the suite names is absent.
    """
    if isinstance(suite, HubSuite):
        for run, path in suite.loss_files.items():
            _check_log(f"suites.{name}.loss_files.{run}", path)
        on_disk = [[run, *stats([path])] for run, path in suite.loss_files.items()]
        return [*sorted(suite.losses.items()), *on_disk]
    if not isinstance(suite, LocalSuite):
        return []
    states: list[Any] = []
    for run, local in suite.runs.items():
        if local.losses:
            _check_log(f"suites.{name}.runs.{run}.losses", local.losses)
        files = [Path(local.losses)] if local.losses else _states_of_trainer(local.path)
        states.append([run, *stats([*files, Path(local.path, PROBE_FILE)])])
    return states


def _logs(
    name: str, suite: AnySuite, results: str | Path
) -> Iterator[tuple[str, Log, Path | None]]:
    """Yield every run, the run's log, and the run's folder (None if the run is on the Hub)."""
    if isinstance(suite, HubSuite):
        if suite.losses or suite.loss_files:
            yield from _published(name, suite, results)
    elif isinstance(suite, LocalSuite):
        for run, local in suite.runs.items():
            log = (read_log(local.losses), []) if local.losses else of_folder(local.path)
            yield run, log, Path(local.path)
    else:
        for run in suite.runs:
            folder = checkpoint_folder(results, name, run)
            yield run, of_folder(folder), folder


def _check_log(key: str, path: str) -> None:
    if not Path(path).is_file():
        raise ShapesweepError(f"{key}: there is no file {path}")


def _published(name: str, suite: HubSuite, results: str | Path) -> Iterator[tuple[str, Log, None]]:
    """Yield the logs of a suite: files on this machine, and files of repositories at `main`."""
    listed = listing.read(listing_file(results, name))
    found = list_checkpoints(name, suite, results)
    by_run = {checkpoint.run: checkpoint.repository for checkpoint in found}
    for run, path in {**suite.losses, **suite.loss_files}.items():
        key = "loss_files" if run in suite.loss_files else "losses"
        if run not in by_run:
            # An unknown run is not an error, because the suite's key `only` may leave out runs that
            # have a log.
            problem = f"suites.{name}.{key}: there is no run {run}{near(run, by_run)}"
            yield run, (_NOTHING, [problem]), None
            continue
        mine = [checkpoint for checkpoint in found if checkpoint.run == run]
        if axis.of((c.step for c in mine), (c.tokens for c in mine)).on_tokens:
            problem = (
                f"suites.{name}.{key}: the names of the checkpoints of {run} contain tokens, but "
                "its log contains steps, so the log is left out"
            )
            yield run, (_NOTHING, [problem]), None
            continue
        if key == "loss_files":
            yield run, (read_log(path), []), None
        else:
            yield run, _of_repository(by_run[run], listed[by_run[run]], path), None


def _of_repository(name: str, repository: Repository, path: str) -> Log:
    """Return a log of a repository, at the revision `main`; an unreadable log is a problem."""
    commit = repository.branches.get("main", "")
    file = next((f for f in repository.trees.get(commit) or [] if f.path == path), None)
    if file is None:
        return _NOTHING, [f"{path}: {name} has no such file at the revision main"]
    try:
        data = client.read(name, commit, file)
    except UnreachableError as error:
        client.raise_if_down(error)
        return _NOTHING, [f"{path}: {error}"]
    except RefusedError as error:
        return _NOTHING, [f"{path}: {error}"]
    try:
        return read_log(path, data), []
    except ShapesweepError as error:
        return _NOTHING, [str(error)]


def _states_of_trainer(folder: str | Path) -> list[Path]:
    """Return the paths of `trainer_state.json` in a Trainer's output folder and its checkpoints."""
    return sorted(
        [*Path(folder).glob("trainer_state.json"), *Path(folder).glob("*/trainer_state.json")]
    )


def _state(data: bytes) -> list[Any]:
    return [entry for entry in json.loads(data)["log_history"] if "loss" in entry]


def _lines(data: bytes) -> list[Any]:
    lines = data.decode().splitlines()
    entries = []
    for number, line in enumerate(lines):
        try:
            entries += [json.loads(line)] if line.strip() else []
        except ValueError:
            # While a training run writes its log, the last line may be incomplete.
            if number < len(lines) - 1:
                raise
    return entries


def _table(data: bytes) -> list[Any]:
    # Cells are read as strings, so that an empty cell differs from a NaN.
    table = pd.read_csv(io.BytesIO(data), dtype=str, keep_default_na=False, on_bad_lines="skip")
    return table.to_dict("records")


def _is_number(value: Any) -> bool:
    """Return whether a cell of a log is a number, including NaN and infinity."""
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return not isinstance(value, bool)


_FORMATS = {".json": _state, ".jsonl": _lines, ".csv": _table}
