"""The checkpoints of a suite: listed by name, and described by their files.

Listing reads only names of folders, or the listing of the Hub, so that Snakemake can plan with it.
The manifest adds what the files contain.
"""

import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from shapesweep.checkpoint import facts
from shapesweep.checkpoint.files import inspect
from shapesweep.config.hub_suite import HubSuite, Repositories
from shapesweep.config.names import expand
from shapesweep.config.suite import (
    NAME,
    RECIPE,
    AnySuite,
    EmbeddedSuite,
    LocalSuite,
    checkpoint_folder,
)
from shapesweep.errors import ShapesweepError, near
from shapesweep.hub import listing, revisions, shared_files
from shapesweep.hub.revisions import Published, Repository, TokenizerSource
from shapesweep.manifest.selection import Listed, Rule, is_aside, select
from shapesweep.storage.files import LocalFile, sha256
from shapesweep.storage.manifests import Checkpoint
from shapesweep.storage.schemas import LARGEST


def listing_file(results: str | Path, suite: str) -> Path:
    """The file of the listing of a suite."""
    return Path(results) / "listings" / f"{suite}.json"


def list_checkpoints(name: str, suite: AnySuite, results: str | Path) -> list[Listed]:
    """All checkpoints of a suite, by run and step.

    Parameters
    ----------
    name : str
    suite : EmbeddedSuite, LocalSuite or HubSuite
    results : path-like
        Folder of trained checkpoints, listings and downloads.

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


def describe(
    name: str,
    suite: AnySuite,
    listed: Sequence[Listed],
    rule: Rule,
    known: Iterable[Checkpoint] = (),
    planned: Collection[tuple[str, str]] | None = None,
) -> list[Checkpoint]:
    """The manifest of a suite: every listed checkpoint with its files, status and selection.

    Parameters
    ----------
    name : str
    suite : EmbeddedSuite, LocalSuite or HubSuite
    listed : sequence of Listed
    rule : 'all', Every, Steps or Log
        The files of chosen checkpoints are hashed.
    known : iterable of Checkpoint
        An earlier manifest; files of the same size and modification time keep their sha256.
    planned : collection of (str, str), optional
        Runs and revisions of the sound checkpoints that the plan has chosen; with checkpoints that
        were added since, the rule might choose others.

    Returns
    -------
    list of Checkpoint

    Raises
    ------
    ShapesweepError
        If a run was trained with another recipe.
    """
    if isinstance(suite, EmbeddedSuite):
        for run, folder in {
            checkpoint.run: checkpoint.folder.parent for checkpoint in listed
        }.items():
            _check_recipe(suite, run, folder)
    chosen = {id(checkpoint) for checkpoint in select(listed, rule)}
    if planned is not None:
        chosen = {
            id(checkpoint) for checkpoint in listed if checkpoint.flags and id(checkpoint) in chosen
        }
        chosen |= {
            id(checkpoint)
            for checkpoint in listed
            if (checkpoint.run, checkpoint.revision) in planned
        }
    digest = _digester(known)
    return [_describe(name, checkpoint, id(checkpoint) in chosen, digest) for checkpoint in listed]


def _check_recipe(suite: EmbeddedSuite, run: str, folder: Path) -> None:
    recipe = folder / RECIPE
    # Earlier versions did not write it.
    if not recipe.is_file():
        return
    if recipe.read_text(encoding="utf-8") != suite.with_run(run).model_dump_json():
        raise ShapesweepError(f"{folder}: trained with another recipe; add --forcerun train")


def _describe(
    name: str,
    checkpoint: Listed,
    is_chosen: bool,
    digest: Callable[[tuple[str, str], Path, os.stat_result], str],
) -> Checkpoint:
    if checkpoint.published:
        config = checkpoint.published.config
        return Checkpoint(
            **_identity(name, checkpoint, is_chosen),
            architecture=facts.architecture(config),
            n_layers=facts.n_layers(config),
            repository=checkpoint.published.repository,
            folder=checkpoint.published.folder,
            files=checkpoint.published.files,
            commit=checkpoint.published.commit or None,
            status=checkpoint.published.status,
            selected=is_chosen and not checkpoint.flags,
        )
    # The files of other checkpoints are not read, so that a sweep of a few stays cheap.
    hashed = partial(digest, (checkpoint.run, checkpoint.revision)) if is_chosen else None
    seen = inspect(checkpoint.folder, hashed)
    return Checkpoint(
        **_identity(name, checkpoint, is_chosen),
        folder=str(checkpoint.folder),
        architecture=seen.architecture,
        n_layers=seen.n_layers,
        files=seen.files,
        commit=seen.commit,
        status=seen.status,
        selected=is_chosen and not seen.status,
    )


def _identity(name: str, checkpoint: Listed, is_chosen: bool) -> dict[str, Any]:
    return {
        "suite": name,
        "run": checkpoint.run,
        "revision": checkpoint.revision or None,
        "seed": checkpoint.seed,
        "step": checkpoint.step,
        "tokens": checkpoint.tokens,
        "phase": checkpoint.phase,
        "chosen": is_chosen,
    }


def _digester(
    known: Iterable[Checkpoint],
) -> Callable[[tuple[str, str], Path, os.stat_result], str]:
    """A function from a file to its sha256, which reads only files that have changed."""
    digests = {
        (checkpoint.run, checkpoint.revision, file.path, file.size, file.modified): file.sha256
        for checkpoint in known
        for file in checkpoint.files
        if isinstance(file, LocalFile)
    }

    def digest(key: tuple[str, str], path: Path, stat: os.stat_result) -> str:
        found = digests.get((*key, path.name, stat.st_size, stat.st_mtime_ns))
        return found or sha256(path)

    return digest


def tokenizers(
    name: str, suite: AnySuite, results: str | Path, run: str
) -> tuple[Checkpoint, Iterator[TokenizerSource]]:
    """Sources of the tokenizer of a run on the Hub.

    Returns
    -------
    last : Checkpoint
        The last checkpoint of the run.
    sources : iterator of (str, str, list of File)
        Repository, commit and files, the best source first.

    Raises
    ------
    ShapesweepError
        If the suite has no such run on the Hub.
    """
    listed = list_checkpoints(name, suite, results)
    mine = [
        checkpoint
        for checkpoint in listed
        if checkpoint.run == run and checkpoint.revision and not is_aside(checkpoint)
    ]
    found = [checkpoint.published for checkpoint in mine if checkpoint.published]
    if not found or not isinstance(suite, HubSuite):
        raise ShapesweepError(f"suite {name} has no run {run} on the Hub")
    repositories = listing.read(listing_file(results, name))
    group = listing.groups(suite, [found[-1].repository])[found[-1].repository]
    return describe(name, suite, mine[-1:], "all")[0], revisions.tokenizers(
        found, repositories, group
    )


def _list_published(name: str, suite: HubSuite, results: str | Path) -> list[Listed]:
    listed = listing.read(listing_file(results, name))
    groups = listing.groups(suite, listed)
    found = revisions.checkpoints(suite, {n: listed[n] for n in groups}, groups)
    if not found:
        wanted = suite.only or ["*"]
        runs = [
            run.partition("/")[2] for group in suite.groups() for run in expand(group.repository)
        ]
        message = f"suites.{name}.only: no run matches {', '.join(wanted)}"
        raise ShapesweepError(message + near(wanted[0], runs))
    found = shared_files.flag_shared(found)
    folders = {
        checkpoint.run: checkpoint_folder(results, name, checkpoint.run) for checkpoint in found
    }
    members: dict[str, list[Published]] = {run: [] for run in folders}
    for checkpoint in found:
        if checkpoint.revision and not checkpoint.is_main:
            members[checkpoint.run].append(checkpoint)
    tokens = {run: _tokenizer(mine, listed, groups) for run, mine in members.items()}
    return [
        Listed(
            *(
                checkpoint.run,
                checkpoint.revision,
                checkpoint.step,
                folders[checkpoint.run] / (checkpoint.revision or "-"),
            ),
            *(checkpoint.seed, checkpoint.tokens, checkpoint.phase),
            flags=tuple(f for f in checkpoint.status if f.partition(":")[0] not in suite.accept),
            published=checkpoint,
            tokenizer=tokens[checkpoint.run],
        )
        for checkpoint in found
    ]


def _tokenizer(
    run: Sequence[Published],
    listed: Mapping[str, Repository],
    groups: Mapping[str, Repositories],
) -> tuple[str, ...]:
    """Digests of the files of a run's tokenizer, from the listing."""
    if not run:
        return ()
    group = groups[run[-1].repository]
    _, _, files = next(revisions.tokenizers(run, listed, group), ("", "", []))
    return tuple(file.sha256 or file.blob for file in files)


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
        # The folder itself is a checkpoint, whose step is not known.
        return [Listed(run, "main", None, folder, seed)]
    if not found:
        raise ShapesweepError(
            f"suite {name}, run {run}: no folder in {folder} matches {pattern.pattern} (the "
            "pattern of the suite), and it is not a checkpoint itself (config.json); set the "
            "pattern"
        )
    return sorted(found, key=lambda checkpoint: checkpoint.step or 0)


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
