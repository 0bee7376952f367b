"""Continuity: do the weights of a run's checkpoints change gradually, as in one training run?"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from shapesweep.curves.unrelated import Run, unrelated
from shapesweep.curves.weights import Sample, correlation, distance
from shapesweep.storage.manifests import Checkpoint

#: The checkpoints of a run in the order of steps, each with a sample of its weights.
Members = Sequence[tuple[Checkpoint, Sample]]

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


def continuity(
    samples: Sequence[Sample], steps: Sequence[int | None], peers: Sequence[Run] = ()
) -> dict[int, str]:
    """Find checkpoints of a run that do not continue the training of earlier checkpoints.

    - `discontinuous`: the checkpoint is far from both neighbours, which are close to each other, or
      it is unrelated to all its neighbours (see `unrelated.unrelated`). The first and the last
      checkpoint have only one neighbour. The weights belong to another training run. If no
      checkpoints of the run are related, none is discontinuous, because it is not known which of
      them belong to the run.
    - `out_of_order`: the labels of two checkpoints are swapped; both checkpoints are flagged.
    - `break`: the checkpoint is far from the previous checkpoint, but close to later checkpoints,
      or it is unrelated to the previous checkpoint. Training was restarted, and the labels of the
      new run continue the labels of the old run. If the weights before and after the break are
      related, the break is detected if training went back by at least two checkpoints, and if
      there are at least two checkpoints on each side.

    Parameters
    ----------
    samples : sequence of dict of ndarray
        One sample per checkpoint, in the order of steps; all samples are taken at the same
        positions. Samples whose sizes differ from the most common sizes are ignored.
    steps : sequence of int or None
        Steps from the labels. A wider gap between two steps permits a larger distance between the
        weights of these checkpoints.
    peers : sequence of Run
        The other runs of the suite.

    Returns
    -------
    dict of str
        Flags of checkpoints, by their index in `samples`.
    """
    run = Run(samples, [step or 0 for step in steps])
    sizes = [tuple((kind, len(values)) for kind, values in sample.items()) for sample in samples]
    usual = max(sizes, key=sizes.count, default=())
    found: dict[int, str] = {}
    known = [k for k, size in enumerate(sizes) if size == usual]
    for find in (_out_of_line, _swapped):
        found |= find(samples, known)
        known = [k for k in known if k not in found]
    apart = unrelated(run.part(known), peers)
    pairs = range(len(known) - 1)
    for k, index in enumerate(known):
        beside = {k - 1, k}.intersection(pairs)
        if beside and beside <= apart:
            found[index] = "discontinuous"
    known = [k for k in known if k not in found]
    apart = unrelated(run.part(known), peers)
    return found | dict.fromkeys((known[k + 1] for k in {*_restarts(run, known), *apart}), "break")


def _out_of_line(samples: Sequence[Sample], known: Sequence[int]) -> dict[int, str]:
    found: dict[int, str] = {}
    for index, (before, middle, after) in enumerate(zip(known, known[1:], known[2:], strict=False)):
        between = max(distance(samples[before], samples[after]), ROUNDING)
        apart = [distance(samples[k], samples[middle]) for k in (before, after)]
        # If `middle` is closer to `last` than `before` is, the labels of `before` and `middle` are
        # swapped.
        last = samples[known[index - 1]] if index else None
        early = last and distance(last, samples[middle]) < distance(last, samples[before])
        if min(apart) > OUT_OF_LINE * between and not early:
            found[middle] = "discontinuous"
    return found


def _swapped(samples: Sequence[Sample], known: Sequence[int]) -> dict[int, str]:
    found: dict[int, str] = {}
    for before, middle, after in zip(known, known[1:], known[2:], strict=False):
        farther = max(distance(samples[before], samples[after]), ROUNDING)
        if distance(samples[middle], samples[after]) > OUT_OF_ORDER * farther:
            found |= {before: "out_of_order", middle: "out_of_order"}
    return found


def _restarts(run: Run, known: Sequence[int]) -> Iterator[int]:
    """Yield each k for which training was restarted between checkpoints known[k] and known[k + 1].

    A restart is found only if there are neighbours on both sides.
    """
    ways = [distance(run.samples[a], run.samples[b]) for a, b in itertools.pairwise(known)]
    gaps = [run.steps[b] - run.steps[a] for a, b in itertools.pairwise(known)]
    for k in range(1, len(ways) - 1):
        # Skip a distance that spans a flagged checkpoint, because its ends are not neighbours.
        beside = known[k + 1] == known[k] + 1
        # At the beginning of training, successive steps have similar directions.
        straight = max(1.0, gaps[k] / max(run.steps[known[k]], 1))
        wider = straight * max(1.0, gaps[k] / max(gaps[k - 1], gaps[k + 1], 1))
        if beside and ways[k] > BROKEN * wider * max(ways[k - 1], ways[k + 1], ROUNDING):
            yield k


def between_neighbours(
    members: Members, others: Sequence[Members] = ()
) -> Iterator[dict[str, Any]]:
    """Compare the weights of a run's neighbouring checkpoints.

    Parameters
    ----------
    members : sequence of (Checkpoint, dict of ndarray)
        The checkpoints of a run in the order of steps, each with a sample of its weights.
    others : sequence
        The checkpoints of the other runs of the suite, in the same form.

    Yields
    ------
    dict
        A row of `schemas.CONTINUITY` for each pair of neighbours and each `tensor_class`.
    """
    samples, steps = [sample for _, sample in members], [member.step for member, _ in members]
    flags = continuity(samples, steps, [_as_run(other) for other in others])
    for k, ((before, a), (after, b)) in enumerate(itertools.pairwise(members), start=1):
        pair: dict[str, Any] = {"suite": after.suite, "run": after.run, "step": after.step}
        pair |= {"previous": before.revision, "revision": after.revision, "flag": flags.get(k, "")}
        if k == 1 and 0 in flags:
            # The first checkpoint has no previous neighbour, so its flag needs a separate row.
            first = {"previous": None, "revision": before.revision, "step": before.step}
            yield {**pair, **first, "flag": flags[0]}
        for kind in (kind for kind in a if kind in b and len(a[kind]) == len(b[kind])):
            x, y = a[kind].astype(float), b[kind].astype(float)
            size = float(np.linalg.norm(x)) or 1.0
            pair |= {"tensor_class": kind, "n_weights": len(x), "correlation": correlation(x, y)}
            yield pair | {"distance": float(np.linalg.norm(y - x)) / size}


def _as_run(members: Members) -> Run:
    return Run([sample for _, sample in members], [member.step or 0 for member, _ in members])


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
