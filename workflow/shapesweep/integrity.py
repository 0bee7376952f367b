"""Integrity: what a suite's checkpoints tell against each other, by their files and their weights.

Pure functions. What is found here is a flag; which flags exclude a checkpoint is the
manifest's matter.
"""

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from shapesweep.files import is_weights
from shapesweep.publication import Published

#: Weights of a checkpoint, by the class of their matrix.
Sample = dict[str, NDArray[np.float32]]
#: A checkpoint is out of line if it is so many times farther from both of its neighbours than they
#: are from each other, in 1 - correlation. A random walk gives 1/2, steps in one direction less
#: (there the neighbours are the farthest pair); a stranger between two gives tens and more.
OUT_OF_LINE = 2.0
#: Of three, the outer two lie farther apart than the later two, unless labels were swapped: then
#: by 1.6 and more. Of every second or third checkpoint of a training: 0.94 at most.
OUT_OF_ORDER = 1.25
#: A step between neighbours is a break if it is so many times as long as the longer of the steps
#: beside it. A training from which it was restarted two checkpoints ago makes it 2.2 to 3.8, other
#: weights 6 and more; a schedule that warms up or decays, or labels twice as far apart, 1.4.
BROKEN = 2.0
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


def continuity(samples: Sequence[Sample], steps: Sequence[int | None]) -> dict[int, str]:
    """Which checkpoints of a run are no continuation of those before them, and how one sees it.

    - `discontinuous`: it lies far from both neighbours while these lie close together. A label that
      was trained anew by itself, or belongs to another run, serves weights of another trajectory.
    - `out_of_order`: a later one lies nearer to those before them both; one of both is flagged with
      the other. Labels were swapped.
    - `break`: it lies far from the one before it, and its followers near: a training that was
      restarted goes on under the old one's labels. Seen once two checkpoints of the old training
      lie beyond the point from which it was restarted; not before the second checkpoint, and not
      behind the last but one, where there is no other distance to compare with.

    Parameters
    ----------
    samples : sequence of dict of ndarray
        The same weights of every checkpoint by class, in the order of steps.
    steps : sequence of int or None
        Where labels lie farther apart than on either side, so may weights.

    Returns
    -------
    dict of str
        By position.
    """
    found: dict[int, str] = {}
    known = [k for k, one in enumerate(samples) if one.keys() == samples[0].keys()]
    known = [k for k in known if _sizes(samples[k]) == _sizes(samples[0])]
    for place, (before, one, after) in enumerate(zip(known, known[1:], known[2:], strict=False)):
        between = max(distance(samples[before], samples[after]), ROUNDING)
        apart = [distance(samples[k], samples[one]) for k in (before, after)]
        # What lies nearer to the one before them is no stranger: its label is swapped.
        last = samples[known[place - 1]] if place else None
        early = last and distance(last, samples[one]) < distance(last, samples[before])
        if min(apart) > OUT_OF_LINE * between and not early:
            found[one] = "discontinuous"
    known = [k for k in known if k not in found]
    for before, one, after in zip(known, known[1:], known[2:], strict=False):
        farther = max(distance(samples[before], samples[after]), ROUNDING)
        if distance(samples[one], samples[after]) > OUT_OF_ORDER * farther:
            found |= {before: "out_of_order", one: "out_of_order"}
    known = [k for k in known if k not in found]
    ways = [distance(samples[a], samples[b]) for a, b in itertools.pairwise(known)]
    gaps = [(steps[b] or 0) - (steps[a] or 0) for a, b in itertools.pairwise(known)]
    for k in range(1, len(ways) - 1):
        # Over one that is flagged itself the way is longer for that.
        beside = known[k + 1] == known[k] + 1
        wider = max(1.0, gaps[k] / max(gaps[k - 1], gaps[k + 1], 1))
        if beside and ways[k] > BROKEN * wider * max(ways[k - 1], ways[k + 1], ROUNDING):
            found[known[k + 1]] = "break"
    return found


def distance(a: Sample, b: Sample) -> float:
    """1 - Pearson's correlation of the same weights of two checkpoints, the mean of the classes."""
    return float(np.mean([1.0 - correlation(a[kind], b[kind]) for kind in a]))


def correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Pearson's correlation, in float64; of constants, 1 where they are equal and else 0."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    x, y = x - x.mean(), y - y.mean()
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / norm if norm else float(np.array_equal(a, b))


def _sizes(one: Sample) -> list[int]:
    return [len(values) for values in one.values()]


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
