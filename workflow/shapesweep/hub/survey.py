"""Ask the Hub what it has of a suite, with few requests: one tree and configuration of each run."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, TypeVar

from shapesweep.config.hub_suite import HubSuite, Repositories
from shapesweep.errors import CheckpointError, ShapesweepError, TransientError
from shapesweep.hub import client, listing
from shapesweep.hub.revisions import Listed, Repository, checkpoints
from shapesweep.storage.files import File

#: The rule for suites without rules: every name matches.
ANY = "(?s:.*)"
#: Number of repositories in a row that cannot be reached, after which no more are requested.
DOWN = 3

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Config = Mapping[str, Any]


class DownError(TransientError):
    """Raised if the Hub cannot be reached at all."""


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
    information: dict[str, client.Information | CheckpointError] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    conflicts: dict[str, str] = field(default_factory=dict)


class Caller:
    """Call the Hub for many items, so that an item that fails costs only this item.

    Parameters
    ----------
    parallel : int
        Number of concurrent requests.
    """

    def __init__(self, parallel: int) -> None:
        self.parallel = parallel
        #: Whether the Hub has answered at all.
        self.has_answer = False
        #: The last reason why the Hub was not reached.
        self.failure = ""
        self._failures_in_a_row = 0

    def ask(
        self, call: Callable[[Item], Answer], items: Collection[Item]
    ) -> dict[Item, Answer | CheckpointError]:
        """Return the answer, or the reason why there is none, for each item.

        Raises
        ------
        DownError
            If `DOWN` items in a row fail because the Hub cannot be reached.
        """

        def attempt(item: Item) -> Answer | CheckpointError:
            answer: Answer | CheckpointError
            try:
                answer = call(item)
            except client.UnreachableError as error:
                self.failure = str(error)
                self._failures_in_a_row += 1
                if self._failures_in_a_row >= DOWN:
                    raise DownError(self.failure) from None
                return error
            except client.RefusedError as error:
                answer = error
            self._failures_in_a_row, self.has_answer = 0, True
            return answer

        return dict(listing.in_parallel(attempt, items, self.parallel))


def survey(suite: HubSuite, caller: Caller) -> Survey:
    """Ask the Hub for the references of a suite, and for the files and settings of each run.

    Parameters
    ----------
    suite : HubSuite
    caller : Caller

    Returns
    -------
    Survey

    Raises
    ------
    DownError
        If the Hub cannot be reached at all.
    """
    suite = _with_rules(suite)
    found = _references(suite, caller)
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
    known = _by_run(checkpoints(suite, listed, found.groups), found.groups)
    last = [members[-1] for members in known.values()]
    trees = _trees(caller, last, listed)
    present = [_config_file(c) for c in last if _has_config(trees[_source(c)], c)]
    configs = caller.ask(_config, dict.fromkeys(present))
    with_runs = {checkpoint.repository for members in known.values() for checkpoint in members}
    empty = [
        name
        for name, one in listed.items()
        if not (one.problem or name in with_runs or "*" in found.groups[name].repository)
    ]
    # The reason why a repository has no references may be that it is gated.
    unlisted = [name for name, one in listed.items() if one.problem and "*" not in name]
    asked = dict.fromkeys([*(checkpoint.repository for checkpoint in last), *empty, *unlisted])
    return replace(
        found,
        information=caller.ask(client.information, asked),
        runs=[
            Run(run, members, trees[_source(members[-1])], configs.get(_config_file(members[-1])))
            for run, members in known.items()
        ],
        empty=empty,
    )


def _with_rules(suite: HubSuite) -> HubSuite:
    """Let every name match in groups that have no rules, because they cannot be measured."""
    groups = [
        group if group.match or group.named else group.model_copy(update={"match": ANY})
        for group in suite.groups()
    ]
    return suite.model_copy(update={"repositories": groups})


def _references(suite: HubSuite, caller: Caller) -> Survey:
    parts = [suite.model_copy(update={"repositories": [group]}) for group in suite.repositories]
    searched = [n for n, part in enumerate(parts) if "*" in part.repositories[0].repository]
    named = caller.ask(lambda n: listing.names(parts[n]), searched)
    repositories: dict[str, Repository | CheckpointError] = {}
    group_of: dict[str, Repositories | None] = {}
    for n, part in enumerate(parts):
        names = named[n] if n in named else listing.names(part)
        if isinstance(names, CheckpointError):
            repositories[part.repositories[0].repository] = names
            continue
        for name, group in names.items():
            group_of[name] = group_of.get(name) or group
    absent = [name for name in group_of if "*" in name]
    repositories |= {name: listing.refs(suite, group_of[name], name) for name in absent}
    repositories |= caller.ask(
        lambda name: listing.refs(suite, group_of[name], name),
        [name for name in group_of if name not in repositories],
    )
    groups = listing.groups(suite, [name for name, group in group_of.items() if group])
    if suite.mode == "folders":
        repositories |= _with_folders(caller, repositories)
    return Survey(repositories, groups)


def _with_folders(
    caller: Caller, repositories: Mapping[str, Repository | CheckpointError]
) -> dict[str, Repository | CheckpointError]:
    """Return the repositories that can be listed, with the files of `main`."""
    listed = {
        name: one
        for name, one in repositories.items()
        if isinstance(one, Repository) and "main" in one.branches
    }
    trees = caller.ask(lambda n: client.tree(n, listed[n].branches["main"]), listed)
    return {
        name: replace(listed[name], trees={listed[name].branches["main"]: tree})
        if isinstance(tree, list)
        else tree
        for name, tree in trees.items()
    }


def _conflict(
    suite: HubSuite, listed: Mapping[str, Repository], groups: Mapping[str, Repositories]
) -> str:
    """Return the reason why the names of revisions cannot be read; empty if they can be read."""
    try:
        checkpoints(suite, listed, groups)
    except ShapesweepError as error:
        return str(error)
    return ""


def _by_run(
    found: Collection[Listed], groups: Mapping[str, Repositories]
) -> dict[str, list[Listed]]:
    """Return the checkpoints of each run, except holes and a `main` that is no checkpoint."""
    by_run: dict[str, list[Listed]] = {}
    for checkpoint in found:
        is_any = checkpoint.revision == "main" and groups[checkpoint.repository].match == ANY
        if checkpoint.revision and not (checkpoint.is_main or is_any):
            by_run.setdefault(checkpoint.run, []).append(checkpoint)
    return by_run


def _trees(
    caller: Caller, checkpoints: Collection[Listed], listed: Mapping[str, Repository]
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
    return trees | caller.ask(lambda source: client.tree(*source), new)


def _source(checkpoint: Listed) -> tuple[str, str]:
    return checkpoint.repository, checkpoint.commit


def _config_file(checkpoint: Listed) -> tuple[str, str, str]:
    return *_source(checkpoint), str(PurePosixPath(checkpoint.inside, "config.json"))


def _has_config(tree: list[File] | CheckpointError, checkpoint: Listed) -> bool:
    path = _config_file(checkpoint)[-1]
    return isinstance(tree, list) and any(file.path == path for file in tree)


def _config(file: tuple[str, str, str]) -> Config:
    repository, _, path = file
    content = client.read(*file)
    try:
        config = json.loads(content)
    except (ValueError, RecursionError):
        config = None
    if not isinstance(config, dict):
        raise client.RefusedError(f"{repository}: {path} is not a JSON object")
    return config
