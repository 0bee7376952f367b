"""Find neighbouring checkpoints whose weights are unrelated, although the run changes slowly.

Weights that move far are not correlated with the weights from which they started. Therefore, a
correlation near 0 shows nothing by itself. It is compared with the correlation that is expected
from the movement of the weights between other checkpoints of the run, and from the other runs.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from shapesweep.curves.weights import Sample, correlation, is_alike, is_constant, movement, norm

# The limits were chosen from 46 trainings of small models: Llama, GPT-NeoX and GPT-2, with learning
# rates of 1e-3 to 1, weight decays of 0 to 5, and 14 grids of steps. Two trainings with different
# initial weights have correlations of -0.29 to 0.16 in heads and embeddings, and of at most 0.08 in
# other matrices.

#: A correlation of n weights is near 0 if it is below the larger of these two limits: `NEAR`, and
#: `ERRORS` / sqrt(n). The standard error of the correlation of n unrelated weights is 1 / sqrt(n).
NEAR = 0.1
ERRORS = 4.0
#: How much larger the first steps of a training can be than the later steps; see `_movement`. With
#: this limit, no checkpoint of the trainings is flagged. If all movements were underestimated by a
#: factor of 2.5 (from the initialization) or 5 (later), the first checkpoints would be flagged.
START = 2.0
#: Another run is compared only if the logarithm of the correlation of this run's nearest related
#: pair is at most `SPEED` times that of the other run. In suites with several learning rates, a
#: correlation near 0 can be right for a run whose weights change faster.
SPEED = 2.0
#: Another run is compared only if the norms of its weights differ at most by this factor. If a run
#: starts with smaller weights, its correlation with the initialization falls faster.
NORM = 1.5
#: The logarithm of a correlation may be this factor larger than in other runs of the suite. The
#: trainings of two seeds differ by less.
PEERS = 1.25
#: Limits for correlations in logarithms: the smallest correlation, and the distance from 1 that
#: rounding to float16 causes.
SMALLEST, ROUNDING = 1e-3, 1e-6


@dataclass(frozen=True)
class Run:
    """Samples of the weights of a run's checkpoints, in the order of steps.

    Attributes
    ----------
    samples : sequence of dict of ndarray
    steps : sequence of int
    names : sequence of str
        Names of the checkpoints in flags.
    """

    samples: Sequence[Sample]
    steps: Sequence[int]
    names: Sequence[str] = ()

    def part(self, indices: Sequence[int]) -> "Run":
        """Return the run with only these checkpoints."""
        chosen = [self.samples[k] for k in indices], [self.steps[k] for k in indices]
        return Run(*chosen, [self.names[k] for k in indices] if self.names else ())


def unrelated(run: Run, peers: Sequence[Run] = ()) -> set[int]:
    """Return each index k for which checkpoints k and k + 1 have unrelated weights.

    The weights of two neighbours are unrelated if, in at least half of the classes of matrices,
    their correlation is near 0 and the expected correlation is at least twice the limit for this.
    A class is ignored if all its weights are equal at either checkpoint. Several classes are
    compared because embeddings and heads of unrelated models can be correlated, and because weights
    of different classes move at different speeds.

    The expected correlation is the larger of two values:

    - If the weights move by at most A times the smaller of their two norms, the correlation is at
      least 1 - A² / 2. A follows from the movement between the nearest other neighbours of the run.
    - If at least two other runs change about as fast and have checkpoints at the same steps, the
      (lower) median of their correlations is expected, with an allowance for faster changes.

    If no neighbours of the run are related, as in a run of two unrelated checkpoints, it is not
    known how fast the run changes, and the result is empty.

    Parameters
    ----------
    run : Run
        All samples must have the same classes and sizes.
    peers : sequence of Run
        Other runs of the suite. Samples with other classes or sizes are ignored.

    Returns
    -------
    set of int
    """
    pairs = range(len(run.samples) - 1)
    distant = [k for k in pairs if _share(_near_zero(run, k, kind) for kind in _kinds(run, k))]
    if not distant:
        return set()
    moving = [k for k in pairs if k not in distant and not _is_repeated(run, k)]
    alike = [_like(peer, run) for peer in peers]
    found = set()
    for k in distant:
        near = [*[j for j in moving if j < k][-1:], *[j for j in moving if j > k][:1]]
        votes = (
            _near_zero(run, k, kind)
            and _expected(run, k, near, kind, alike) > 2 * _limit(run, kind)
            for kind in _kinds(run, k)
        )
        if _share(votes):
            found.add(k)
    return found


def _like(peer: Run, run: Run) -> Run:
    """Return a run with only the checkpoints that can be compared with the checkpoints of `run`."""
    return peer.part(
        [k for k, sample in enumerate(peer.samples) if is_alike(sample, run.samples[0])]
    )


def _kinds(run: Run, k: int) -> list[str]:
    """Return the classes of matrices that are not constant at checkpoints k and k + 1."""
    a, b = run.samples[k : k + 2]
    return [kind for kind in a if not is_constant(a[kind]) and not is_constant(b[kind])]


def _is_repeated(run: Run, k: int) -> bool:
    """Return whether checkpoints k and k + 1 are equal, so that they show no movement."""
    a, b = run.samples[k : k + 2]
    return all(np.array_equal(a[kind], b[kind]) for kind in a)


def _share(votes: Iterable[bool]) -> bool:
    """Return whether at least half of the votes, and at least one vote, are true."""
    counted = list(votes)
    return sum(counted) >= max(1.0, len(counted) / 2)


def _limit(run: Run, kind: str) -> float:
    return max(NEAR, ERRORS / math.sqrt(len(run.samples[0][kind])))


def _correlation(run: Run, k: int, kind: str) -> float:
    return correlation(run.samples[k][kind], run.samples[k + 1][kind])


def _near_zero(run: Run, k: int, kind: str) -> bool:
    return _correlation(run, k, kind) < _limit(run, kind)


def _expected(run: Run, k: int, near: Sequence[int], kind: str, peers: Sequence[Run]) -> float:
    """Return the smallest correlation that the other pairs and the other runs permit."""
    moved = _movement(run, k, near, kind)
    return max(1.0 - moved**2 / 2, _of_peers(run, k, near, kind, peers))


def _movement(run: Run, k: int, near: Sequence[int], kind: str) -> float:
    """Return how far the weights can move between two checkpoints, as a fraction of their norm.

    Steps in random directions move the weights in proportion to the square root of the number of
    steps, and steps in the same direction in proportion to this number. Many steps have the same
    direction only at the beginning of training. From the initialization, the limit is therefore
    proportional to the number of steps, and `START` permits larger first steps. From a later step
    s, it is proportional to the square root, unless the weights are compared over more than s
    steps.
    """
    start, gap = run.steps[k], _gap(run, k)
    straight = START * math.sqrt(gap) if start <= 0 else math.sqrt(max(1.0, gap / start))
    moved = [
        math.sqrt(gap / _gap(run, j)) * movement(run.samples[j][kind], run.samples[j + 1][kind])
        for j in near
    ]
    return straight * max(moved, default=np.inf)


def _gap(run: Run, k: int) -> int:
    return max(1, run.steps[k + 1] - run.steps[k])


def _of_peers(run: Run, k: int, near: Sequence[int], kind: str, peers: Sequence[Run]) -> float:
    """Return the correlation that other runs show between the same steps; 0 if it is unknown."""
    expected = []
    for peer in peers:
        pair = _same_steps(peer, run, k)
        others = [(j, both) for j in near if (both := _same_steps(peer, run, j))]
        if not pair or not others or not _has_norms(pair, run.part([k, k + 1]), kind):
            continue
        speed = max(
            _decay(_correlation(run, j, kind)) / _decay(_correlation(both, 0, kind))
            for j, both in others
        )
        if speed <= SPEED:
            value = _correlation(pair, 0, kind)
            is_related = value > _limit(run, kind)
            expected.append(value ** (PEERS * max(1.0, speed)) if is_related else 0.0)
    return sorted(expected)[(len(expected) - 1) // 2] if len(expected) > 1 else 0.0


def _same_steps(peer: Run, run: Run, k: int) -> Run | None:
    """Return another run's checkpoints at the steps of checkpoints k and k + 1, if both exist."""
    steps = run.steps[k : k + 2]
    if not all(step in peer.steps for step in steps):
        return None
    return peer.part([peer.steps.index(step) for step in steps])


def _has_norms(peer: Run, run: Run, kind: str) -> bool:
    """Return whether the norms of two runs' weights are similar at all checkpoints."""
    pairs = zip(peer.samples, run.samples, strict=True)
    norms = [(norm(a[kind]), norm(b[kind])) for a, b in pairs]
    return all(max(both) <= NORM * min(both) for both in norms)


def _decay(value: float) -> float:
    """Return the negative logarithm of a correlation, which is proportional to the steps."""
    return -math.log(min(max(value, SMALLEST), 1.0 - ROUNDING))
