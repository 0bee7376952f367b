"""The listing of a suite: a JSON file with the refs, files and configurations of repositories.

The files of a commit never change, so the list of a commit's files is saved as soon as it arrives.
If a listing is repeated or resumed, only new commits are requested.
"""

import contextlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from pydantic import TypeAdapter

from shapesweep import progress
from shapesweep.config.hub_suite import HubSuite, Repositories
from shapesweep.errors import ShapesweepError
from shapesweep.hub import client
from shapesweep.hub.revisions import Repository, patterns, revisions
from shapesweep.storage import atomic
from shapesweep.storage.files import File, is_inside

Listing = dict[str, Repository]
#: A listing is validated when it is read, because it may be damaged or edited by hand.
_LISTING = TypeAdapter(Listing)
_TREE = TypeAdapter(tuple[str, list[File]])
_STEPS = TypeAdapter(dict[str, list[int]])
Item = TypeVar("Item")
Answer = TypeVar("Answer")


def request(suite: HubSuite, out: str | Path, parallel: int) -> Listing:
    """Request all information on the Hub that the manifest of a suite needs.

    Parameters
    ----------
    suite : HubSuite
    out : path-like
        The JSON file to write. The folder `trees/` beside it stores the files of each commit.
    parallel : int
        Number of concurrent requests.

    Returns
    -------
    dict of Repository
        Repositories by name. If the Hub refuses a repository, the `problem` of this
        repository contains the reason.

    Raises
    ------
    UnreachableError
        If all attempts of a request fail.
    """
    out = Path(out)
    group_of = names(suite)
    listed = dict(
        _ask_all(lambda n: refs(suite, group_of[n], n), group_of, parallel, "repositories")
    )
    wanted = {name: _commits(suite, group, name, listed[name]) for name, group in group_of.items()}
    for (name, commit), tree in _trees(wanted, out.parent / "trees", parallel):
        listed[name].trees[commit] = tree
    configs = _ask_all(
        lambda n: _config(suite, group_of[n], n, listed[n]), group_of, parallel, "shapes"
    )
    listed = {name: replace(listed[name], config=config) for name, config in configs}
    with atomic.file(out) as partial:
        text = json.dumps({name: asdict(repository) for name, repository in listed.items()})
        partial.write_text(text, encoding="utf-8")
    return listed


def read(path: str | Path) -> Listing:
    """Read a listing that `request` wrote.

    Raises
    ------
    ShapesweepError
        If the file is absent or damaged.
    """
    listed = _read(path, _LISTING)
    trees = [tree or [] for repository in listed.values() for tree in repository.trees.values()]
    if not all(is_inside(file.path) for tree in trees for file in tree):
        raise ShapesweepError(f"{path}: damaged; run again with --forcerun listing")
    return listed


def write_steps(folders: Mapping[str, Path], out: str | Path) -> None:
    """Write the steps of the checkpoints that training runs have kept.

    Parameters
    ----------
    folders : dict of Path
        Output folders of a Trainer, by run.
    out : path-like
        The JSON file to write. It maps each run to a list of steps.
    """
    kept = {
        run: sorted(int(path.name.partition("-")[2]) for path in folder.glob("checkpoint-*"))
        for run, folder in folders.items()
    }
    with atomic.file(out) as partial:
        partial.write_text(json.dumps(kept), encoding="utf-8")


def read_steps(path: str | Path) -> dict[str, list[int]]:
    """Read steps that `write_steps` wrote.

    Raises
    ------
    ShapesweepError
        If the file is absent or damaged.
    """
    return _read(path, _STEPS)


def groups(suite: HubSuite, names: Iterable[str]) -> dict[str, Repositories]:
    """Return the group of each repository, except repositories that provide only a tokenizer."""
    known = patterns(suite)
    found = {}
    for name in names:
        fits = [(pattern, group) for pattern, group in known if fnmatchcase(name, pattern)]
        # The exact name of a repository has priority over a pattern that matches the name.
        fits.sort(key=lambda fit: fit[0] != name)
        if fits:
            found[name] = fits[0][1]
    return found


def _read(path: str | Path, kind: TypeAdapter[Answer]) -> Answer:
    try:
        return kind.validate_python(json.loads(Path(path).read_bytes()))
    except FileNotFoundError:
        raise ShapesweepError(f"{path}: no such file; run snakemake first") from None
    except (ValueError, RecursionError):
        raise ShapesweepError(f"{path}: damaged; run again with --forcerun listing") from None


def names(suite: HubSuite) -> dict[str, Repositories | None]:
    """Return the group of each repository to list; None if it provides only a tokenizer."""
    group_of: dict[str, Repositories | None] = {}
    for pattern, group in patterns(suite):
        # A pattern that matches no repository is reported as a problem.
        found = client.repositories(pattern) if "*" in pattern else []
        for name in found or [pattern]:
            group_of.setdefault(name, group)
    for group in suite.groups():
        if group.tokenizer:
            group_of.setdefault(group.tokenizer, None)
    return group_of


def refs(suite: HubSuite, group: Repositories | None, name: str) -> Repository:
    """Return the branches, tags and commits of a repository, or the reason why it has none."""
    if "*" in name:
        return Repository(f"{name}: no repository on the Hub matches this pattern")
    try:
        found = client.refs(name)
        branch = (group.branch if group else None) or "main"
        commits = client.commits(name, branch) if group and suite.mode == "commits" else []
        return Repository(None, found["branches"], found["tags"], commits)
    except client.RefusedError as error:
        return Repository(str(error))


def _ask_all(
    call: Callable[[Item], Answer], items: Collection[Item], parallel: int, unit: str
) -> Iterator[tuple[Item, Answer]]:
    """Call a function for every item, with a progress bar; see `in_parallel`."""
    with progress.bar(len(items), "listing", unit) as bar:
        for answered in in_parallel(call, items, parallel):
            yield answered
            bar.update()


def in_parallel(
    call: Callable[[Item], Answer], items: Collection[Item], parallel: int
) -> Iterator[tuple[Item, Answer]]:
    """Call a function for every item, in parallel; the first error cancels all other calls."""
    with ThreadPoolExecutor(parallel) as workers:
        try:
            yield from zip(items, workers.map(call, items), strict=True)
        finally:
            workers.shutdown(wait=False, cancel_futures=True)


def _commits(
    suite: HubSuite, group: Repositories | None, name: str, repository: Repository
) -> list[str]:
    """Return the commits whose files are needed: `main`, and all revisions that match the suite."""
    main = repository.branches.get("main")
    commits = [main] if main else []
    if group is not None and suite.mode != "folders":
        commits += [revision.commit for revision in revisions(suite.mode, group, name, repository)]
    return list(dict.fromkeys(commits))


def _trees(
    wanted: Mapping[str, list[str]], kept: Path, parallel: int
) -> Iterator[tuple[tuple[str, str], list[File] | None]]:
    """Yield the files of every (repository, commit), from earlier listings or from the Hub."""
    kept.mkdir(parents=True, exist_ok=True)
    paths = {name: kept / f"{name.replace('/', '--')}.jsonl" for name in wanted}
    new = []
    for name, commits in wanted.items():
        known = _read_kept(paths[name])
        yield from (((name, commit), known[commit]) for commit in commits if commit in known)
        new += [(name, commit) for commit in commits if commit not in known]
    for (name, commit), tree in _ask_all(_tree, new, parallel, "trees"):
        yield (name, commit), tree
        if tree is not None:
            line = json.dumps([commit, [asdict(file) for file in tree]])
            with paths[name].open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")


def _tree(checkpoint: tuple[str, str]) -> list[File] | None:
    try:
        return client.tree(*checkpoint)
    except client.RefusedError:
        return None


def _read_kept(path: Path) -> dict[str, list[File]]:
    """Read the lists of files that earlier listings have stored, by commit."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        # A killed job may have written an incomplete line.
        with contextlib.suppress(ValueError):
            found.append(_TREE.validate_python(json.loads(line)))
    return dict(found)


def _config(
    suite: HubSuite, group: Repositories | None, name: str, repository: Repository
) -> dict[str, Any]:
    """Return the `config.json` of one checkpoint; empty if no `config.json` can be read."""
    for revision in revisions(suite.mode, group, name, repository) if group else ():
        path = str(PurePosixPath(revision.inside, "config.json"))
        if path in {file.path for file in repository.trees.get(revision.commit) or []}:
            try:
                config = json.loads(client.read(name, revision.commit, path))
            except (client.RefusedError, ValueError):
                continue
            return config if isinstance(config, dict) else {}
    return {}
