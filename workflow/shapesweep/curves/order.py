"""Order: do the weights of a run's checkpoints have the order of their steps?

During training, the weights move away from earlier weights. Of three checkpoints in the order of
steps, the first and the third are therefore the farthest from each other. All functions use the
distances between all checkpoints of a run (`weights.distances`) and return flags by the positions
of the checkpoints in the run.
"""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from shapesweep.curves.unrelated import NEAR, Run
from shapesweep.curves.weights import is_same

#: Distances between all checkpoints of a run.
Distances = NDArray[np.float64]

#: A checkpoint is discontinuous if its distance (1 - correlation) from both neighbours exceeds this
#: factor times the distance between these neighbours. The distance from a neighbour, divided by the
#: distance between the neighbours, is 1/2 for a random walk, less than 1/2 for steps in one
#: direction, and ten or more for weights of another training run.
OUT_OF_LINE = 2.0

#: The labels of the checkpoints B and C between A and D are swapped if C is nearer to A than B is,
#: B is nearer to D than C is, and d(A, B) + d(C, D) exceeds this factor times d(A, C) + d(B, D).
#: A random walk with equal steps has a ratio of 2 for swapped labels, and of 1/2 for right labels.
#: If the weights only fluctuate, the ratio is 1, because the sizes of the fluctuations cancel.
SWAPPED = 1.1

#: At an end, the labels of B and C are swapped if B is between C and E, and d(C, E) exceeds this
#: factor times d(B, E). In 30 trainings, some of which fluctuate with a learning rate and a weight
#: decay far above those of published models, right labels have a ratio of at most 1.1.
SWAPPED_END = 1.25
#: Limit of `_ahead` for a checkpoint that is between two others. The result is 0 for a random walk,
#: more for steps in one direction, and -1 for a checkpoint in the middle that belongs to another
#: run.
HALFWAY = -0.5

#: There is a break between two neighbours if their distance exceeds this factor times the larger of
#: the two adjacent distances. The distance at a break is 2.2 to 3.8 times the larger adjacent
#: distance if training went back by two checkpoints, and at least 6 times for weights of another
#: run. Warm-up, decay, or a doubled gap between labels raises a distance to at most 1.4 times the
#: larger adjacent distance.
BROKEN = 2.0

#: There is a break only if `_moved_back` exceeds this limit. In 22 trainings with AdamW (constant
#: and falling learning rates, warm restarts, sudden rises), and on 18 grids of steps, it is at most
#: 0.01 where distances are far; in 3 trainings with SGD and a rate at which they are hardly stable,
#: it is at most 0.25. In planted restarts, the median is 0.65, and 95 % exceed the limit.
MOVED_BACK = 0.3

#: Checkpoints with a larger distance cannot have equal weights. Rounding to bfloat16 causes a
#: distance of about 1e-6.
EQUAL = 1e-4

#: The neighbour of a checkpoint is at most this factor farther than the nearest checkpoint.
NEAREST = 1.2

#: Distance caused by rounding to float16.
ROUNDING = 1e-6


def repeated(run: Run, distances: Distances, known: Sequence[int]) -> dict[int, str]:
    """Find checkpoints with the weights of another checkpoint of the run.

    The flag `same_weights_as:<name>` is given to the checkpoints whose neighbours show that the
    weights do not belong to their steps. If the neighbours do not show this, all equal checkpoints
    have the flag. There are two exceptions. At the beginning of a run, checkpoints may be equal,
    because the learning rate of the first step is often 0. If a run ends with equal checkpoints,
    the first of them has no flag.

    Parameters
    ----------
    run : Run
    distances : ndarray of float64
        Distances between all checkpoints of the run.
    known : sequence of int
        Positions of the checkpoints to compare.

    Returns
    -------
    dict of str
        Flags by position.
    """
    found: dict[int, str] = {}
    for group in _equal(run, distances, known):
        right = _right(distances, known, group)
        for position in (k for k in group if k not in right):
            other = next(k for k in (*right, *group) if k != position)
            found[position] = f"same_weights_as:{run.names[other]}"
    return found


def _equal(run: Run, distances: Distances, known: Sequence[int]) -> Iterator[list[int]]:
    """Yield groups of at least two checkpoints with equal weights."""
    left = list(known)
    while left:
        first, *others = left
        near = [k for k in others if distances[first, k] <= EQUAL]
        group = [first, *(k for k in near if is_same(run.samples[first], run.samples[k]))]
        left = [k for k in others if k not in group]
        if len(group) > 1:
            yield group


def _right(distances: Distances, known: Sequence[int], group: Sequence[int]) -> list[int]:
    """Return the checkpoints of a group with equal weights to whose steps the weights belong."""
    blocks = _successive(known, group)
    if len(blocks) > 1:
        blocks = [block for block in blocks if _fits(distances, known, group, block)]
    if len(blocks) != 1:
        return []
    (block,) = blocks
    if known[0] in block:
        return block
    return block[:1] if len(block) == 1 or known[-1] in block else []


def _successive(known: Sequence[int], group: Sequence[int]) -> list[list[int]]:
    """Split a group of checkpoints into blocks of successive checkpoints."""
    blocks = itertools.groupby(known, group.__contains__)
    return [list(block) for of_group, block in blocks if of_group]


def _fits(
    distances: Distances, known: Sequence[int], group: Sequence[int], block: Sequence[int]
) -> bool:
    """Return whether the weights are in order if only this block of the group has them."""
    position = block[0]
    left = [k for k in known if k == position or k not in group]
    if position in swapped(distances, left):
        return False
    index = left.index(position)
    beside = left[max(index - 1, 0) : index] + left[index + 1 : index + 2]
    to_others = distances[position, [k for k in left if k != position]]
    return bool(distances[position, beside].min() <= NEAREST * to_others.min())


def swapped(distances: Distances, known: Sequence[int]) -> dict[int, str]:
    """Find pairs of successive checkpoints with swapped labels; both have the flag `out_of_order`.

    Parameters
    ----------
    distances : ndarray of float64
        Distances between all checkpoints of the run.
    known : sequence of int
        Positions of the checkpoints to compare.

    Returns
    -------
    dict of str
        Flags by position.
    """
    # Weights that do not move have no order.
    d = np.maximum(distances, ROUNDING)
    found = set()
    for a, b, c, e in zip(known, known[1:], known[2:], known[3:], strict=False):
        is_between = d[a, b] > d[a, c] and d[c, e] > d[b, e]
        if is_between and d[a, b] + d[c, e] > SWAPPED * (d[a, c] + d[b, e]):
            found |= {b, c}
    known = [k for k in known if k not in found]
    if len(known) > 2 and _is_nearer(d, *known[:3]):
        found |= {*known[:2]}
    if len(known) > 2 and _is_nearer(d, *known[:-4:-1]):
        found |= {*known[-2:]}
    return dict.fromkeys(found, "out_of_order")


def _is_nearer(d: Distances, b: int, c: int, e: int) -> bool:
    """Return whether `b`, which is at an end of a run, lies between its neighbours `c` and `e`."""
    # If `c` is unrelated to `b`, or no nearer to `b` than to `e`, it belongs to another run.
    is_between = d[b, c] < 1 - NEAR and _ahead(d, e, b, c) > HALFWAY
    return bool(is_between and d[c, e] > SWAPPED_END * d[b, e])


def out_of_line(distances: Distances, known: Sequence[int]) -> dict[int, str]:
    """Find checkpoints that are far from both neighbours; they have the flag `discontinuous`.

    Parameters
    ----------
    distances : ndarray of float64
        Distances between all checkpoints of the run.
    known : sequence of int
        Positions of the checkpoints to compare.

    Returns
    -------
    dict of str
        Flags by position.
    """
    found = {}
    for a, b, c in zip(known, known[1:], known[2:], strict=False):
        between = max(distances[a, c], ROUNDING)
        if min(distances[a, b], distances[b, c]) > OUT_OF_LINE * between:
            found[b] = "discontinuous"
    return found


def restarted(run: Run, distances: Distances, known: Sequence[int]) -> list[int]:
    """Return each index k for which training was restarted between known[k] and known[k + 1].

    A restart is found only if there are neighbours on both sides.

    Parameters
    ----------
    run : Run
    distances : ndarray of float64
        Distances between all checkpoints of the run.
    known : sequence of int
        Positions of the checkpoints to compare.

    Returns
    -------
    list of int
    """
    ways = [float(distances[a, b]) for a, b in itertools.pairwise(known)]
    gaps = [run.steps[b] - run.steps[a] for a, b in itertools.pairwise(known)]
    found = []
    for k in range(1, len(ways) - 1):
        # At the beginning of training, successive steps have similar directions.
        straight = max(1.0, gaps[k] / max(run.steps[known[k]], 1))
        wider = straight * max(1.0, gaps[k] / max(gaps[k - 1], gaps[k + 1], 1))
        is_far = ways[k] > BROKEN * wider * max(ways[k - 1], ways[k + 1], ROUNDING)
        # A distance that spans a flagged checkpoint is skipped, because its ends are no neighbours.
        is_pair = known[k + 1] == known[k] + 1
        if is_far and is_pair and _moved_back(distances, *known[k - 1 : k + 3]) > MOVED_BACK:
            found.append(k)
    return found


def _moved_back(distances: Distances, a: int, b: int, c: int, d: int) -> float:
    """Return how far the weights moved back between b and c, as a fraction of the way from a to b.

    The way from a to b consists of a part in the direction of training, and of a random part. If
    training continues from b, the random part is kept. Then c is, in the direction from a to b, at
    least as far ahead of b as d is ahead of c, and the result is 0 or less. If training was
    restarted from a or from an earlier checkpoint, the random part is lost, and the result is its
    share, which is at most 1.
    """
    to_c, to_d = (_ahead(distances, a, b, k) for k in (c, d))
    return (to_d - 2 * to_c) / 2


def _ahead(distances: Distances, a: int, b: int, k: int) -> float:
    """Return how far the weights k are ahead of b in the direction from a to b.

    The unit is half of the way from a to b. For random directions, the correlation of a and k is
    the product of the correlations of a and b, and of b and k; then the result is 0.
    """
    to_b, to_a = 1 - distances[b, k], 1 - distances[a, k]
    return float((to_b - to_a) / max(to_b * distances[a, b], ROUNDING)) - 1
