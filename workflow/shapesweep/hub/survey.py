"""Ask the Hub what it has of a suite, with few requests: one tree and configuration of each run."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from shapesweep.config.hub_suite import HubSuite, Repositories
from shapesweep.errors import CheckpointError, ShapesweepError
from shapesweep.hub import client, information, listing
from shapesweep.hub.errors import NoAccessError
from shapesweep.hub.files import needed
from shapesweep.hub.information import Information
from shapesweep.hub.revisions import Listed, Repository
from shapesweep.hub.runs import checkpoints
from shapesweep.storage.files import File

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Config = Mapping[str, Any]


@dataclass(frozen=True)
class Run:
    """A run on the Hub, and the contents of its last checkpoint.

    Attributes
    ----------
    name : str
    checkpoints : list of Listed
        In the order of the steps, without the `main` of a repository if it has no step.
    tree : list of File or CheckpointError
        Files of the commit of the last checkpoint, or the reason why they cannot be read.
    config : dict, CheckpointError or None
        The `config.json`, or the reason why it cannot be read; None if there is none.
    """

    name: str
    checkpoints: list[Listed]
    tree: list[File] | CheckpointError
    config: Config | CheckpointError | None

    @property
    def last(self) -> Listed:
        """The checkpoint whose files were requested."""
        return self.checkpoints[-1]


@dataclass(frozen=True)
class Survey:
    """What the Hub has of a suite.

    Attributes
    ----------
    repositories : dict
        The references of each repository, or the reason why the Hub cannot be reached, by the name
        of the repository, or by a pattern.
    groups : dict of Repositories
        Group of each repository, except repositories that provide only a tokenizer.
    information : dict
        License and access of every repository with a run, of those in `empty`, and of those that
        cannot be listed.
    runs : list of Run
    empty : list of str
        Repositories that the suite names, in which no revision matches the suite.
    conflicts : dict of str
        Reason why the names of a repository's revisions cannot be read; `-` is the whole suite.
    """

    repositories: dict[str, Repository | CheckpointError]
    groups: dict[str, Repositories]
    information: dict[str, Information | CheckpointError] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    conflicts: dict[str, str] = field(default_factory=dict)


def survey(suite: HubSuite, parallel: int) -> Survey:
    """Ask the Hub for the references of a suite, and for the files and settings of each run.

    Parameters
    ----------
    suite : HubSuite
    parallel : int
        Number of concurrent requests.

    Returns
    -------
    Survey

    Raises
    ------
    UnreachableError
        If the Hub is down. A single repository that fails costs only this repository.
    """
    found = _references(suite, parallel)
    listed = {
        name: repository
        for name, repository in found.repositories.items()
        if name in found.groups and isinstance(repository, Repository)
    }
    conflicts = {name: _conflict(suite, {name: one}, found.groups) for name, one in listed.items()}
    listed = {name: one for name, one in listed.items() if not conflicts[name]}
    conflicts["-"] = _conflict(suite, listed, found.groups)
    found = replace(found, conflicts={name: why for name, why in conflicts.items() if why})
    if conflicts["-"]:
        return found
    known = _by_run(checkpoints(suite, listed, found.groups))
    last = [members[-1] for members in known.values()]
    trees = _trees(last, listed, parallel)
    configs = _configs(last, trees, parallel)
    with_runs = {checkpoint.repository for members in known.values() for checkpoint in members}
    empty = [
        name for name in listed if not (name in with_runs or "*" in found.groups[name].repository)
    ]
    # The reason why a repository cannot be listed may be that it is gated.
    refused = [
        name
        for name, one in found.repositories.items()
        if isinstance(one, NoAccessError) and name in found.groups and "*" not in name
    ]
    asked = dict.fromkeys([*(checkpoint.repository for checkpoint in last), *empty, *refused])
    return replace(
        found,
        information=_each(information.request, asked, parallel),
        runs=[
            Run(run, members, trees[_source(members[-1])], configs.get(_place(members[-1])))
            for run, members in known.items()
        ],
        empty=empty,
    )


def _each(
    call: Callable[[Item], Answer], items: Collection[Item], parallel: int
) -> dict[Item, Answer | CheckpointError]:
    """Return the answer, or the reason why there is none, for each item."""
    problems = listing.Problems()

    def attempt(item: Item) -> Answer | CheckpointError:
        with problems.of(item):
            return call(item)
        return problems[item]

    return dict(listing.in_parallel(attempt, items, parallel))


def _references(suite: HubSuite, parallel: int) -> Survey:
    problems = listing.Problems()
    group_of = listing.names(suite, problems)
    found: dict[str, Repository | CheckpointError] = dict(
        listing.in_parallel(
            lambda name: listing.refs(suite, group_of[name], name, problems), group_of, parallel
        )
    )
    found |= problems
    if suite.mode == "folders":
        # The names of the checkpoints are in the files of `main`.
        mains = {
            name: one.branches["main"]
            for name, one in found.items()
            if isinstance(one, Repository) and "main" in one.branches
        }
        trees = _each(lambda name: client.tree(name, mains[name]), mains, parallel)
        for name, tree in trees.items():
            one = found[name]
            if isinstance(one, Repository) and isinstance(tree, list):
                one.trees[mains[name]] = tree
            elif isinstance(tree, CheckpointError):
                found[name] = tree
    groups = listing.groups(suite, [name for name, group in group_of.items() if group])
    return Survey(found, groups)


def _conflict(
    suite: HubSuite, listed: Mapping[str, Repository], groups: Mapping[str, Repositories]
) -> str:
    """Return the reason why the names of revisions cannot be read; empty if they can be read."""
    try:
        checkpoints(suite, listed, groups)
    except ShapesweepError as error:
        return str(error)
    return ""


def _by_run(found: Collection[Listed]) -> dict[str, list[Listed]]:
    """Return the checkpoints of each run, except holes and a `main` that is no checkpoint."""
    by_run: dict[str, list[Listed]] = {}
    for checkpoint in found:
        if checkpoint.revision and not checkpoint.is_main:
            by_run.setdefault(checkpoint.run, []).append(checkpoint)
    return by_run


def _trees(
    checkpoints: Collection[Listed], listed: Mapping[str, Repository], parallel: int
) -> dict[tuple[str, str], list[File] | CheckpointError]:
    """Return the files of the checkpoints' commits, or the reasons why they cannot be read."""
    trees: dict[tuple[str, str], list[File] | CheckpointError] = {
        (name, commit): tree
        for name, one in listed.items()
        for commit, tree in one.trees.items()
        if tree is not None
    }
    wanted = dict.fromkeys(_source(checkpoint) for checkpoint in checkpoints)
    new = [source for source in wanted if source not in trees]
    return trees | _each(lambda source: client.tree(*source), new, parallel)


def _configs(
    checkpoints: Collection[Listed],
    trees: Mapping[tuple[str, str], list[File] | CheckpointError],
    parallel: int,
) -> dict[tuple[str, str, str], Config | CheckpointError]:
    """Return each `config.json` that exists, or the reason why it cannot be read."""
    files = {}
    for checkpoint in checkpoints:
        tree = trees[_source(checkpoint)]
        if isinstance(tree, list):
            found, status = needed(tree, checkpoint.inside, False)
            if "missing_config" not in status:
                files[_place(checkpoint)] = found
    return _each(lambda place: listing.read_config(*place[:2], *files[place]), files, parallel)


def _source(checkpoint: Listed) -> tuple[str, str]:
    return checkpoint.repository, checkpoint.commit


def _place(checkpoint: Listed) -> tuple[str, str, str]:
    return *_source(checkpoint), checkpoint.inside
