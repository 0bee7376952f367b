"""The manifest: which checkpoints a suite has, what their files are, which are selected.

Takes in a suite; hands on one row a checkpoint. Listing is cheap (names only, or what
`listing` has asked the Hub) and happens while Snakemake plans, so that a dry run shows
the whole fan-out; the table adds what reading the files tells.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from shapesweep import checkpoint, integrity, listing, publication
from shapesweep.config import Every, Log, Selection, Steps
from shapesweep.errors import ShapesweepError
from shapesweep.publication import Place, Published
from shapesweep.published import HubSuite, expand
from shapesweep.schema import LARGEST, near
from shapesweep.suite import NAME, AnySuite, EmbeddedSuite, LocalSuite, checkpoint_folder

#: Which checkpoints of a run a configuration chooses.
Rule = Literal["all"] | Selection


@dataclass(frozen=True)
class Listed:
    """A checkpoint as its name and its listing tell it.

    Attributes
    ----------
    run, revision : str
        `revision` is empty of one that should be there and is not.
    step, seed, tokens : int or None
    phase : str or None
    folder : Path
        Where it lies, or will lie while it is measured.
    flags : tuple of str
        What excludes it, known before its files are read.
    published : Published or None
        Of a suite on the Hub.
    """

    run: str
    revision: str
    step: int | None
    folder: Path
    seed: int | None = None
    tokens: int | None = None
    phase: str | None = None
    flags: tuple[str, ...] = ()
    published: Published | None = None


def listing_file(results: str | Path, suite: str) -> Path:
    """Where what the Hub says of a suite is kept."""
    return Path(results) / "listings" / f"{suite}.json"


def list_checkpoints(name: str, suite: AnySuite, results: str | Path) -> list[Listed]:
    """All checkpoints of a suite, by run and step.

    Parameters
    ----------
    name : str
    suite : EmbeddedSuite, LocalSuite or HubSuite
    results : path-like
        Where an embedded suite is trained to, a listing of the Hub lies, and a download will.

    Returns
    -------
    list of Listed

    Raises
    ------
    ShapesweepError
        If a local run's folder is absent or holds no checkpoint, or the listing is absent.
    """
    if isinstance(suite, EmbeddedSuite):
        tokens = suite.batch_size * suite.document_length
        kept = listing.read_steps(listing_file(results, name)) if suite.onset else {}
        return [
            Listed(run, revision, step, folder / revision, trained.seed, step * tokens)
            for run, trained in suite.runs.items()
            for folder in [checkpoint_folder(results, name, run)]
            for step in sorted(kept[run] if suite.onset else set(suite.steps))
            for revision in [f"checkpoint-{step}"]
        ]
    if isinstance(suite, HubSuite):
        return _list_published(name, suite, results)
    return [
        found
        for run in suite.runs
        for found in _list_folder(name, suite, run, re.compile(suite.pattern))
    ]


def select(listed: Sequence[Listed], rule: Rule) -> list[Listed]:
    """The checkpoints that a configuration's `checkpoints` chooses, run by run.

    A flagged one is chosen where the rule names it, and then reported; where the rule names a
    number of checkpoints, a sound one stands in its place besides.

    Parameters
    ----------
    listed : sequence of Listed
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
        # A main that has no place in training is listed, but is no checkpoint of the run.
        mine = [one for one in listed if one.run == run and not _is_aside(one)]
        wanted = _select(mine, rule) if mine else []
        # Whatever is chosen, a repository that tells nothing might have had it.
        wanted += [one for one in mine if any(f.startswith("not_listed") for f in one.flags)]
        if isinstance(rule, Log):
            sound = [one for one in mine if not one.flags]
            wanted += _select(sound, rule) if sound else []
        kept = {id(one) for one in wanted}
        chosen += [one for one in mine if id(one) in kept]
    if not chosen:
        raise ShapesweepError(f"checkpoints: chooses none of the {len(listed)} that there are")
    return chosen


def budgeted(chosen: Iterable[Listed], rule: Rule | Literal["last"] | None) -> list[Listed]:
    """Of the chosen checkpoints those of which a dimension budget is asked for.

    Parameters
    ----------
    chosen : iterable of Listed
    rule : 'last', as `select`, or None
        `last` is every run's highest step; None is of none. A run that has none of the
        steps that a rule names has no budget.

    Returns
    -------
    list of Listed
    """
    known = list(chosen)
    if rule is None or not known:
        return []
    made = []
    for run in dict.fromkeys(one.run for one in known):
        mine = [one for one in known if one.run == run]
        if rule != "last":
            made += _select(mine, rule)
            continue
        last = max((one.step for one in mine if one.step is not None), default=None)
        made += [one for one in mine if one.step == last]
    return made


def rows(name: str, suite: AnySuite, listed: Sequence[Listed], rule: Rule) -> list[dict[str, Any]]:
    """The manifest's rows: every listed checkpoint with its files, status and selection.

    Returns
    -------
    list of dict
        In the columns of `contracts.MANIFEST`.
    """
    chosen = {id(one) for one in select(listed, rule)}
    made = []
    for one in listed:
        is_chosen = id(one) in chosen
        # What is not chosen is listed, not read: a sweep of a few checkpoints stays cheap.
        seen = (
            _published(one.published)
            if one.published
            else checkpoint.inspect(one.folder, hashed=is_chosen)
        )
        made.append(
            {
                "suite": name,
                "run": one.run,
                "seed": one.seed,
                "revision": one.revision or None,
                "step": one.step,
                "tokens": one.tokens,
                "phase": one.phase,
                "bytes": sum(file["size"] for file in seen["files"]),
                "chosen": is_chosen,
                "selected": is_chosen and not (one.flags if one.published else seen["status"]),
                **seen,
            }
        )
    return made


def tokenizers(
    name: str, suite: AnySuite, results: str | Path, run: str
) -> tuple[dict[str, Any], list[Place]]:
    """Where the tokenizer of a run lies on the Hub.

    Returns
    -------
    row : dict
        The manifest's row of the run's last checkpoint.
    places : list of (str, str, list of File)
        Repository, commit and files, the best place first.

    Raises
    ------
    ShapesweepError
        If the suite has no such run on the Hub.
    """
    listed = list_checkpoints(name, suite, results)
    mine = [one for one in listed if one.run == run and one.revision and not _is_aside(one)]
    found = [one.published for one in mine if one.published]
    if not found or not isinstance(suite, HubSuite):
        raise ShapesweepError(f"suite {name} has no run {run} on the Hub")
    said = listing.read(listing_file(results, name))
    group = listing.groups(suite, [found[-1].repository])[found[-1].repository]
    return rows(name, suite, mine[-1:], "all")[0], publication.tokenizers(found, said, group)


def _list_published(name: str, suite: HubSuite, results: str | Path) -> list[Listed]:
    listed = listing.read(listing_file(results, name))
    groups = listing.groups(suite, listed)
    found = publication.checkpoints(suite, {n: listed[n] for n in groups}, groups)
    if not found:
        wanted = suite.only or ["*"]
        runs = [run.partition("/")[2] for one in suite.groups() for run in expand(one.repository)]
        said = f"suites.{name}.only: no run is named like {', '.join(wanted)}"
        raise ShapesweepError(said + near(wanted[0], runs))
    found = integrity.flag_shared(found)
    folders = {one.run: checkpoint_folder(results, name, one.run) for one in found}
    return [
        Listed(
            *(one.run, one.revision, one.step, folders[one.run] / (one.revision or "-")),
            *(one.seed, one.tokens, one.phase),
            flags=tuple(f for f in one.status if f.partition(":")[0] not in suite.accept),
            published=one,
        )
        for one in found
    ]


def _published(one: Published) -> dict[str, Any]:
    """What the Hub says of a checkpoint, in the columns of the manifest."""
    return {
        "architecture": checkpoint.architecture(one.config),
        "n_layers": checkpoint.n_layers(one.config),
        "repository": one.repository,
        "folder": one.folder,
        "files": [{"path": f.path, "size": f.size, "sha256": f.sha256} for f in one.files],
        "commit": one.commit or None,
        "status": list(one.status),
    }


def _is_aside(one: Listed) -> bool:
    return one.published is not None and one.published.is_main


def _list_folder(name: str, suite: LocalSuite, run: str, pattern: re.Pattern[str]) -> list[Listed]:
    folder, seed = Path(suite.runs[run].path), suite.runs[run].seed
    if not folder.is_dir():
        raise ShapesweepError(f"suite {name}, run {run}: path: there is no folder {folder}")
    found = []
    for path in sorted(folder.iterdir()):
        match = pattern.fullmatch(path.name)
        if match and path.is_dir() and re.fullmatch(NAME, path.name):
            step = _step(match)
            tokens = None if suite.tokens_per_step is None else step * suite.tokens_per_step
            found.append(Listed(run, path.name, step, path, seed, tokens))
    if not found and (folder / "config.json").is_file():
        # The folder is a checkpoint itself: one that has no place on the axis of steps.
        return [Listed(run, "main", None, folder, seed)]
    if not found:
        raise ShapesweepError(
            f"suite {name}, run {run}: no folder in {folder} is named like {pattern.pattern} "
            "(the suite's pattern), and it is no checkpoint itself (config.json); set the pattern"
        )
    return sorted(found, key=lambda one: one.step or 0)


def _step(match: re.Match[str]) -> int:
    try:
        step = int(match["step"])
        if not 0 <= step <= LARGEST:
            raise ValueError
        return step
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
