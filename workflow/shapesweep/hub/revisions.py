"""Find a suite's checkpoints in the listing, by the rules of the suite's definition.

The rules determine what the name of each revision means. Only listed revisions count as
checkpoints. This module does not call the Hub.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from shapesweep.config.hub_suite import HubSuite, Mode, Repositories
from shapesweep.config.names import expand, number
from shapesweep.errors import ShapesweepError
from shapesweep.storage.files import File


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
    stage : str or None
        Stage of the training after pre-training.
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
    base : Path or None
        Folder of the base model, if the checkpoint is an adapter on this machine.
    """

    run: str
    revision: str
    step: int | None = None
    folder: Path = Path()
    seed: int | None = None
    tokens: int | None = None
    phase: str | None = None
    stage: str | None = None
    flags: tuple[str, ...] = ()
    repository: str = ""
    commit: str = ""
    inside: str = ""
    is_main: bool = False
    files: tuple[File, ...] = ()
    status: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: tuple[str, ...] = ()
    base: Path | None = None

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
        if "*" in name or _may_be_wanted(suite, group.run or name.partition("/")[2])
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
    run = group.run or plain(name.partition("/")[2])
    main = repository.branches.get("main", "")
    known = list(_read(group, name, run, _candidates(mode, group, name, repository)))
    yield from known
    of_main = f"{_prefix(group, name)}main"
    is_read = any(checkpoint.revision == of_main for checkpoint in known)
    if main and mode in ("branches", "tags", "refs") and not is_read:
        yield Listed(
            *(run, of_main, group.main_step),
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
    candidates = _candidates(mode, group, name, repository)
    return [text for text, revision, *_ in candidates if plain(revision) not in known]


def _prefix(group: Repositories, name: str) -> str:
    """Return the start of the names of a repository's revisions.

    If several repositories form a run, their revisions may have equal names.
    """
    return f"{plain(name.partition('/')[2])}." if group.run else ""


def _candidates(
    mode: Mode, group: Repositories, name: str, repository: Repository
) -> list[tuple[str, str, str, str]]:
    """Return what may be checkpoints: the text to match, the name, the commit and the folder."""
    main, prefix = repository.branches.get("main", ""), _prefix(group, name)
    if mode == "repositories":
        return [(name, plain(name.partition("/")[2]), main, "")] if main else []
    if mode == "commits":
        return [(title, prefix + commit, commit, "") for commit, title in repository.commits]
    if mode == "folders":
        tree = repository.trees.get(main) or []
        folders = sorted({str(PurePosixPath(file.path).parent) for file in tree} - {"."})
        return [(folder, prefix + folder, main, folder) for folder in folders]
    refs = {
        "branches": repository.branches,
        "tags": repository.tags,
        "refs": {**repository.tags, **repository.branches},
    }[mode]
    return [(ref, prefix + ref, commit, "") for ref, commit in refs.items()]


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
        revision = plain(revision_name)
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
            *(plain(mine), revision, step),
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


def plain(name: str) -> str:
    """Convert an external name to a safe component of a path."""
    return re.sub(r"[^A-Za-z0-9._-]", "--", name).lstrip("._-")[:120] or "unnamed"


def _may_be_wanted(suite: HubSuite, run: str) -> bool:
    """Return whether a repository may contain a requested run, which may be one of its phases."""
    return (
        suite.only is None
        or suite.mode == "repositories"
        or any(fnmatchcase(run, name) or name.startswith(f"{run}.") for name in suite.only)
    )
