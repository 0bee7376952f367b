"""Continuity: do the weights of a run's checkpoints follow each other in one training?"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shapesweep.storage.manifests import Checkpoint

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
    known = [k for k, sample in enumerate(samples) if sample.keys() == samples[0].keys()]
    known = [k for k in known if _sizes(samples[k]) == _sizes(samples[0])]
    for index, (before, middle, after) in enumerate(zip(known, known[1:], known[2:], strict=False)):
        between = max(distance(samples[before], samples[after]), ROUNDING)
        apart = [distance(samples[k], samples[middle]) for k in (before, after)]
        # What lies nearer to the one before them is no stranger: its label is swapped.
        last = samples[known[index - 1]] if index else None
        early = last and distance(last, samples[middle]) < distance(last, samples[before])
        if min(apart) > OUT_OF_LINE * between and not early:
            found[middle] = "discontinuous"
    known = [k for k in known if k not in found]
    for before, middle, after in zip(known, known[1:], known[2:], strict=False):
        farther = max(distance(samples[before], samples[after]), ROUNDING)
        if distance(samples[middle], samples[after]) > OUT_OF_ORDER * farther:
            found |= {before: "out_of_order", middle: "out_of_order"}
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


def _sizes(sample: Sample) -> list[int]:
    return [len(values) for values in sample.values()]


def between_neighbours(
    members: Sequence[tuple[Checkpoint, Sample]],
) -> Iterator[dict[str, Any]]:
    """Compare the weights of a run's neighbouring checkpoints.

    Parameters
    ----------
    members : sequence of (Checkpoint, dict of ndarray)
        The checkpoints of a run in the order of steps, with a sample of their weights by class.

    Yields
    ------
    dict
        A row of `schemas.CONTINUITY`, one for each pair and class.
    """
    flags = continuity([sample for _, sample in members], [member.step for member, _ in members])
    for k, ((before, a), (after, b)) in enumerate(itertools.pairwise(members), start=1):
        pair: dict[str, Any] = {"suite": after.suite, "run": after.run}
        pair |= {"previous": before.revision, "revision": after.revision, "step": after.step}
        pair["flag"] = flags.get(k, "")
        if k == 1 and 0 in flags:
            # The first checkpoint has no neighbour before it.
            yield {**pair, "revision": before.revision, "flag": flags[0]}
        for kind in (kind for kind in a if kind in b and len(a[kind]) == len(b[kind])):
            x, y = a[kind].astype(float), b[kind].astype(float)
            size = float(np.linalg.norm(x)) or 1.0
            numbers = {"tensor_class": kind, "n_weights": len(x)}
            numbers["correlation"] = correlation(x, y)
            yield {**pair, **numbers, "distance": float(np.linalg.norm(y - x)) / size}


def segments(curves: pd.DataFrame, continuity: pd.DataFrame) -> "pd.Series[int]":
    """Which part of its run every row belongs to: so many breaks lie before it.

    Parameters
    ----------
    curves : pandas.DataFrame
        With suite, run and step.
    continuity : pandas.DataFrame
        `schemas.CONTINUITY`.

    Returns
    -------
    pandas.Series of int
        Of the rows' index.
    """
    segment = pd.Series(0, index=curves.index)
    breaks = continuity[(continuity.flag == "break") & continuity.step.notna()]
    for row in breaks.drop_duplicates(["suite", "run", "revision"]).itertuples():
        behind = (curves.suite == row.suite) & (curves.run == row.run) & (curves.step >= row.step)
        segment += behind.fillna(False).astype(int)
    return segment
