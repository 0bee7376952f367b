"""Continuity: do the weights of a run's checkpoints change gradually, as in one training run?"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shapesweep.storage.manifests import Checkpoint

#: A sample of the weights of a checkpoint, by `tensor_class` (`attention`, `head`, …).
Sample = dict[str, NDArray[np.float32]]

#: A checkpoint is discontinuous if its distance (1 - correlation) from both neighbours exceeds this
#: factor times the distance between these neighbours. The distance from a neighbour, divided by the
#: distance between the neighbours, is 1/2 for a random walk, less than 1/2 for steps in one
#: direction, and ten or more for weights of another training run.
OUT_OF_LINE = 2.0

#: Of three successive checkpoints A, B and C, the labels of A and B are swapped if the distance
#: between B and C exceeds this factor times the distance between A and C. The ratio of these two
#: distances is at least 1.6 for swapped labels. For correct labels, the ratio is at most 0.94, even
#: if only every second or third checkpoint of a training run is compared.
OUT_OF_ORDER = 1.25

#: There is a break between two neighbours if their distance exceeds this factor times the larger of
#: the two adjacent distances. The distance at a break is 2.2 to 3.8 times the larger adjacent
#: distance if training went back by two checkpoints, and at least 6 times for weights of another
#: run. Warm-up, decay, or a doubled gap between labels raises a distance to at most 1.4 times the
#: larger adjacent distance.
BROKEN = 2.0

#: Distance caused by rounding to float16.
ROUNDING = 1e-6


def continuity(samples: Sequence[Sample], steps: Sequence[int | None]) -> dict[int, str]:
    """Find checkpoints of a run that do not continue the training of earlier checkpoints.

    - `discontinuous`: the checkpoint is far from both neighbours, which are close to each other.
      Its weights belong to another training run.
    - `out_of_order`: the labels of two checkpoints are swapped; both checkpoints are flagged.
    - `break`: the checkpoint is far from the previous checkpoint, but close to later checkpoints.
      Training was restarted, and the labels of the new run continue the labels of the old run. A
      break is detected if training went back by at least two checkpoints. A break at the second or
      the last checkpoint is not detected, because a distance on one side of the break is missing.

    Parameters
    ----------
    samples : sequence of dict of ndarray
        One sample per checkpoint, in the order of steps; all samples are taken at the same
        positions.
    steps : sequence of int or None
        Steps from the labels. A wider gap between two steps permits a larger distance between the
        weights of these checkpoints.

    Returns
    -------
    dict of str
        Flags of checkpoints, by their index in `samples`.
    """
    found: dict[int, str] = {}
    sizes = [{kind: len(values) for kind, values in sample.items()} for sample in samples]
    known = [k for k, size in enumerate(sizes) if size == sizes[0]]
    for index, (before, middle, after) in enumerate(zip(known, known[1:], known[2:], strict=False)):
        between = max(distance(samples[before], samples[after]), ROUNDING)
        apart = [distance(samples[k], samples[middle]) for k in (before, after)]
        # If `middle` is closer to `last` than `before` is, the labels of `before` and `middle` are
        # swapped.
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
        # Skip a distance that spans a flagged checkpoint, because its ends are not neighbours.
        beside = known[k + 1] == known[k] + 1
        wider = max(1.0, gaps[k] / max(gaps[k - 1], gaps[k + 1], 1))
        if beside and ways[k] > BROKEN * wider * max(ways[k - 1], ways[k + 1], ROUNDING):
            found[known[k + 1]] = "break"
    return found


def distance(a: Sample, b: Sample) -> float:
    """Return one minus Pearson's correlation of the weights, averaged over classes of matrices."""
    return float(np.mean([1.0 - correlation(a[kind], b[kind]) for kind in a]))


def correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Return Pearson's correlation in float64; for constant arrays, 1 if both are equal, else 0."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    x, y = x - x.mean(), y - y.mean()
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / norm if norm else float(np.array_equal(a, b))


def between_neighbours(members: Sequence[tuple[Checkpoint, Sample]]) -> Iterator[dict[str, Any]]:
    """Compare the weights of a run's neighbouring checkpoints.

    Parameters
    ----------
    members : sequence of (Checkpoint, dict of ndarray)
        The checkpoints of a run in the order of steps, each with a sample of its weights.

    Yields
    ------
    dict
        A row of `schemas.CONTINUITY` for each pair of neighbours and each `tensor_class`.
    """
    flags = continuity([sample for _, sample in members], [member.step for member, _ in members])
    for k, ((before, a), (after, b)) in enumerate(itertools.pairwise(members), start=1):
        pair: dict[str, Any] = {"suite": after.suite, "run": after.run, "step": after.step}
        pair |= {"previous": before.revision, "revision": after.revision, "flag": flags.get(k, "")}
        if k == 1 and 0 in flags:
            # The first checkpoint has no previous neighbour, so its flag needs a separate row.
            yield {**pair, "revision": before.revision, "flag": flags[0]}
        for kind in (kind for kind in a if kind in b and len(a[kind]) == len(b[kind])):
            x, y = a[kind].astype(float), b[kind].astype(float)
            size = float(np.linalg.norm(x)) or 1.0
            pair |= {"tensor_class": kind, "n_weights": len(x), "correlation": correlation(x, y)}
            yield pair | {"distance": float(np.linalg.norm(y - x)) / size}


def segments(curves: pd.DataFrame, continuity: pd.DataFrame) -> "pd.Series[int]":
    """Return the segment of every row: the number of breaks in its run up to its checkpoint.

    Parameters
    ----------
    curves : pandas.DataFrame
        Table with the columns suite, run and step.
    continuity : pandas.DataFrame
        `schemas.CONTINUITY`.

    Returns
    -------
    pandas.Series of int
        The segment of every row, with the same index as `curves`.
    """
    segment = pd.Series(0, index=curves.index)
    breaks = continuity[(continuity.flag == "break") & continuity.step.notna()]
    for row in breaks.drop_duplicates(["suite", "run", "revision"]).itertuples():
        behind = (curves.suite == row.suite) & (curves.run == row.run) & (curves.step >= row.step)
        segment += behind.fillna(False).astype(int)
    return segment
