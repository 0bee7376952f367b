"""The listing of a suite: a JSON file with the refs, files and configurations of repositories.

The files of a commit never change, so the list of a commit's files is saved as soon as it arrives.
If a listing is repeated or resumed, only new commits are requested.
"""

import contextlib
import json
import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from shapesweep import progress
from shapesweep.checkpoint import facts
from shapesweep.config.hub_suite import HubSuite, Repositories
from shapesweep.errors import ShapesweepError
from shapesweep.hub import client
from shapesweep.hub.errors import AGAIN, NoAccessError, RefusedError, UnreachableError
from shapesweep.hub.files import needed
from shapesweep.hub.revisions import Repository, patterns, revisions
from shapesweep.storage import atomic
from shapesweep.storage.files import File, is_inside

Listing = dict[str, Repository]
#: A listing is validated when it is read, because it may be damaged or edited by hand.
_LISTING = TypeAdapter(Listing)
_TREE = TypeAdapter(tuple[str, list[File]])
_STEPS = TypeAdapter(dict[str, list[int]])
_CONFIG = TypeAdapter(dict[str, Any])
#: Maximum number of revisions from which a `config.json` is requested.
TRIED = 4
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
        Repositories by name. If a repository cannot be listed, the `problem` of this
        repository contains the reason.

    Raises
    ------
    UnreachableError
        If all attempts of a request fail, and the Hub does not answer a light request, either.
    """
    out, problems = Path(out), Problems()
    group_of = names(suite, problems)
    listed = dict(
        _ask_all(
            lambda n: refs(suite, group_of[n], n, problems), group_of, parallel, "repositories"
        )
    )
    wanted = {name: _commits(suite, group, name, listed[name]) for name, group in group_of.items()}
    for (name, commit), tree in _trees(wanted, out.parent / "trees", parallel, problems):
        listed[name].trees[commit] = tree
    configs = _ask_all(
        lambda n: _config(suite, group_of[n], n, listed[n], problems), group_of, parallel, "shapes"
    )
    listed = {
        name: Repository(str(problems[name]).removesuffix(AGAIN))
        if name in problems
        else replace(listed[name], config=config)
        for name, config in configs
    }
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
    listed = read_as(_LISTING, path)
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
    return read_as(_STEPS, path)


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


def read_as(kind: TypeAdapter[Answer], path: str | Path) -> Answer:
    """Read a JSON file that the rule `listing` wrote, and validate it.

    Raises
    ------
    ShapesweepError
        If the file is absent or damaged.
    """
    try:
        return kind.validate_python(json.loads(Path(path).read_bytes()))
    except FileNotFoundError:
        raise ShapesweepError(f"{path}: no such file; run snakemake first") from None
    except (ValueError, RecursionError):
        raise ShapesweepError(f"{path}: damaged; run again with --forcerun listing") from None


class Problems(dict[Any, RefusedError | UnreachableError]):
    """Reasons why repositories cannot be listed, by the name of the repository.

    A repository with a problem is given up: it receives no further requests.
    """

    @contextlib.contextmanager
    def of(self, name: object) -> Iterator[None]:
        """Note the errors of a `with` block as the problem of a repository.

        Raises
        ------
        UnreachableError
            If the Hub is down. Then nothing is known about the repository.
        """
        try:
            yield
        except RefusedError as error:
            self[name] = error
        except UnreachableError as error:
            client.raise_if_down(error)
            self[name] = error


def names(suite: HubSuite, problems: Problems) -> dict[str, Repositories | None]:
    """Return the group of each repository to list; None if it provides only a tokenizer."""
    group_of: dict[str, Repositories | None] = {}
    for pattern, group in patterns(suite):
        found: list[str] = []
        if "*" in pattern:
            with problems.of(pattern):
                found = client.repositories(pattern)
            if not found:
                nothing = f"{pattern}: no repository on the Hub matches this pattern"
                problems.setdefault(pattern, RefusedError(nothing))
        for name in found or [pattern]:
            group_of.setdefault(name, group)
    for group in suite.groups():
        if group.tokenizer:
            group_of.setdefault(group.tokenizer, None)
    return group_of


def refs(suite: HubSuite, group: Repositories | None, name: str, problems: Problems) -> Repository:
    """Return the branches, tags and commits of a repository; empty if a problem is known."""
    if name not in problems:
        with problems.of(name):
            found = client.refs(name)
            branch = (group.branch if group else None) or "main"
            commits = client.commits(name, branch) if group and suite.mode == "commits" else []
            return Repository(None, found["branches"], found["tags"], commits)
    return Repository()


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
    wanted: Mapping[str, list[str]], kept: Path, parallel: int, problems: Problems
) -> Iterator[tuple[tuple[str, str], list[File] | None]]:
    """Yield the files of every (repository, commit), from earlier listings or from the Hub."""
    kept.mkdir(parents=True, exist_ok=True)
    paths = {name: kept / f"{name.replace('/', '--')}.jsonl" for name in wanted}
    new = []
    for name, commits in wanted.items():
        known = _read_kept(paths[name])
        yield from (((name, commit), known[commit]) for commit in commits if commit in known)
        new += [(name, commit) for commit in commits if commit not in known]
    for (name, commit), tree in _ask_all(lambda n: _tree(*n, problems), new, parallel, "trees"):
        yield (name, commit), tree
        if tree is not None:
            line = json.dumps([commit, [asdict(file) for file in tree]])
            with paths[name].open("a", encoding="utf-8") as file:
                file.write(f"{line}\n")


def _tree(name: str, commit: str, problems: Problems) -> list[File] | None:
    """Return the files of a commit; None if it no longer exists, or if a problem is known."""
    if name not in problems:
        with problems.of(name):
            try:
                return client.tree(name, commit)
            except NoAccessError:
                raise
            except RefusedError:
                return None
    return None


def _read_kept(path: Path) -> dict[str, list[File]]:
    """Read the lists of files that earlier listings have stored, by commit."""
    found = []
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        # A killed job may have written an incomplete line.
        with contextlib.suppress(ValueError):
            found.append(_TREE.validate_python(json.loads(line)))
    return dict(found)


def _config(
    suite: HubSuite,
    group: Repositories | None,
    name: str,
    repository: Repository,
    problems: Problems,
) -> dict[str, Any]:
    """Return the `config.json` of one checkpoint; empty if no checkpoint has one.

    If a `config.json` is unusable, those of a few other checkpoints are tried.
    """
    if group is None or name in problems:
        return {}
    found = [
        (revision.commit, files)
        for revision in revisions(suite.mode, group, name, repository)
        for files, status in [
            needed(repository.trees.get(revision.commit) or [], revision.inside, False)
        ]
        if "missing_config" not in status
    ]
    with problems.of(name):
        failure = None
        for commit, files in found[:: math.ceil(len(found) / TRIED) or 1]:
            try:
                return read_config(name, commit, *files)
            except NoAccessError:
                raise
            except RefusedError as error:
                failure = error
        if failure:
            raise failure
    return {}


def read_config(name: str, commit: str, file: File, *weights: File) -> dict[str, Any]:
    """Read the `config.json` of a checkpoint, and check that it is possible.

    Raises
    ------
    RefusedError
        If the file is not a JSON object, or describes a model that is larger than its weights.
    UnreachableError
    """
    content = client.read(name, commit, file)
    try:
        config = _CONFIG.validate_json(content)
    except ValueError:
        begin = content[:20].decode(errors="replace")
        raise RefusedError(
            f"{name}: {file.path} is not a JSON object, but starts with {begin!r}"
        ) from None
    # The costs of the sweep are estimated from the config, and must not be absurd.
    n_bytes = sum(file.size for file in weights)
    if n_bytes and not facts.fits(config, n_bytes):
        raise RefusedError(f"{name}: {file.path} describes a model that is larger than its weights")
    return config
