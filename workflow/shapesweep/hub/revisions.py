"""Find a suite's checkpoints in the listing, by the rules of the suite's definition.

The rules determine the step, tokens and phase of each revision. Only listed revisions count as
checkpoints. If no listed revision belongs to a step of the grid, the step counts as a hole. This
module does not call the Hub.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from shapesweep.config.hub_suite import HubSuite, Mode, Phase, Repositories
from shapesweep.config.names import expand, number, steps
from shapesweep.errors import ShapesweepError
from shapesweep.hub.files import is_weights, needed
from shapesweep.hub.token_counts import step_of, tokens_of
from shapesweep.storage import axis
from shapesweep.storage.files import File
from shapesweep.storage.schemas import LARGEST


@dataclass(frozen=True)
class Repository:
    """The listing of a repository.

    Attributes
    ----------
    problem : str or None
        Reason why the repository cannot be listed.
    branches, tags : dict
        Commit by name.
    commits : list of (str, str)
        Hash and title of each commit of a branch, newest first. Empty unless the mode of the suite
        is `commits`.
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

    @property
    def advice(self) -> str | None:
        """The problem, and what to do once it is fixed; None if there is no problem."""
        hint = "once this is fixed, list again with --forcerun listing"
        return f"{self.problem}; {hint}" if self.problem else None


@dataclass(frozen=True)
class Listed:
    """A checkpoint as described by its name and the listing, or a hole (a missing step).

    If the names of a run contain only tokens, `step` is the number of tokens (see `storage.axis`).

    Attributes
    ----------
    run, revision : str
        `revision` is empty for a hole.
    step, seed, tokens : int or None
    folder : Path
        Folder of the checkpoint, or of its download.
    phase : str or None
    flags : tuple of str
        Reasons to exclude the checkpoint that are visible in its name or in the listing.
    repository, commit : str
        Repository and commit on the Hub. For a checkpoint on this machine, these two and all
        following attributes keep their defaults.
    inside : str
        Folder in the repository; empty for its root.
    is_main : bool
        Whether the checkpoint is the `main` of a repository, and the rules assign no step to it.
    files : tuple of File
        The files that the checkpoint needs: its configuration and one format of its weights.
    status : tuple of str
        Defects of the files.
    config : dict
        The `config.json` of the checkpoint's run.
    tokenizer : tuple of str
        Digests of the files of the run's tokenizer.
    """

    run: str
    revision: str
    step: int | None = None
    folder: Path = Path()
    seed: int | None = None
    tokens: int | None = None
    phase: str | None = None
    flags: tuple[str, ...] = ()
    repository: str = ""
    commit: str = ""
    inside: str = ""
    is_main: bool = False
    files: tuple[File, ...] = ()
    status: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, str]:
        """Run and revision, which identify the checkpoint within its suite."""
        return self.run, self.revision


def patterns(suite: HubSuite) -> list[tuple[str, Repositories]]:
    """Return (name, group) for every repository of a suite; a name may be a pattern with `*`."""
    return [
        (name, group)
        for group in suite.groups()
        for name in expand(group.repository)
        if "*" in name or _may_be_wanted(suite, name)
    ]


def revisions(
    mode: Mode, group: Repositories, name: str, repository: Repository
) -> Iterator[Listed]:
    """Yield a repository's revisions that match the pattern of the repository's group.

    If the revisions are branches or tags, `main` is included even if it does not match.

    Raises
    ------
    ShapesweepError
        If the group `step` or `tokens` of the pattern matches a text that is not a number.
    """
    run, main = _plain(name.partition("/")[2]), repository.branches.get("main", "")
    known = list(_read(group, name, run, _candidates(mode, name, repository)))
    yield from known
    is_read = any(checkpoint.revision == "main" for checkpoint in known)
    if main and mode in ("branches", "tags", "refs") and not is_read:
        yield Listed(
            *(run, "main", group.main_step),
            seed=_seed(group, name),
            repository=name,
            commit=main,
            is_main=group.main_step is None,
        )


def unmatched(mode: Mode, group: Repositories, name: str, repository: Repository) -> list[str]:
    """Return the names in a repository that no rule of its group matches, except `main`.

    Raises
    ------
    ShapesweepError
        See `revisions`.
    """
    known = {checkpoint.revision for checkpoint in revisions(mode, group, name, repository)}
    candidates = _candidates(mode, name, repository)
    return [text for text, revision, *_ in candidates if _plain(revision) not in known]


def _candidates(mode: Mode, name: str, repository: Repository) -> list[tuple[str, str, str, str]]:
    """Return what may be checkpoints: the text to match, the name, the commit and the folder."""
    main = repository.branches.get("main", "")
    if mode == "repositories":
        return [(name, _plain(name.partition("/")[2]), main, "")] if main else []
    if mode == "commits":
        return [(title, commit, commit, "") for commit, title in repository.commits]
    if mode == "folders":
        tree = repository.trees.get(main) or []
        folders = sorted({str(PurePosixPath(file.path).parent) for file in tree} - {"."})
        return [(folder, folder, main, folder) for folder in folders]
    refs = {
        "branches": repository.branches,
        "tags": repository.tags,
        "refs": {**repository.tags, **repository.branches},
    }[mode]
    return [(ref, ref, commit, "") for ref, commit in refs.items()]


def _seed(group: Repositories, name: str, label: str | None = None) -> int | None:
    """Return the seed from the revision's name, from the repository's name, or from the group."""
    found = re.search(group.seed, name) if isinstance(group.seed, str) else None
    for text in (label, found[1] if found else None):
        # An integer with more than 18 digits may not fit into an int64 column.
        if text and re.fullmatch("[0-9]{1,18}", text):
            return int(text)
    return None if isinstance(group.seed, str) else group.seed


def _read(
    group: Repositories, name: str, run: str, named: list[tuple[str, str, str, str]]
) -> Iterator[Listed]:
    """Yield a checkpoint for each (text, name, commit, folder) whose text matches the pattern."""
    pattern = re.compile(group.match or r"(?!)")
    named_by_hand = group.named or {}
    seen: dict[str, tuple[str, str, str]] = {}
    for text, revision_name, commit, folder in named:
        match = pattern.fullmatch(text)
        if match is None and text not in named_by_hand:
            continue
        revision = _plain(revision_name)
        if revision in seen:
            twin, *source = seen[revision]
            if source != [commit, folder]:
                raise ShapesweepError(
                    f"match: matches both {twin!r} and {text!r} in {name}, but they would share a "
                    f"folder of results ({revision}); narrow the pattern, or sweep them as "
                    "two suites"
                )
            continue
        seen[revision] = text, commit, folder
        groups = match.groupdict() if match else _of_name(named_by_hand[text])
        labels = {key: value for key, value in groups.items() if value is not None}
        try:
            step, tokens = (
                number(labels[key]) if key in labels else None for key in ("step", "tokens")
            )
        except ValueError as error:
            raise ShapesweepError(
                f"match: {pattern.pattern} matches {text!r}, but {error}"
            ) from None
        within = labels.get("run")
        mine = within if within and text == name else f"{run}.{within}" if within else run
        yield Listed(
            *(_plain(mine), revision, step),
            seed=_seed(group, name, labels.get("seed")),
            tokens=tokens,
            phase=labels.get("phase"),
            repository=name,
            commit=commit,
            inside=folder,
        )


def _of_name(given: int | str) -> dict[str, str]:
    """Return the step or the tokens that the suite gives for a name."""
    return {"step": str(given)} if isinstance(given, int) else {"tokens": given}


def checkpoints(
    suite: HubSuite, listed: Mapping[str, Repository], groups: Mapping[str, Repositories]
) -> list[Listed]:
    """Return every checkpoint and every hole of a suite, grouped by run and sorted by step.

    Parameters
    ----------
    suite : HubSuite
    listed : dict of Repository
        Listing of each repository, by name.
    groups : dict of Repositories
        Group of each repository, by name.

    Returns
    -------
    list of Listed
    """
    found: dict[int, tuple[Repositories, list[Listed]]] = {}
    whole = []
    for name, repository in listed.items():
        group = groups[name]
        mine = list(revisions(suite.mode, group, name, repository))
        found.setdefault(id(group), (group, []))[1].extend(mine)
        # A repository that matches a pattern with `*` may contain no checkpoint of the suite, but a
        # repository that the suite names must contain checkpoints.
        is_empty = all(checkpoint.is_main for checkpoint in mine) and "*" not in group.repository
        # A repository that cannot be listed is always reported, because it may contain a requested
        # run.
        if repository.problem or is_empty:
            problem = repository.advice or f"{name} has no revision that matches the suite"
            status = f"not_listed: {problem}"
            run = _plain(name.partition("/")[2])
            whole.append(Listed(run, "", repository=name, status=(status,)))
    by_run: dict[str, list[Listed]] = {}
    for group, mine in found.values():
        for checkpoint in _placed(group, mine):
            by_run.setdefault(checkpoint.run, []).append(checkpoint)
    for run, named in by_run.items():
        if suite.only is None or any(fnmatchcase(run, pattern) for pattern in suite.only):
            members = [
                _with_files(checkpoint, listed[checkpoint.repository], suite.remote_code)
                for checkpoint in _without_repeated_main(_on_axis(named))
            ]
            group = groups[members[0].repository]
            whole += sorted(
                [*members, *_holes(group, members)],
                key=lambda member: (member.is_main, member.step or 0, member.revision),
            )
    twins: dict[tuple[str, str], Listed] = {}
    for checkpoint in whole:
        twin = twins.setdefault(checkpoint.key, checkpoint)
        # Two checkpoints with the same key would have the same folder of results.
        if checkpoint.revision and twin is not checkpoint:
            raise ShapesweepError(
                f"repositories: {twin.repository} and {checkpoint.repository} both have a run "
                f"{checkpoint.run} with a revision {checkpoint.revision}; sweep them as two suites"
            )
    return whole


def _plain(name: str) -> str:
    """Convert an external name to a safe component of a path."""
    return re.sub(r"[^A-Za-z0-9._-]", "--", name).lstrip("._-")[:120] or "unnamed"


def _may_be_wanted(suite: HubSuite, name: str) -> bool:
    """Return whether a repository may contain a requested run, which may be one of its phases."""
    run = name.partition("/")[2]
    return (
        suite.only is None
        or suite.mode == "repositories"
        or any(fnmatchcase(run, name) or name.startswith(f"{run}.") for name in suite.only)
    )


def _placed(group: Repositories, found: list[Listed]) -> list[Listed]:
    """Set steps and tokens of every checkpoint, and its run if its phase is a separate run."""
    placed = []
    ranks: Counter[tuple[str, str | None]] = Counter()
    for checkpoint in sorted(found, key=lambda c: (c.run, c.phase or "", c.step or c.tokens or 0)):
        phase = _phase(group, checkpoint.phase)
        if phase.skip:
            continue
        ranks[checkpoint.run, checkpoint.phase] += not checkpoint.is_main
        rank = ranks[checkpoint.run, checkpoint.phase]
        rule = phase.tokens if phase.own_run else phase.tokens or group.tokens
        step, label = checkpoint.step, checkpoint.tokens
        tokens = tokens_of(rule, step, label, checkpoint.is_main, rank)
        step = step_of(rule, label) if step is None else step
        if tokens is not None:
            tokens += phase.start
            if tokens > LARGEST:
                raise ShapesweepError(
                    f"tokens: by this rule, {checkpoint.revision} has seen {tokens:.3g} tokens, "
                    f"more than {LARGEST:.3g}; check the rule"
                )
            tokens = round(tokens)
        run = _plain(f"{checkpoint.run}.{checkpoint.phase}") if phase.own_run else checkpoint.run
        placed.append(replace(checkpoint, run=run, step=step, tokens=tokens))
    return placed


def _on_axis(run: list[Listed]) -> list[Listed]:
    """Place the checkpoints of a run by their tokens if none of them has a step."""
    # The suite, and not its name, may give a position to `main`.
    named = [checkpoint for checkpoint in run if checkpoint.revision != "main"]
    if any(c.step is not None for c in named) or all(c.tokens is None for c in named):
        return run
    positions = [c.step if c.tokens is None else c.tokens for c in run]
    return [replace(c, step=p, tokens=p) for c, p in zip(run, positions, strict=True)]


def _without_repeated_main(run: list[Listed]) -> list[Listed]:
    """Treat `main` as a checkpoint without a step if another checkpoint has the same step."""
    steps = {checkpoint.step for checkpoint in run if checkpoint.revision != "main"}
    return [
        replace(checkpoint, step=None, tokens=None, is_main=True)
        if checkpoint.revision == "main" and checkpoint.step in steps
        else checkpoint
        for checkpoint in run
    ]


def _phase(group: Repositories, name: str | None) -> Phase:
    for pattern, phase in (group.phases or {}).items():
        if name is not None and fnmatchcase(name, pattern):
            return phase
    return Phase()


def _with_files(checkpoint: Listed, repository: Repository, with_code: bool) -> Listed:
    """Add the files that a checkpoint needs, and the defects of these files."""
    tree = repository.trees.get(checkpoint.commit)
    if tree is None:
        return replace(checkpoint, status=("gone",), config=repository.config)
    found, status = needed(tree, checkpoint.inside, with_code)
    if checkpoint.is_main and not any(map(is_weights, found)):
        status = ["empty_main"]
    return replace(checkpoint, files=tuple(found), status=tuple(status), config=repository.config)


def _holes(group: Repositories, members: list[Listed]) -> list[Listed]:
    """Return a hole for each step of the grid that has no checkpoint.

    If no checkpoint has a step, there are no holes.
    """
    there = [member for member in members if member.step is not None]
    if not there:
        return []
    first, known = there[0], {member.step for member in there}
    hole = Listed(first.run, "", seed=first.seed, repository=first.repository, status=("hole",))
    on_tokens = axis.of((m.step for m in members), (m.tokens for m in members)).on_tokens
    return [
        replace(hole, step=step, tokens=step if on_tokens else None)
        for step in steps(group.grid or [])
        if step not in known
    ]
