"""What a suite has published: the Hub's answers read by the suite's own rules.

Takes in refs and trees as they are; hands on checkpoints with their place in training and the
files that they need. Nothing is asked of the Hub here, and no name is made up: what is not
listed there is at most a hole.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any

from shapesweep.checkpoint import TOKENIZER
from shapesweep.errors import ShapesweepError
from shapesweep.hub import File
from shapesweep.published import (
    Each,
    HubSuite,
    Mode,
    PerStep,
    Phase,
    Ramped,
    Repositories,
    Table,
    TokensRule,
    expand,
    number,
    ramped,
    steps,
)

_SHARD = re.compile(r"(model|pytorch_model)-(\d+)-of-(\d+)\.(safetensors|bin)")
_FORMATS = (("model", "safetensors"), ("pytorch_model", "bin"))


@dataclass(frozen=True)
class Repository:
    """What the Hub says of a repository.

    Attributes
    ----------
    problem : str or None
        Why it says nothing.
    branches, tags : dict
        Commit by name.
    commits : list of (str, str)
        Commit and title, the newest first; asked for where the mode needs them.
    trees : dict
        By commit, its files; None of one that is gone.
    config : dict
        `config.json` of one checkpoint.
    """

    problem: str | None = None
    branches: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    commits: list[tuple[str, str]] = field(default_factory=list)
    trees: dict[str, list[File] | None] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Published:
    """A checkpoint that a suite has published, or one that it should have.

    Attributes
    ----------
    run, revision : str
        `revision` is empty of a hole.
    repository, commit : str
    folder : str
        Inside the repository, empty at its top.
    step, tokens, seed : int or None
    phase : str or None
    is_main : bool
        The repository's `main`, which the suite's rules give no place.
    files : tuple of File
        What is needed: the configuration and one format of the weights.
    status : tuple of str
        What is wrong with it by itself.
    config : dict
        Of its run.
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


def asked(suite: HubSuite) -> list[tuple[str, Repositories]]:
    """Every repository, or pattern with `*`, that a suite's definition asks for, with its group."""
    return [
        (name, group)
        for group in suite.groups()
        for name in expand(group.repository)
        if "*" in name or _may_be_wanted(suite, name)
    ]


def revisions(
    mode: Mode, group: Repositories, name: str, repository: Repository
) -> Iterator[Published]:
    """The revisions of a repository that a suite's pattern knows, and its `main`.

    Raises
    ------
    ShapesweepError
        If the pattern finds a step that is no number.
    """
    run = name.partition("/")[2]
    main = repository.branches.get("main", "")
    if mode == "repositories":
        if main:
            yield from _read(group, name, run, [(name, run, main, "")])
        return
    if mode == "commits":
        named = [(title, commit, commit, "") for commit, title in repository.commits]
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
        by_name = {one.revision for one in known}
        if group.main_step is not None and "main" not in by_name:
            step, seed = group.main_step, _seed(group, name)
            yield Published(run, "main", name, main, step=step, seed=seed)
        elif "main" not in by_name:
            yield Published(run, "main", name, main, seed=_seed(group, name), is_main=True)


def _seed(group: Repositories, name: str) -> int | None:
    if not isinstance(group.seed, str):
        return group.seed
    found = re.search(group.seed, name)
    return int(found[1]) if found else None


def _read(
    group: Repositories, name: str, run: str, named: list[tuple[str, str, str, str]]
) -> Iterator[Published]:
    """Those of (text, revision, commit, folder) that the group's pattern matches."""
    pattern = re.compile(group.match or r"(?!)")
    steps_by_name, seen = group.named or {}, set()
    for text, revision, commit, folder in named:
        match = pattern.fullmatch(text)
        if (match is None and text not in steps_by_name) or revision in seen:
            continue
        seen.add(revision)
        groups = match.groupdict() if match else {"step": str(steps_by_name[text])}
        said = {key: value for key, value in groups.items() if value is not None}
        try:
            step = number(said["step"]) if "step" in said else None
            tokens = number(said["tokens"]) if "tokens" in said else None
        except ValueError as error:
            raise ShapesweepError(f"match: {pattern.pattern} finds in {text!r}: {error}") from None
        seed = int(said["seed"]) if said.get("seed", "").isdigit() else _seed(group, name)
        within = said.get("run")
        mine = within if within and text == name else f"{run}.{within}" if within else run
        yield Published(
            *(_plain(mine), revision, name, commit, folder),
            step=step,
            tokens=tokens,
            seed=seed,
            phase=said.get("phase"),
        )


def checkpoints(
    suite: HubSuite, listed: Mapping[str, Repository], groups: Mapping[str, Repositories]
) -> list[Published]:
    """Every checkpoint of a suite, by run and step, holes among them.

    Parameters
    ----------
    suite : HubSuite
    listed : dict of Repository
        What the Hub says, by name.
    groups : dict of Repositories
        The group that a repository belongs to.

    Returns
    -------
    list of Published
    """
    by_run: dict[str, list[Published]] = {}
    for name, repository in listed.items():
        group = groups[name]
        if repository.problem:
            run = name.partition("/")[2]
            said = f"not_listed: {repository.problem}; then ask again with --forcerun listing"
            gone = Published(run, "", name, "", status=(said,))
            by_run.setdefault(run, []).append(gone)
        mine = list(revisions(suite.mode, group, name, repository))
        for one in _placed(group, mine):
            file_list = repository.trees.get(one.commit)
            with_files = _with_files(one, file_list, repository.config, suite.remote_code)
            by_run.setdefault(one.run, []).append(with_files)
    found = []
    for run, members in by_run.items():
        if suite.only is None or any(fnmatchcase(run, pattern) for pattern in suite.only):
            group = groups[members[0].repository]
            found += sorted([*members, *_holes(group, members)], key=_order)
    return found


#: Where files of a tokenizer lie: repository, commit, files.
Place = tuple[str, str, list[File]]


def tokenizers(
    run: Sequence[Published], listed: Mapping[str, Repository], group: Repositories
) -> list[Place]:
    """Where the tokenizer of a run lies, the best place first.

    The suite's own word alone, if it has one; else `main`, else its checkpoints, the last first.

    Parameters
    ----------
    run : sequence of Published
    listed : dict of Repository
    group : Repositories
        The run's.

    Returns
    -------
    list of (str, str, list of File)
        Repository, commit and files; empty if none has one.
    """
    own = [(one.repository, one.commit, one.folder) for one in reversed(run) if one.commit]
    names = [group.tokenizer] if group.tokenizer else list(dict.fromkeys(name for name, *_ in own))
    mains = [(name, listed[name].branches.get("main", ""), "") for name in names if name in listed]
    places = []
    for name, commit, folder in [*mains, *([] if group.tokenizer else own)]:
        wanted = {str(PurePosixPath(folder, file)) for file in TOKENIZER}
        files = [file for file in listed[name].trees.get(commit) or [] if file.path in wanted]
        if files:
            places.append((name, commit, files))
    return places


def _plain(name: str) -> str:
    """A name from outside as one safe component of a path."""
    return re.sub(r"[^A-Za-z0-9._-]", "--", name).lstrip("._-")[:120] or "unnamed"


def _may_be_wanted(suite: HubSuite, name: str) -> bool:
    """Whether a repository may hold a run that is asked for; its phases are runs too."""
    run = name.partition("/")[2]
    return (
        suite.only is None
        or suite.mode == "repositories"
        or any(fnmatchcase(run, one) or one.startswith(f"{run}.") for one in suite.only)
    )


def _placed(group: Repositories, found: list[Published]) -> list[Published]:
    """Give every checkpoint its tokens, and a phase that begins anew its own run."""
    placed = []
    ranks: dict[tuple[str, str | None], int] = {}
    for one in sorted(found, key=lambda one: (one.run, one.phase or "", one.step or 0)):
        phase = _phase(group, one.phase)
        if phase.skip:
            continue
        rank = ranks[one.run, one.phase] = ranks.get((one.run, one.phase), 0) + (not one.is_main)
        rule = phase.tokens if phase.own_run else phase.tokens or group.tokens
        tokens = _tokens(rule, one, rank)
        if tokens is not None:
            tokens += round(phase.start)
        run = f"{one.run}.{one.phase}" if phase.own_run else one.run
        placed.append(replace(one, run=run, tokens=tokens))
    return placed


def _phase(group: Repositories, name: str | None) -> Phase:
    for pattern, phase in (group.phases or {}).items():
        if name is not None and fnmatchcase(name, pattern):
            return phase
    return Phase()


def _tokens(rule: TokensRule | None, one: Published, rank: int) -> int | None:
    if rule == "label" or rule is None:
        return one.tokens
    if one.is_main:
        return None
    if isinstance(rule, Each):
        return round(rank * rule.each)
    if one.step is None:
        return one.tokens
    if isinstance(rule, PerStep):
        return round(one.step * rule.per_step)
    if isinstance(rule, Ramped):
        return ramped(one.step, rule.ramp)
    assert isinstance(rule, Table)
    told = rule.table.get(one.step)
    return None if told is None else round(told)


def _with_files(
    one: Published, tree: list[File] | None, config: Mapping[str, Any], with_code: bool
) -> Published:
    """Add the files that are needed, and what is wrong with them."""
    if tree is None:
        return replace(one, status=("gone",), config=config)
    inside = {
        str(path.name): file
        for file in tree
        for path in [PurePosixPath(file.path)]
        if str(path.parent) == (one.folder or ".")
    }
    weights, status = choose_weights(inside)
    if "config.json" not in inside:
        status = ["missing_config", *status]
    if one.is_main and not weights:
        status = ["empty_main"]
    needed = [inside["config.json"]] if "config.json" in inside else []
    needed += [file for name, file in inside.items() if with_code and name.endswith(".py")]
    return replace(one, files=(*needed, *weights), status=tuple(status), config=config)


def choose_weights(files: Mapping[str, File]) -> tuple[list[File], list[str]]:
    """One whole format of a checkpoint's weights: safetensors if whole, else pickles.

    Parameters
    ----------
    files : dict of File
        By name, of one folder.

    Returns
    -------
    files : list of File
        Weights and their index.
    status : list of str
        `missing_weights` where there are none, `missing_weights:<file>` where some are.
    """
    flaws: list[str] = []
    for stem, extension in _FORMATS:
        whole = files.get(f"{stem}.{extension}")
        if whole:
            return [whole], []
        shards = {
            int(match[2]): (int(match[3]), file)
            for name, file in files.items()
            if (match := _SHARD.fullmatch(name)) and (match[1], match[4]) == (stem, extension)
        }
        index = files.get(f"{stem}.{extension}.index.json")
        if not shards and not index:
            continue
        count = max((n for n, _ in shards.values()), default=1)
        missing = [f"{stem}-{k:05}-of-{count:05}.{extension}" for k in range(1, count + 1)]
        missing = [name for k, name in enumerate(missing, 1) if k not in shards]
        if index and not missing:
            return [index, *(file for _, (_, file) in sorted(shards.items()))], []
        if not index:
            missing.append(f"{stem}.{extension}.index.json")
        flaws = flaws or [f"missing_weights:{name}" for name in missing]
    return [], flaws or ["missing_weights"]


def _holes(group: Repositories, members: list[Published]) -> list[Published]:
    """The steps of the grid that a run lacks; none where it has nothing at all."""
    there = [one for one in members if one.step is not None]
    if not there or not group.grid:
        return []
    one, known = there[0], {one.step for one in there}
    return [
        Published(one.run, "", one.repository, "", step=step, seed=one.seed, status=("hole",))
        for step in steps(group.grid)
        if step not in known
    ]


def _order(one: Published) -> tuple[bool, int, str]:
    return one.is_main, one.step or 0, one.revision
