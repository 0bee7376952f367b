"""List the checkpoints of a suite from their names, and describe them from their files.

The list depends only on names of folders or on a listing from the Hub, so Snakemake can compute the
list while planning. The manifest adds facts that are read from the files.
"""

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from shapesweep.checkpoint import adapters, facts, layouts
from shapesweep.checkpoint.files import is_adapter
from shapesweep.config.hub_suite import HubSuite
from shapesweep.config.names import expand
from shapesweep.config.suite import (
    RECIPE,
    REVISION,
    AnySuite,
    EmbeddedSuite,
    LocalSuite,
    checkpoint_folder,
)
from shapesweep.errors import ShapesweepError, near
from shapesweep.hub import bases, listing, runs, shared_files
from shapesweep.hub.revisions import Listed
from shapesweep.hub.same_step import flag_same_step
from shapesweep.hub.tokenizer_sources import TokenizerSource, tokenizer_sources
from shapesweep.manifest.selection import Rule, select
from shapesweep.storage.files import LocalFile, sha256
from shapesweep.storage.manifests import Checkpoint
from shapesweep.storage.schemas import LARGEST

#: Name of the revision that is the base model of a run of adapters. It contains no digits, so it
#: cannot be the name of a folder that states a step.
BASE = "base"
#: Maps the path, size and modification time of a known file to its sha256.
Digests = dict[tuple[str, int, int], str]


def listing_file(results: str | Path, suite: str) -> Path:
    """Return the path of a suite's listing."""
    return Path(results) / "listings" / f"{suite}.json"


def list_checkpoints(name: str, suite: AnySuite, results: str | Path) -> list[Listed]:
    """Return all checkpoints of a suite, sorted by step within each run.

    Parameters
    ----------
    name : str
    suite : EmbeddedSuite, LocalSuite or HubSuite
    results : path-like
        Results folder, which contains trained checkpoints, listings and downloads.

    Returns
    -------
    list of Listed

    Raises
    ------
    ShapesweepError
        If a local run's folder is absent or contains no checkpoint, or if the listing is absent.
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
        return _with_flags(suite, _list_published(name, suite, results))
    on_hub = bases.read_folders(listing_file(results, name)) if suite.bases_on_hub else {}
    local = [found for run in suite.runs for found in _list_folder(name, suite, run, on_hub)]
    return _with_flags(suite, local)


def describe(
    name: str,
    suite: AnySuite,
    listed: Sequence[Listed],
    rule: Rule,
    known: Iterable[Checkpoint] = (),
    planned: Collection[tuple[str, str]] | None = None,
) -> list[Checkpoint]:
    """Return the manifest of a suite: every listed checkpoint, its files, and whether it is chosen.

    Parameters
    ----------
    name : str
    suite : EmbeddedSuite, LocalSuite or HubSuite
    listed : sequence of Listed
    rule : 'all', Every, Steps or Log
        The rule that chooses checkpoints. Only the files of chosen checkpoints are hashed.
    known : iterable of Checkpoint
        Checkpoints of an earlier manifest. If the size and the modification time of a file have not
        changed, its sha256 is copied from the earlier manifest.
    planned : collection of (str, str), optional
        Run and revision of each checkpoint that has no flags and that the plan has chosen. If
        checkpoints were added after planning, `rule` might not choose the same checkpoints as the
        plan.

    Returns
    -------
    list of Checkpoint

    Raises
    ------
    ShapesweepError
        If the recipe of a trained run differs from the recipe in the suite's definition.
    """
    if isinstance(suite, EmbeddedSuite):
        for run, folder in dict.fromkeys((found.run, found.folder.parent) for found in listed):
            recipe, wanted = folder / RECIPE, suite.with_run(run).model_dump_json()
            # Earlier versions of shapesweep did not write a recipe.
            if recipe.is_file() and recipe.read_text(encoding="utf-8") != wanted:
                raise ShapesweepError(
                    f"{folder}: trained with another recipe; add --forcerun train"
                )
    by_rule = {id(checkpoint) for checkpoint in select(listed, rule)}
    digests = {
        (str(Path(checkpoint.folder or "", file.path).absolute()), file.size, file.modified): digest
        for checkpoint in known
        for file in checkpoint.files
        if isinstance(file, LocalFile) and (digest := file.sha256)
    }
    described = []
    for checkpoint in listed:
        is_chosen = id(checkpoint) in by_rule
        if planned is not None:
            is_chosen = checkpoint.key in planned or (is_chosen and bool(checkpoint.flags))
        described.append(_describe(name, checkpoint, is_chosen, digests))
    return described


def _describe(name: str, checkpoint: Listed, is_chosen: bool, digests: Digests) -> Checkpoint:
    if not checkpoint.repository:
        # Only files of chosen checkpoints are hashed, so that a sweep of few checkpoints is cheap.
        hashed = partial(_sha256, digests) if is_chosen else None
        seen = adapters.inspect(checkpoint.folder, checkpoint.base, hashed)
        inside = str(checkpoint.folder)
        checkpoint = replace(
            checkpoint,
            **vars(seen) | {"status": (*checkpoint.status, *seen.status)},
            flags=(*checkpoint.flags, *seen.status),
            inside=inside,
        )
    return Checkpoint(
        suite=name,
        run=checkpoint.run,
        revision=checkpoint.revision or None,
        seed=checkpoint.seed,
        step=checkpoint.step,
        tokens=checkpoint.tokens,
        phase=checkpoint.phase,
        stage=checkpoint.stage,
        chosen=is_chosen,
        selected=is_chosen and not checkpoint.flags,
        architecture=facts.architecture(checkpoint.config),
        n_layers=facts.n_layers(checkpoint.config),
        repository=checkpoint.repository or None,
        folder=checkpoint.inside,
        commit=checkpoint.commit or None,
        files=checkpoint.files,
        status=checkpoint.status,
    )


def _sha256(digests: Digests, path: Path, stat: os.stat_result) -> str:
    """Return the sha256 of a file. The file is read only if it is not known, or has changed."""
    key = str(path.absolute()), stat.st_size, stat.st_mtime_ns
    # All adapters of a run share the files of the base model.
    if key not in digests:
        digests[key] = sha256(path)
    return digests[key]


def tokenizers(
    name: str, suite: AnySuite, results: str | Path, run: str
) -> tuple[Checkpoint, Iterator[TokenizerSource], str | None]:
    """Return the possible sources of the tokenizer of a run on the Hub.

    Returns
    -------
    last : Checkpoint
        The last checkpoint of the run.
    sources : iterator of (str, str, list of File)
        Each source consists of a repository, a commit and files. The best source comes first.
    problem : str or None
        Reason why the repository that the suite names for the tokenizer cannot be listed.

    Raises
    ------
    ShapesweepError
        If the suite has no run with this name on the Hub.
    """
    mine = [
        checkpoint
        for checkpoint in list_checkpoints(name, suite, results)
        if checkpoint.run == run and checkpoint.revision and not checkpoint.is_main
    ]
    if not mine or not isinstance(suite, HubSuite):
        raise ShapesweepError(f"suite {name} has no run {run} on the Hub")
    repositories = listing.read(listing_file(results, name))
    groups = listing.groups(suite, repositories)
    group = groups[mine[-1].repository]
    sources = tokenizer_sources(mine, repositories, group)
    named = repositories.get(group.tokenizer or "")
    return describe(name, suite, mine[-1:], "all")[0], sources, named.advice if named else None


def _list_published(name: str, suite: HubSuite, results: str | Path) -> list[Listed]:
    listed = listing.read(listing_file(results, name))
    groups = listing.groups(suite, listed)
    found = runs.checkpoints(suite, {n: listed[n] for n in groups}, groups)
    if not found:
        wanted = suite.only or ["*"]
        known = [
            run.partition("/")[2] for group in suite.groups() for run in expand(group.repository)
        ]
        message = f"suites.{name}.only: no run matches {', '.join(wanted)}"
        raise ShapesweepError(message + near(wanted[0], known))
    members: dict[str, list[Listed]] = {}
    for checkpoint in found:
        if checkpoint.revision and not checkpoint.is_main:
            members.setdefault(checkpoint.run, []).append(checkpoint)
    tokenizer: dict[str, tuple[str, ...]] = {}
    for run, mine in members.items():
        group = groups[mine[-1].repository]
        _, _, files = next(tokenizer_sources(mine, listed, group), ("", "", []))
        tokenizer[run] = tuple(file.sha256 or file.blob for file in files)
    return [
        replace(
            checkpoint,
            folder=checkpoint_folder(results, name, checkpoint.run) / (checkpoint.revision or "-"),
            tokenizer=tokenizer.get(checkpoint.run, ()),
        )
        for checkpoint in shared_files.flag_shared(found)
    ]


def _with_flags(suite: HubSuite | LocalSuite, found: Sequence[Listed]) -> list[Listed]:
    """Compare the steps of the checkpoints, and set the flags that exclude a checkpoint."""
    return [
        replace(
            checkpoint,
            flags=tuple(f for f in checkpoint.status if f.partition(":")[0] not in suite.accept),
        )
        for checkpoint in flag_same_step(found)
    ]


def _list_folder(
    name: str, suite: LocalSuite, run: str, on_hub: Mapping[str, Path]
) -> list[Listed]:
    folder, seed = Path(suite.runs[run].path), suite.runs[run].seed
    where = f"suite {name}, run {run}: "
    if not folder.is_dir():
        raise ShapesweepError(f"{where}path: there is no folder {folder}")
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise ShapesweepError(f"{where}path: {folder} cannot be read: {error.strerror}") from None
    # A training run that keeps only its last checkpoints may have removed a folder meanwhile.
    matches = {
        path: match
        for path in inside
        if (match := re.fullmatch(suite.pattern, path.name)) and os.path.lexists(path)
    }
    try:
        steps = {path: _step(path, match) for path, match in matches.items()}
        if "same_step_as" not in suite.accept:
            _check_steps(steps)
    except ShapesweepError as error:
        raise ShapesweepError(f"{where}pattern: {suite.pattern} {error}") from None
    base = _base_folder(where, suite.base_of(run), on_hub)
    if not steps and ((folder / "config.json").is_file() or is_adapter(folder)):
        # The folder itself is a checkpoint. The step of this checkpoint is not known.
        found = Listed(run, "main", None, folder, seed)
        return [replace(found, base=base) if is_adapter(folder) else found]
    if not steps:
        raise _no_checkpoint(where, folder, suite.pattern, inside)
    named = [(step, path.name, path) for path, step in steps.items()]
    if base is not None and 0 not in steps.values():
        named.append((0, BASE, base))
    per_step = suite.tokens_per_step
    return [
        Listed(
            *(run, revision, step, path, seed),
            tokens=None if per_step is None else step * per_step,
            base=base if is_adapter(path) else None,
        )
        for step, revision, path in sorted(named)
    ]


def _base_folder(where: str, base: str | None, on_hub: Mapping[str, Path]) -> Path | None:
    """Return the folder of a run's base model; None if the run has no base model.

    Raises
    ------
    ShapesweepError
        If the folder contains no model.
    """
    if base is None:
        return None
    folder = on_hub.get(base, Path(base))
    if (folder / "config.json").is_file():
        return folder
    published = re.fullmatch(r"(?:hf://|https://[\w.-]+/)?([\w.-]+/[\w.-]+?)(?:@.*)?", base)
    if published and not folder.is_dir():
        raise ShapesweepError(
            f"{where}base: there is no folder {base}; for a model on the Hub, write "
            f"{published[1]}@<commit>, with the 40 digits of the commit"
        )
    reason = "has no config.json" if folder.is_dir() else "does not exist"
    raise ShapesweepError(
        f"{where}base: {base} {reason}; name the folder of a whole model, or org/name@<commit>"
    )


def _no_checkpoint(
    where: str, folder: Path, pattern: str, inside: Iterable[Path]
) -> ShapesweepError:
    names = [path.name for path in inside if path.is_dir()]
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    reason = (
        f"none of its folders ({', '.join(names[:4])}{more}) matches {pattern}, the pattern of the "
        "suite; set the pattern"
        if names
        else "it contains no folders; set the path"
    )
    advice = _advice(layouts.names_in(folder))
    return ShapesweepError(
        f"{where}{folder} has no config.json, so it is not a checkpoint, and {reason}{advice}"
    )


def _advice(names: Iterable[str]) -> str:
    """Return what to do with files of another layout, as the end of a message."""
    layout = layouts.find(names).partition(": ")[2]
    return f"; {layout}" if layout else ""


def _step(path: Path, match: re.Match[str]) -> int:
    """Return the step of a checkpoint folder whose name matches the pattern of the suite.

    Raises
    ------
    ShapesweepError
        If the path is not a folder with a supported name and a step.
    """
    # A broken link is a checkpoint without files.
    if not path.is_dir() and (path.exists() or not path.is_symlink()):
        advice = _advice([path.name])
        raise ShapesweepError(
            f"matches {path.name!r}, which is not a folder; change the pattern, so that it matches "
            f"only folders of checkpoints{advice}"
        )
    if not re.fullmatch(REVISION, path.name):
        raise ShapesweepError(
            f"matches the folder {path.name!r}, whose name must have at most 120 characters, begin "
            "with a letter or digit, and contain only letters, digits, '.', '_', '-' and '='; "
            "rename the folder, or change the pattern"
        )
    digits = match["step"] or ""
    if not re.fullmatch(r"\d+", digits) or int(digits) > LARGEST:
        raise ShapesweepError(
            f"matches the folder {path.name!r}, but its group `step` matches {digits!r}, which is "
            "not a step; change the pattern"
        )
    before, after = path.name[: match.start("step")], path.name[match.end("step") :]
    if before.rstrip("0")[-1:].isdigit() or after[:1].isdigit():
        raise ShapesweepError(
            f"matches the folder {path.name!r}, but its group `step` matches {digits!r}, which is "
            "only a part of a number; change the pattern"
        )
    return int(digits)


def _check_steps(steps: Mapping[Path, int]) -> None:
    """Raise an error if two folders have the same step."""
    by_step: dict[int, str] = {}
    for path, step in steps.items():
        other = by_step.setdefault(step, path.name)
        if other != path.name:
            raise ShapesweepError(
                f"matches two folders of step {step}, {other} and {path.name}; change the pattern, "
                "so that it matches one of them, or set accept: [same_step_as] to measure both"
            )
