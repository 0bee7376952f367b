"""The selection: which of the checkpoints that are listed a configuration chooses.

Pure functions of names and steps.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from shapesweep.config.sweep import Every, Log, Selection, Steps
from shapesweep.errors import ShapesweepError
from shapesweep.hub.revisions import Published

#: Which checkpoints of a run a configuration chooses.
Rule = Literal["all"] | Selection


@dataclass(frozen=True)
class Listed:
    """A checkpoint as its name and its listing tell it.

    Attributes
    ----------
    run, revision : str
        `revision` is empty of one that should be there and is not.
    step, seed, tokens : int or None
    phase : str or None
    folder : Path
        Where it lies, or will lie while it is measured.
    flags : tuple of str
        What excludes it, known before its files are read.
    published : Published or None
        Of a suite on the Hub.
    tokenizer : tuple of str
        Digests of the files of the run's tokenizer, of a suite on the Hub.
    """

    run: str
    revision: str
    step: int | None
    folder: Path
    seed: int | None = None
    tokens: int | None = None
    phase: str | None = None
    flags: tuple[str, ...] = ()
    published: Published | None = None
    tokenizer: tuple[str, ...] = ()


def select(listed: Sequence[Listed], rule: Rule) -> list[Listed]:
    """The checkpoints that a configuration's `checkpoints` chooses, run by run.

    A flagged one is chosen where the rule names it, and then reported; where the rule names a
    number of checkpoints, a sound one stands in its place besides.

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
        If that is none.
    """
    chosen = []
    for run in dict.fromkeys(one.run for one in listed):
        # A main that has no place in training is listed, but is no checkpoint of the run.
        mine = [one for one in listed if one.run == run and not is_aside(one)]
        wanted = _select(mine, rule) if mine else []
        # Whatever is chosen, a repository that tells nothing might have had it.
        wanted += [one for one in mine if any(f.startswith("not_listed") for f in one.flags)]
        if isinstance(rule, Log):
            sound = [one for one in mine if not one.flags]
            wanted += _select(sound, rule) if sound else []
        kept = {id(one) for one in wanted}
        chosen += [one for one in mine if id(one) in kept]
    if not chosen:
        raise ShapesweepError(f"checkpoints: chooses none of the {len(listed)} that there are")
    return chosen


def budgeted(chosen: Iterable[Listed], rule: Rule | Literal["last"] | None) -> list[Listed]:
    """Of the chosen checkpoints those of which a dimension budget is asked for.

    Parameters
    ----------
    chosen : iterable of Listed
    rule : 'last', as `select`, or None
        `last` is every run's highest step; None is of none. A run that has none of the
        steps that a rule names has no budget.

    Returns
    -------
    list of Listed
    """
    known = list(chosen)
    if rule is None or not known:
        return []
    made = []
    for run in dict.fromkeys(one.run for one in known):
        mine = [one for one in known if one.run == run]
        if rule != "last":
            made += _select(mine, rule)
            continue
        last = max((one.step for one in mine if one.step is not None), default=None)
        made += [one for one in mine if one.step == last]
    return made


def is_aside(one: Listed) -> bool:
    """Whether a checkpoint is a `main` that has no place in training."""
    return one.published is not None and one.published.is_main


def _select(run: list[Listed], rule: Rule) -> list[Listed]:
    if rule == "all":
        return run
    if isinstance(rule, Every):
        return run[:: rule.every]
    if isinstance(rule, Steps):
        return [one for one in run if one.step in rule.steps]
    assert isinstance(rule, Log)
    steps = np.log1p([one.step or 0 for one in run])
    targets = np.linspace(steps[0], steps[-1], rule.log)
    return [run[i] for i in sorted({int(np.abs(steps - t).argmin()) for t in targets})]
