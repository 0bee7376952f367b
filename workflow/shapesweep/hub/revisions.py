"""Checkpoints of a suite: the listing of the Hub, read by the rules of the suite.

The rules give each revision its step, tokens and phase. Only listed revisions are checkpoints;
steps of the grid that are not listed are holes. This module does not call the Hub.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

from shapesweep.config.hub_suite import (
    HubSuite,
    Mode,
    Phase,
    Repositories,
)
from shapesweep.config.names import expand, number, steps
from shapesweep.errors import ShapesweepError
from shapesweep.hub.files import is_weights, needed, tokenizer
from shapesweep.hub.tokens import tokens_of
from shapesweep.storage.files import File
from shapesweep.storage.schemas import LARGEST


@dataclass(frozen=True)
class Repository:
    """The listing of a repository.

    Attributes
    ----------
    problem : str or None
        Why the repository cannot be listed.
    branches, tags : dict
        Commit by name.
    commits : list of (str, str)
        Commit and title, the newest first; only if the mode needs them.
    trees : dict
        Files by commit; None for a commit that no longer exists.
    config : dict
        The `config.json` of one checkpoint.
    """

    problem: str | None = None
    branches: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    commits: list[tuple[str, str]] = field(default_factory=list)
    trees: dict[str, list[File] | None] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Published:
    """A checkpoint that a suite has published, or a hole.

    Attributes
    ----------
    run, revision : str
        `revision` is empty for a hole.
    repository, commit : str
    folder : str
        Folder in the repository; empty for its root.
    step, tokens, seed : int or None
    phase : str or None
    is_main : bool
        Whether it is the `main` of a repository, which the rules give no step.
    files : tuple of File
        The files that are needed: the configuration and one format of the weights.
    status : tuple of str
        What is wrong with its files.
    config : dict
        The `config.json` of its run.
    """

    run: str
    revision: str
    repository: str
    commit: str
    folder: str = ""
    step: int | None = None
    tokens: int | None = None
    seed: int | None = None
    phase: str | None = None
    is_main: bool = False
    files: tuple[File, ...] = ()
    status: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)


def patterns(suite: HubSuite) -> list[tuple[str, Repositories]]:
    """Every repository or pattern with `*` of a suite, with its group."""
    return [
        (name, group)
        for group in suite.groups()
        for name in expand(group.repository)
        if "*" in name or _may_be_wanted(suite, name)
    ]


def revisions(
    mode: Mode, group: Repositories, name: str, repository: Repository
) -> Iterator[Published]:
    """The revisions of a repository that match the pattern of its group, and its `main`.

    Raises
    ------
    ShapesweepError
        If the step that the pattern finds is not a number.
    """
    run = _plain(name.partition("/")[2])
    main = repository.branches.get("main", "")
    if mode == "repositories":
        if main:
            yield from _read(group, name, run, [(name, run, main, "")])
        return
    if mode == "commits":
        named = [(title, _plain(commit), commit, "") for commit, title in repository.commits]
    elif mode == "folders":
        tree = repository.trees.get(main) or []
        folders = sorted({str(PurePosixPath(file.path).parent) for file in tree} - {"."})
        named = [(folder, _plain(folder), main, folder) for folder in folders]
    else:
        kinds = {"branches": [0], "tags": [1], "refs": [1, 0]}[mode]
        found = [repository.branches, repository.tags]
        refs = {ref: commit for kind in kinds for ref, commit in found[kind].items()}
        named = [(ref, _plain(ref), commit, "") for ref, commit in refs.items()]
    known = list(_read(group, name, run, named))
    yield from known
    if main and mode in ("branches", "tags", "refs"):
        by_name = {repository.revision for repository in known}
        if group.main_step is not None and "main" not in by_name:
            step, seed = group.main_step, _seed(group, name)
            yield Published(run, "main", name, main, step=step, seed=seed)
        elif "main" not in by_name:
            yield Published(run, "main", name, main, seed=_seed(group, name), is_main=True)


def _seed(group: Repositories, name: str) -> int | None:
    if not isinstance(group.seed, str):
        return group.seed
    found = re.search(group.seed, name)
    return _seed_of(found[1]) if found else None


def _seed_of(text: str | None) -> int | None:
    """The seed in a name; None if it is not a whole number, or too large for a table."""
    return int(text) if text and re.fullmatch("[0-9]{1,18}", text) else None


def _read(
    group: Repositories, name: str, run: str, named: list[tuple[str, str, str, str]]
) -> Iterator[Published]:
    """Checkpoints of those (text, revision, commit, folder) that match the pattern of the group."""
    pattern = re.compile(group.match or r"(?!)")
    steps_by_name = group.named or {}
    seen: dict[str, tuple[str, str, str]] = {}
    for text, revision, commit, folder in named:
        match = pattern.fullmatch(text)
        if match is None and text not in steps_by_name:
            continue
        if revision in seen:
            twin, *source = seen[revision]
            if source != [commit, folder]:
                raise ShapesweepError(
                    f"match: finds both {twin!r} and {text!r} in {name}, which would have the "
                    f"same folder of results ({revision}); narrow it, or sweep them as two suites"
                )
            continue
        seen[revision] = text, commit, folder
        groups = match.groupdict() if match else {"step": str(steps_by_name[text])}
        labels = {key: value for key, value in groups.items() if value is not None}
        try:
            step = number(labels["step"]) if "step" in labels else None
            tokens = number(labels["tokens"]) if "tokens" in labels else None
        except ValueError as error:
            raise ShapesweepError(f"match: {pattern.pattern} finds in {text!r}: {error}") from None
        seed = _seed_of(labels.get("seed"))
        within = labels.get("run")
        mine = within if within and text == name else f"{run}.{within}" if within else run
        yield Published(
            *(_plain(mine), revision, name, commit, folder),
            step=step,
            tokens=tokens,
            seed=_seed(group, name) if seed is None else seed,
            phase=labels.get("phase"),
        )


def checkpoints(
    suite: HubSuite, listed: Mapping[str, Repository], groups: Mapping[str, Repositories]
) -> list[Published]:
    """Every checkpoint of a suite, by run and step, including holes.

    Parameters
    ----------
    suite : HubSuite
    listed : dict of Repository
        Listings by the name of the repository.
    groups : dict of Repositories
        Groups by the name of the repository.

    Returns
    -------
    list of Published
    """
    by_run: dict[str, list[Published]] = {}
    found: dict[int, tuple[Repositories, list[Published]]] = {}
    silent = []
    for name, repository in listed.items():
        group = groups[name]
        mine = list(revisions(suite.mode, group, name, repository))
        found.setdefault(id(group), (group, []))[1].extend(mine)
        # Some repositories that match a star may not belong to the suite; named ones must exist.
        is_empty = all(checkpoint.is_main for checkpoint in mine) and "*" not in group.repository
        if repository.problem or is_empty:
            silent.append(_silent(name, repository.problem))
    for group, mine in found.values():
        for checkpoint in _placed(group, mine):
            repository = listed[checkpoint.repository]
            tree = repository.trees.get(checkpoint.commit)
            with_files = _with_files(checkpoint, tree, repository.config, suite.remote_code)
            by_run.setdefault(checkpoint.run, []).append(with_files)
    # A repository that cannot be listed is always reported: it may have a requested run.
    whole = silent
    for run, members in by_run.items():
        if suite.only is None or any(fnmatchcase(run, pattern) for pattern in suite.only):
            group = groups[members[0].repository]
            whole += sorted([*members, *_holes(group, members)], key=_order)
    _refuse_twins(whole)
    return whole


def _silent(name: str, problem: str | None) -> Published:
    """A row for a repository without known checkpoints."""
    status = f"not_listed: {problem or f'{name} has no revision that matches the suite'}"
    again = "; then ask again with --forcerun listing" if problem else ""
    return Published(_plain(name.partition("/")[2]), "", name, "", status=(f"{status}{again}",))


def _refuse_twins(found: Sequence[Published]) -> None:
    """Raise an error if two checkpoints have the same name, and so the same folder of results."""
    seen: dict[tuple[str, str], Published] = {}
    for checkpoint in found:
        twin = seen.setdefault((checkpoint.run, checkpoint.revision), checkpoint)
        if checkpoint.revision and twin is not checkpoint:
            raise ShapesweepError(
                f"repositories: {twin.repository} and {checkpoint.repository} both have a run "
                f"{checkpoint.run} with a revision {checkpoint.revision}; sweep them as two suites"
            )


#: A source of a tokenizer: repository, commit, files.
TokenizerSource = tuple[str, str, list[File]]


def tokenizers(
    run: Sequence[Published], listed: Mapping[str, Repository], group: Repositories
) -> Iterator[TokenizerSource]:
    """Sources of the tokenizer of a run, the best first.

    Only the repository that the suite names, if any; otherwise `main`, then the checkpoints from
    the last to the first.

    Parameters
    ----------
    run : sequence of Published
    listed : dict of Repository
    group : Repositories
        The group of the run.


    Yields
    ------
    (str, str, list of File)
        Repository, commit and files; nothing if there is no tokenizer.
    """
    own = [(c.repository, c.commit, c.folder) for c in reversed(run) if c.commit]
    names = [group.tokenizer] if group.tokenizer else list(dict.fromkeys(name for name, *_ in own))
    mains = [(name, listed[name].branches.get("main", ""), "") for name in names if name in listed]
    for name, commit, folder in [*mains, *([] if group.tokenizer else own)]:
        files = tokenizer(listed[name].trees.get(commit) or [], folder)
        if files:
            yield name, commit, files


def _plain(name: str) -> str:
    """A name from outside as a safe component of a path."""
    return re.sub(r"[^A-Za-z0-9._-]", "--", name).lstrip("._-")[:120] or "unnamed"


def _may_be_wanted(suite: HubSuite, name: str) -> bool:
    """Whether a repository may have a requested run; phases can be runs, too."""
    run = name.partition("/")[2]
    return (
        suite.only is None
        or suite.mode == "repositories"
        or any(fnmatchcase(run, name) or name.startswith(f"{run}.") for name in suite.only)
    )


def _placed(group: Repositories, found: list[Published]) -> list[Published]:
    """Set the tokens of every checkpoint, and the run of a phase that is a separate run."""
    placed = []
    ranks: dict[tuple[str, str | None], int] = {}
    for checkpoint in sorted(
        found, key=lambda checkpoint: (checkpoint.run, checkpoint.phase or "", checkpoint.step or 0)
    ):
        phase = _phase(group, checkpoint.phase)
        if phase.skip:
            continue
        rank = ranks[checkpoint.run, checkpoint.phase] = ranks.get(
            (checkpoint.run, checkpoint.phase), 0
        ) + (not checkpoint.is_main)
        rule = phase.tokens if phase.own_run else phase.tokens or group.tokens
        tokens = tokens_of(rule, checkpoint.step, checkpoint.tokens, checkpoint.is_main, rank)
        if tokens is not None:
            tokens += phase.start
            if tokens > LARGEST:
                raise ShapesweepError(
                    f"tokens: {checkpoint.revision} would have seen {tokens:.3g} tokens"
                )
            tokens = round(tokens)
        run = _plain(f"{checkpoint.run}.{checkpoint.phase}") if phase.own_run else checkpoint.run
        placed.append(replace(checkpoint, run=run, tokens=tokens))
    return placed


def _phase(group: Repositories, name: str | None) -> Phase:
    for pattern, phase in (group.phases or {}).items():
        if name is not None and fnmatchcase(name, pattern):
            return phase
    return Phase()


def _with_files(
    checkpoint: Published, tree: list[File] | None, config: Mapping[str, Any], with_code: bool
) -> Published:
    """Add the files that are needed, and what is wrong with them."""
    if tree is None:
        return replace(checkpoint, status=("gone",), config=config)
    found, status = needed(tree, checkpoint.folder, with_code)
    if checkpoint.is_main and not any(is_weights(file) for file in found):
        status = ["empty_main"]
    return replace(checkpoint, files=tuple(found), status=tuple(status), config=config)


def _holes(group: Repositories, members: list[Published]) -> list[Published]:
    """Holes: steps of the grid without a checkpoint; none if the run has no steps at all."""
    there = [member for member in members if member.step is not None]
    if not there or not group.grid:
        return []
    example, known = there[0], {checkpoint.step for checkpoint in there}
    return [
        Published(
            example.run, "", example.repository, "", step=step, seed=example.seed, status=("hole",)
        )
        for step in steps(group.grid)
        if step not in known
    ]


def _order(checkpoint: Published) -> tuple[bool, int, str]:
    return checkpoint.is_main, checkpoint.step or 0, checkpoint.revision
