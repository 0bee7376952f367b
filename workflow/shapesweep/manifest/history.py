"""The history of runs: one table per suite, with the values that logs and probes recorded.

A run's log is the `trainer_state.json` of a Trainer, or a file that the suite names. Probes write
`probe.parquet`. If a log is still being written, only its complete entries are read.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from shapesweep.config.hub_suite import HubSuite
from shapesweep.config.suite import AnySuite, LocalSuite, checkpoint_folder
from shapesweep.errors import ShapesweepError, near
from shapesweep.hub import client, listing
from shapesweep.hub.errors import RefusedError, UnreachableError
from shapesweep.hub.revisions import Repository
from shapesweep.manifest.checkpoints import list_checkpoints, listing_file
from shapesweep.manifest.logs import read_log
from shapesweep.storage import axis, schemas, tables
from shapesweep.storage.files import stats
from shapesweep.storage.schemas import PROBE_FILE

#: `_NOTHING` is a table without entries. A `Log` is a table of logged values, with a list of
#: messages about problems.
_NOTHING = pd.DataFrame(columns=["step", "metric", "value"])
Log = tuple[pd.DataFrame, list[str]]


def of_folder(folder: str | Path, pattern: str = r"checkpoint-\d+") -> Log:
    """Return the log of a Trainer's run, from the `trainer_state.json` with the highest step.

    Parameters
    ----------
    folder : path-like
        Folder with `checkpoint-<step>/trainer_state.json`, `trainer_state.json`, or both.
    pattern : str
        Regular expression for the names of the folders of checkpoints. Folders with other names may
        belong to other runs.

    Returns
    -------
    log : pandas.DataFrame
        Table with the columns of `read_log`; empty if there is no intact state file.
    problems : list of str
        Messages about damaged state files. Damaged files are skipped. The intact files lack at most
        the last entries of the log.
    """
    found, problems = [], []
    for path in _states_of_trainer(folder, pattern):
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
        Messages about unreadable logs and probes. These messages do not count as errors.

    Raises
    ------
    ShapesweepError
        If a log that a local suite names is damaged or absent, or if the Hub does not answer.
    """
    parts = [pd.DataFrame(columns=schemas.HISTORY.names)]
    problems: list[str] = []
    for run, (log, more), folder in _logs(name, suite, results):
        problems += more
        known = [log.assign(source="log")]
        if folder is not None and (folder / PROBE_FILE).is_file():
            try:
                probed = tables.read(folder / PROBE_FILE, schemas.PROBE)
                known.append(probed.assign(source="probe"))
            except ShapesweepError as error:
                problems.append(str(error))
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
        own = [Path(local.losses)] if local.losses else None
        files = own or _states_of_trainer(local.path, suite.pattern)
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
            named = local.losses
            log = (read_log(named), []) if named else of_folder(local.path, suite.pattern)
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


def _states_of_trainer(folder: str | Path, pattern: str) -> list[Path]:
    """Return the paths of `trainer_state.json` in a Trainer's output folder and its checkpoints."""
    inside = Path(folder).glob("*/trainer_state.json")
    return sorted(
        [
            *Path(folder).glob("trainer_state.json"),
            *(path for path in inside if re.fullmatch(pattern, path.parent.name)),
        ]
    )
