"""The manifest: which checkpoints a suite has, what their files are, which are selected.

Takes in a suite; hands on one row a checkpoint. Listing is cheap (names only) and
happens while Snakemake plans, so that a dry run shows the whole fan-out; the table
adds what reading the files tells.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from shapesweep import checkpoint
from shapesweep.config import Every, Log, Steps
from shapesweep.errors import ShapesweepError
from shapesweep.suite import NAME, EmbeddedSuite, LocalSuite, checkpoint_folder

#: Which checkpoints of a run a configuration chooses.
Rule = Literal["all"] | Every | Steps | Log


@dataclass(frozen=True)
class Listed:
    """A checkpoint as its name tells it."""

    run: str
    revision: str
    step: int | None
    folder: Path


def list_checkpoints(
    name: str, suite: EmbeddedSuite | LocalSuite, results: str | Path
) -> list[Listed]:
    """All checkpoints of a suite, by run and step.

    Parameters
    ----------
    name : str
    suite : EmbeddedSuite or LocalSuite
    results : path-like
        Where an embedded suite is trained to.

    Returns
    -------
    list of Listed

    Raises
    ------
    ShapesweepError
        If a local run's folder is absent or holds no checkpoint.
    """
    if isinstance(suite, EmbeddedSuite):
        return [
            Listed(run, revision := f"checkpoint-{step}", step, folder / revision)
            for run in suite.runs
            for folder in [checkpoint_folder(results, name, run)]
            for step in sorted(set(suite.steps))
        ]
    return [
        found
        for run, local in suite.runs.items()
        for found in _list_folder(name, run, Path(local.path), re.compile(suite.pattern))
    ]


def select(listed: list[Listed], rule: Rule) -> list[Listed]:
    """The checkpoints that a configuration's `checkpoints` chooses, run by run.

    Parameters
    ----------
    listed : list of Listed
    rule : 'all', Every, Steps or Log

    Returns
    -------
    list of Listed

    Raises
    ------
    ShapesweepError
        If that is none.
    """
    chosen = []
    for run in dict.fromkeys(one.run for one in listed):
        chosen += _select([one for one in listed if one.run == run], rule)
    if not chosen:
        raise ShapesweepError(f"checkpoints: chooses none of the {len(listed)} that there are")
    return chosen


def rows(
    name: str, suite: EmbeddedSuite | LocalSuite, listed: list[Listed], rule: Rule
) -> list[dict[str, Any]]:
    """The manifest's rows: every listed checkpoint with its files, status and selection.

    Returns
    -------
    list of dict
        In the columns of `tables.MANIFEST`.
    """
    chosen = {(one.run, one.revision) for one in select(listed, rule)}
    made = []
    for one in listed:
        is_chosen = (one.run, one.revision) in chosen
        # What is not chosen is listed, not read: a sweep of a few checkpoints stays cheap.
        seen = checkpoint.inspect(one.folder, hashed=is_chosen)
        seed, step, tokens = place(suite, one)
        made.append(
            {
                "suite": name,
                "run": one.run,
                "seed": seed,
                "revision": one.revision,
                "step": step,
                "tokens": tokens,
                "phase": None,
                "bytes": sum(file["size"] for file in seen["files"]),
                "selected": is_chosen and not seen["status"],
                **seen,
            }
        )
    return made


def _list_folder(suite: str, run: str, folder: Path, pattern: re.Pattern[str]) -> list[Listed]:
    if not folder.is_dir():
        raise ShapesweepError(f"suite {suite}, run {run}: path: there is no folder {folder}")
    found = []
    for path in sorted(folder.iterdir()):
        match = pattern.fullmatch(path.name)
        if match and path.is_dir() and re.match(NAME, path.name):
            found.append(Listed(run, path.name, _step(match), path))
    if not found and (folder / "config.json").is_file():
        # The folder is a checkpoint itself: one that has no place on the axis of steps.
        return [Listed(run, "main", None, folder)]
    if not found:
        raise ShapesweepError(
            f"suite {suite}, run {run}: no folder in {folder} is named like {pattern.pattern} "
            "(the suite's pattern), and it is no checkpoint itself (config.json); set the pattern"
        )
    return sorted(found, key=lambda one: one.step or 0)


def _step(match: re.Match[str]) -> int:
    try:
        return int(match["step"])
    except (TypeError, ValueError):
        raise ShapesweepError(
            f"pattern: the group step gives {match['step']!r} for {match.string!r}, not a number"
        ) from None


def _select(run: list[Listed], rule: Rule) -> list[Listed]:
    if rule == "all":
        return run
    if isinstance(rule, Every):
        return run[:: rule.every]
    if isinstance(rule, Steps):
        return [one for one in run if one.step in rule.steps]
    assert isinstance(rule, Log)
    steps = np.log1p([one.step or 0 for one in run])
    targets = np.linspace(steps[0], steps[-1], rule.log)
    return [run[i] for i in sorted({int(np.abs(steps - t).argmin()) for t in targets})]


def place(
    suite: EmbeddedSuite | LocalSuite, one: Listed
) -> tuple[int | None, int | None, int | None]:
    """Where a listed checkpoint stands: its run's seed, its step, the tokens seen until then."""
    return suite.runs[one.run].seed, one.step, _tokens(suite, one.step)


def _tokens(suite: EmbeddedSuite | LocalSuite, step: int | None) -> int | None:
    if step is None:
        return None
    if isinstance(suite, EmbeddedSuite):
        return step * suite.batch_size * suite.document_length
    return None if suite.tokens_per_step is None else step * suite.tokens_per_step
