"""Form the runs of a suite from its revisions: steps, tokens and stages, files, and holes.

If no listed revision belongs to a step of the grid, the step counts as a hole. This module does not
call the Hub.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from fnmatch import fnmatchcase

from shapesweep.checkpoint import layouts
from shapesweep.config.hub_suite import HubSuite, Phase, Repositories
from shapesweep.config.names import steps
from shapesweep.errors import ShapesweepError
from shapesweep.hub.files import is_weights, needed
from shapesweep.hub.revisions import Listed, Repository, plain, revisions
from shapesweep.hub.token_counts import step_of, tokens_of
from shapesweep.storage import axis
from shapesweep.storage.schemas import LARGEST


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
            run = plain(name.partition("/")[2])
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
            of_groups: dict[int, tuple[Repositories, list[Listed]]] = {}
            for member in members:
                group = groups[member.repository]
                of_groups.setdefault(id(group), (group, []))[1].append(member)
            holes = [hole for of in of_groups.values() for hole in _holes(*of)]
            whole += sorted(
                [*members, *holes],
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
        first, start = phase.first_step or group.first_step or 0, phase.start or group.start or 0
        step = None if step is None else step + first
        if first and not start:
            # It is not known how many tokens were seen before the first step.
            tokens = None
        if tokens is not None:
            tokens += start
            if tokens > LARGEST:
                raise ShapesweepError(
                    f"tokens: by this rule, {checkpoint.revision} has seen {tokens:.3g} tokens, "
                    f"more than {LARGEST:.3g}; check the rule"
                )
            tokens = round(tokens)
        run = plain(f"{checkpoint.run}.{checkpoint.phase}") if phase.own_run else checkpoint.run
        stage = phase.stage or group.stage
        placed.append(replace(checkpoint, run=run, step=step, tokens=tokens, stage=stage))
    return placed


def _on_axis(run: list[Listed]) -> list[Listed]:
    """Place the checkpoints of a run by their tokens if none of them has a step."""
    # The suite, and not its name, may give a position to `main`.
    named = [checkpoint for checkpoint in run if not _is_main(checkpoint)]
    if any(c.step is not None for c in named) or all(c.tokens is None for c in named):
        return run
    positions = [c.step if c.tokens is None else c.tokens for c in run]
    return [replace(c, step=p, tokens=p) for c, p in zip(run, positions, strict=True)]


def _without_repeated_main(run: list[Listed]) -> list[Listed]:
    """Treat `main` as a checkpoint without a step if another checkpoint has the same step."""
    steps = {checkpoint.step for checkpoint in run if not _is_main(checkpoint)}
    return [
        replace(checkpoint, step=None, tokens=None, is_main=True)
        if _is_main(checkpoint) and checkpoint.step in steps
        else checkpoint
        for checkpoint in run
    ]


def _is_main(checkpoint: Listed) -> bool:
    """Return whether a checkpoint is a `main`, also in a run of several repositories."""
    own = plain(checkpoint.repository.partition("/")[2])
    return checkpoint.revision in ("main", f"{own}.main")


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
    elif "missing_weights" in status:
        start = f"{checkpoint.inside}/" if checkpoint.inside else ""
        paths = [file.path.removeprefix(start) for file in tree if file.path.startswith(start)]
        layout = layouts.find(paths)
        status = [layout] if layout else status
    elif refusal := layouts.quantized(repository.config):
        status.append(refusal)
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
        for step in ((group.first_step or 0) + step for step in steps(group.grid or []))
        if step not in known
    ]
