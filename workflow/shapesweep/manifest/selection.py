"""Choose checkpoints of a suite by the rules of a configuration."""

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from shapesweep.config.sweep import Every, Log, Selection, Steps
from shapesweep.errors import ShapesweepError
from shapesweep.hub.revisions import Listed
from shapesweep.storage import axis

#: Rule that chooses checkpoints of a run.
Rule = Literal["all"] | Selection


def select(listed: Sequence[Listed], rule: Rule) -> list[Listed]:
    """Apply a configuration's rule `checkpoints` to each run, and return the chosen checkpoints.

    A chosen checkpoint that has flags is reported, but not measured. A rule `Log` chooses twice,
    once from all checkpoints of the run and once from those without flags. Checkpoints of both
    choices are returned.

    Parameters
    ----------
    listed : sequence of Listed
    rule : 'all', Every, Steps or Log

    Returns
    -------
    list of Listed

    Raises
    ------
    ShapesweepError
        If no checkpoint is chosen.
    """
    chosen = []
    for run in dict.fromkeys(checkpoint.run for checkpoint in listed):
        # On the Hub, a `main` without a step is listed, but is not a checkpoint of the run.
        mine = [member for member in listed if member.run == run and not member.is_main]
        wanted = list(_select(mine, rule))
        if isinstance(rule, Log):
            wanted += _select([checkpoint for checkpoint in mine if not checkpoint.flags], rule)
        kept = {id(checkpoint) for checkpoint in wanted}
        # The entry of a repository that cannot be listed is kept, because the repository might
        # contain checkpoints that the rule chooses.
        chosen += [
            checkpoint
            for checkpoint in mine
            if id(checkpoint) in kept or any(f.startswith("not_listed") for f in checkpoint.flags)
        ]
    if not chosen:
        raise ShapesweepError(f"checkpoints: chooses none of {len(listed)} listed checkpoints")
    return chosen


def budgeted(chosen: Iterable[Listed], rule: Rule | Literal["last"] | None) -> list[Listed]:
    """Return the chosen checkpoints that need a dimension budget.

    Parameters
    ----------
    chosen : iterable of Listed
    rule : 'last', a rule as in `select`, or None
        `last` chooses the checkpoint with the highest step in each run. None chooses no
        checkpoint. If a run has none of the rule's steps, it gets no dimension budget.

    Returns
    -------
    list of Listed
    """
    if rule is None:
        return []
    by_run: dict[str, list[Listed]] = {}
    for checkpoint in chosen:
        by_run.setdefault(checkpoint.run, []).append(checkpoint)
    return [checkpoint for mine in by_run.values() for checkpoint in _select(mine, rule)]


def _select(run: list[Listed], rule: Rule | Literal["last"]) -> list[Listed]:
    if rule == "all" or not run:
        return run
    if rule == "last":
        last = max((member.step for member in run if member.step is not None), default=None)
        return [checkpoint for checkpoint in run if checkpoint.step == last]
    if isinstance(rule, Every):
        return run[:: rule.every]
    if isinstance(rule, Steps):
        return [checkpoint for checkpoint in run if checkpoint.step in rule.steps]
    assert isinstance(rule, Log)
    along = axis.of((member.step for member in run), (member.tokens for member in run))
    steps = along.log([member.step or 0 for member in run])
    targets = np.linspace(steps[0], steps[-1], rule.log)
    return [run[i] for i in sorted({int(np.abs(steps - t).argmin()) for t in targets})]
