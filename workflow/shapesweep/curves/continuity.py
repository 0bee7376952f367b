"""Continuity: do the weights of a run's checkpoints change gradually, as in one training run?"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from shapesweep.curves import order
from shapesweep.curves.unrelated import Run, unrelated
from shapesweep.curves.weights import Sample, correlation, distances
from shapesweep.storage.manifests import Checkpoint

#: The checkpoints of a run in the order of steps, each with a sample of its weights.
Members = Sequence[tuple[Checkpoint, Sample]]


def continuity(
    samples: Sequence[Sample],
    steps: Sequence[int | None],
    peers: Sequence[Run] = (),
    names: Sequence[str] = (),
) -> dict[int, str]:
    """Find checkpoints of a run that do not continue the training of earlier checkpoints.

    - `same_weights_as:<name>`: the checkpoint has the weights of another checkpoint of the run (see
      `order.repeated`).
    - `discontinuous`: the checkpoint is far from both neighbours, which are close to each other, or
      it is unrelated to all its neighbours (see `unrelated.unrelated`). The first and the last
      checkpoint have only one neighbour. The weights belong to another training run. If no
      checkpoints of the run are related, none is discontinuous, because it is not known which of
      them belong to the run.
    - `out_of_order`: the labels of two checkpoints are swapped; both checkpoints are flagged.
    - `break`: the checkpoint is far from the previous checkpoint, but close to later checkpoints,
      and its weights do not continue the movement from earlier checkpoints; or it is unrelated to
      the previous checkpoint. Training was restarted, and the labels of the new run continue the
      labels of the old run. If the weights before and after the break are related, the break is
      detected if training went back by at least two checkpoints, and if there are at least two
      checkpoints on each side.

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
    names : sequence of str
        Names of the checkpoints in flags; by default, their indices.

    Returns
    -------
    dict of str
        Flags of checkpoints, by their index in `samples`.
    """
    run = Run(samples, [step or 0 for step in steps], names or [str(k) for k in range(len(steps))])
    sizes = [tuple((kind, len(values)) for kind, values in sample.items()) for sample in samples]
    usual = max(sizes, key=sizes.count, default=())
    compared = [k for k, size in enumerate(sizes) if size == usual]
    # A checkpoint without a step may repeat the weights of another checkpoint.
    labelled = [k for k, index in enumerate(compared) if steps[index] is not None]
    found = _flags(run.part(compared), labelled, peers)
    return {compared[position]: flag for position, flag in found.items()}


def _flags(run: Run, labelled: Sequence[int], peers: Sequence[Run]) -> dict[int, str]:
    ways = distances(run.samples)
    known = list(range(len(run.samples)))
    found = order.repeated(run, ways, labelled)
    for find in (order.swapped, order.out_of_line):
        known = [k for k in known if k not in found]
        found |= find(ways, known)
    known = [k for k in known if k not in found]
    apart = unrelated(run.part(known), peers)
    pairs = range(len(known) - 1)
    for k, position in enumerate(known):
        beside = {k - 1, k}.intersection(pairs)
        if beside and beside <= apart:
            found[position] = "discontinuous"
    known = [k for k in known if k not in found]
    breaks = {*order.restarted(run, ways, known), *unrelated(run.part(known), peers)}
    return found | dict.fromkeys((known[k + 1] for k in breaks), "break")


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
    names = [member.revision or "" for member, _ in members]
    flags = continuity(samples, steps, [_as_run(other) for other in others], names)
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
