"""Integrity: what a suite's checkpoints tell against each other, by their files and their weights.

Pure functions. What is found here is a flag; which flags exclude a checkpoint is the
manifest's matter.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from shapesweep.files import is_weights
from shapesweep.publication import Published

#: A checkpoint is out of line if it is so many times farther from both of its neighbours than they
#: are from each other, in 1 - correlation. A random walk gives 1/2, steps in one direction less
#: (there the neighbours are the farthest pair); a stranger between two gives tens and more.
OUT_OF_LINE = 2.0
#: Weights that are kept in float16 differ by this much for no other reason.
ROUNDING = 1e-6


def flag_shared(found: Sequence[Published]) -> list[Published]:
    """Flag checkpoints that share a file of weights, by its sha256, in `status`.

    One that is wrong cannot be told from one that is right: every member of such a group is
    flagged `shares_file_with:<revision>`. Two groups are as they should be: exactly a run's `main`
    and its last step, and exactly steps 0 and 1 (a first step at learning rate 0). Runs may also
    share their start, as those do that differ in the order of their data alone.

    Parameters
    ----------
    found : sequence of Published

    Returns
    -------
    list of Published
        In the same order.
    """
    groups: dict[str, set[int]] = defaultdict(set)
    for k, one in enumerate(found):
        for file in one.files:
            if is_weights(file):
                groups[file.sha256 or file.blob].add(k)
    last: dict[str, int] = {}
    for one in found:
        if one.revision and one.step is not None:
            last[one.run] = max(one.step, last.get(one.run, 0))
    partners: dict[int, set[int]] = defaultdict(set)
    for members in groups.values():
        if not _is_benign([found[k] for k in members], last):
            for k in members:
                partners[k] |= members - {k}
    return [
        replace(one, status=(*one.status, *_shares(one, [found[k] for k in sorted(partners[k])])))
        if k in partners
        else one
        for k, one in enumerate(found)
    ]


def out_of_line(samples: Sequence[NDArray[np.floating]]) -> list[int]:
    """Which checkpoints of a run lie far from both neighbours while these lie close together.

    A label that was restarted, or belongs to another run, serves weights of another trajectory.

    Parameters
    ----------
    samples : sequence of ndarray, shape (n_weights,)
        The same weights of every checkpoint, by step.

    Returns
    -------
    list of int
        Positions; never the first or the last, which have one neighbour each.
    """
    far = []
    for k in range(1, len(samples) - 1):
        before, one, after = samples[k - 1 : k + 2]
        if not before.shape == one.shape == after.shape:
            continue
        between = max(_distance(before, after), ROUNDING)
        if min(_distance(before, one), _distance(one, after)) > OUT_OF_LINE * between:
            far.append(k)
    return far


def _distance(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """1 - Pearson's correlation, in float64."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    x, y = x - x.mean(), y - y.mean()
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return 1.0 - float(x @ y) / norm if norm else float(not np.array_equal(a, b))


def _is_benign(group: Sequence[Published], last: Mapping[str, int]) -> bool:
    if len(group) == 1 or _is_pair(group, last):
        return True
    by_run: dict[str, list[Published]] = defaultdict(list)
    for one in group:
        by_run[one.run].append(one)
    if len(by_run) > 1:
        # A common start: every run may bring its steps 0 and 1, one run alone what it ends with.
        later = [run for run, mine in by_run.items() if not all(map(_is_start, mine))]
        whole = all(len(mine) == 1 or _is_pair(mine, last) for mine in by_run.values())
        return whole and len(later) <= 1 and all(_is_start(o) or _is_end(o, last) for o in group)
    return False


def _is_pair(group: Sequence[Published], last: Mapping[str, int]) -> bool:
    if len(group) != 2 or len({one.repository for one in group}) > 1:
        return False
    if {one.step for one in group} == {0, 1} and len({one.run for one in group}) == 1:
        return True
    # The last stage may be a run of its own; main is that of the repository.
    main = [one for one in group if one.is_main]
    return len(main) == 1 and all(_is_end(one, last) for one in group)


def _is_start(one: Published) -> bool:
    return one.step in (0, 1)


def _is_end(one: Published, last: Mapping[str, int]) -> bool:
    return one.is_main or one.step == last.get(one.run)


def _shares(one: Published, others: Sequence[Published]) -> list[str]:
    """Flags that name whom a checkpoint shares with; of many, the first few and their number."""
    names = [
        other.revision if other.run == one.run else f"{other.run}/{other.revision}"
        for other in others
    ]
    more = [f"and {len(names) - 3} more"] if len(names) > 3 else []
    return [f"shares_file_with:{', '.join([*names[:3], *more])}"]
