"""Copies: which runs of a suite have the weights of another run?

Two published runs that differ only by their seed may be the same training. They must not count as
two replicates.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from shapesweep.curves.weights import Sample, distance, is_alike

#: A run is a copy if the correlation of its weights with those of another run exceeds this value.
#: Three trainings of the embedded decoder from different initial weights have correlations below
#: 0.1. If the initial weights are shared, the changes of the weights are compared instead.
COPY = 0.9
#: The limit if changes of the weights cannot be compared, because two runs have a single step in
#: common, or hardly change between their common steps. Copies that are rounded to bfloat16 have
#: correlations above 0.9999; models that are fine-tuned from the same weights have lower ones.
EQUAL = 0.9999

#: The samples of a run's weights by step. The key is None if a checkpoint has no step.
Weights = Mapping[int | None, Sample]


def copies(runs: Mapping[str, Weights]) -> list[dict[str, Any]]:
    """Find runs whose weights are those of an earlier run of the same suite.

    Only matrices are compared, because gains of norms are similar in all trainings. The weights are
    compared at the last common step after step 0. Checkpoints without a step are compared only if
    the runs have no step in common.

    Parameters
    ----------
    runs : mapping of str to mapping of int to dict of ndarray
        For every run of a suite, samples of the weights by step. The samples of all runs are taken
        at the same positions.

    Returns
    -------
    list of dict
        The columns `run`, `of` (the earlier run), `step` and `correlation` of `schemas.COPIES`.
    """
    found: dict[str, dict[str, Any]] = {}
    for (one, first), (other, second) in itertools.combinations(runs.items(), 2):
        if one in found or other in found:
            continue
        common = first.keys() & second.keys()
        labelled = sorted(step for step in common if step is not None)
        steps: list[int | None] = [*labelled] or [*common]
        if not steps or steps[-1] == 0 or not is_alike(first[steps[-1]], second[steps[-1]]):
            continue
        limit, value = _compared(first, second, steps)
        if value > limit:
            found[other] = {"run": other, "of": one, "step": steps[-1], "correlation": value}
    return list(found.values())


def _compared(first: Weights, second: Weights, steps: Sequence[int | None]) -> tuple[float, float]:
    """Return the limit and the correlation of two runs at their last common step."""
    start, stop = steps[0], steps[-1]
    at_start, at_stop = (1 - distance(first[step], second[step]) for step in (start, stop))
    if start == stop or (start and min(at_start, at_stop) > EQUAL):
        return EQUAL, at_stop
    if at_start < COPY:
        return COPY, at_stop
    # The runs share their initial weights, so compare how the weights have changed since then.
    one, other = ({k: run[stop][k] - run[start][k] for k in run[stop]} for run in (first, second))
    return COPY, 1 - distance(one, other)
