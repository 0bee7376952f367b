"""Continuity: do the weights of a run's checkpoints follow each other as in one training run?"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shapesweep.storage.manifests import Checkpoint

#: A sample of weights of a checkpoint, by the class of their matrix.
Sample = dict[str, NDArray[np.float32]]


#: A checkpoint is discontinuous if it is farther from both neighbours than this factor times their
#: distance from each other (1 - correlation). A random walk gives 1/2, and steps in one direction
#: give less; a checkpoint of another training run gives tens and more.
OUT_OF_LINE = 2.0


#: Of three checkpoints, the outer two are farther apart than the later two, unless labels are
#: swapped: then the ratio is 1.6 and more. For every second or third checkpoint of a training run
#: it is at most 0.94.
OUT_OF_ORDER = 1.25


#: A distance between neighbours is a break if it exceeds this factor times the longer of the
#: adjacent distances. A training run restarted from two checkpoints earlier gives 2.2 to 3.8, other
#: weights 6 and more; warm-up, decay, or labels twice as far apart give 1.4.
BROKEN = 2.0


#: Distance that rounding to float16 causes.
ROUNDING = 1e-6


def continuity(samples: Sequence[Sample], steps: Sequence[int | None]) -> dict[int, str]:
    """Find checkpoints of a run that do not continue the training of earlier checkpoints.

    - `discontinuous`: it is far from both neighbours, which are close together. Its weights are of
      another training run, or of another run.
    - `out_of_order`: the labels of two checkpoints are swapped; both are flagged.
    - `break`: it is far from the previous checkpoint, and later ones are close: a restarted
      training
      continues under the labels of the old one. This is detected if the old training went on for
      two checkpoints after the restart, and not at the second or the last checkpoint, where there
      is no other distance to compare with.

    Parameters
    ----------
    samples : sequence of dict of ndarray
        The same weights of every checkpoint by class, in the order of steps.
    steps : sequence of int or None
        Steps of the labels; weights may be farther apart if labels are.

    Returns
    -------
    dict of str
        Flags by position.

    """
    found: dict[int, str] = {}
    sizes = [{kind: len(values) for kind, values in sample.items()} for sample in samples]
    known = [k for k, size in enumerate(sizes) if size == sizes[0]]
    for index, (before, middle, after) in enumerate(zip(known, known[1:], known[2:], strict=False)):
        between = max(distance(samples[before], samples[after]), ROUNDING)
        apart = [distance(samples[k], samples[middle]) for k in (before, after)]
        # If it is closer to the checkpoint before them, its label is swapped.
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
        # Distances across a flagged checkpoint are longer.
        beside = known[k + 1] == known[k] + 1
        wider = max(1.0, gaps[k] / max(gaps[k - 1], gaps[k + 1], 1))
        if beside and ways[k] > BROKEN * wider * max(ways[k - 1], ways[k + 1], ROUNDING):
            found[known[k + 1]] = "break"
    return found


def distance(a: Sample, b: Sample) -> float:
    """1 - Pearson's correlation between the weights of two checkpoints, the mean over classes."""
    return float(np.mean([1.0 - correlation(a[kind], b[kind]) for kind in a]))


def correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Pearson's correlation in float64; for constants, 1 if they are equal and otherwise 0."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    x, y = x - x.mean(), y - y.mean()
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / norm if norm else float(np.array_equal(a, b))


def between_neighbours(members: Sequence[tuple[Checkpoint, Sample]]) -> Iterator[dict[str, Any]]:
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
        pair: dict[str, Any] = {"suite": after.suite, "run": after.run, "step": after.step}
        pair |= {"previous": before.revision, "revision": after.revision, "flag": flags.get(k, "")}
        if k == 1 and 0 in flags:
            # The first checkpoint has no neighbour before it.
            yield {**pair, "revision": before.revision, "flag": flags[0]}
        for kind in (kind for kind in a if kind in b and len(a[kind]) == len(b[kind])):
            x, y = a[kind].astype(float), b[kind].astype(float)
            size = float(np.linalg.norm(x)) or 1.0
            pair |= {"tensor_class": kind, "n_weights": len(x), "correlation": correlation(x, y)}
            yield pair | {"distance": float(np.linalg.norm(y - x)) / size}


def segments(curves: pd.DataFrame, continuity: pd.DataFrame) -> "pd.Series[int]":
    """The segment of every row: the number of breaks before it in its run.

    Parameters
    ----------
    curves : pandas.DataFrame
        With suite, run and step.
    continuity : pandas.DataFrame
        `schemas.CONTINUITY`.

    Returns
    -------
    pandas.Series of int
        With the index of `curves`.
    """
    segment = pd.Series(0, index=curves.index)
    breaks = continuity[(continuity.flag == "break") & continuity.step.notna()]
    for row in breaks.drop_duplicates(["suite", "run", "revision"]).itertuples():
        behind = (curves.suite == row.suite) & (curves.run == row.run) & (curves.step >= row.step)
        segment += behind.fillna(False).astype(int)
    return segment
