"""Flag checkpoints that share a weight file with another checkpoint, although they should not.

The check only adds flags. The manifest decides which flags exclude a checkpoint.
"""

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

from shapesweep.hub.files import is_weights
from shapesweep.hub.revisions import Listed


def flag_shared(found: Sequence[Listed]) -> list[Listed]:
    """Add a flag to the `status` of checkpoints that share a weight file (one with equal sha256).

    If checkpoints share a file, it is not known which of them is wrong, so each of them gets the
    flag `shares_file_with:<revision>`. Two pairs of checkpoints may share files and get no flag:
    `main` and the last step of a run, and steps 0 and 1 (a first step with learning rate 0 changes
    no weights). Several runs may also start from the same weights, or from the last weights of an
    earlier run.

    If `main` and the last step are equal in all files of weights, they confirm each other. If other
    checkpoints share a file with them, only these other checkpoints get the flag. Two pairs of this
    kind that share a file contradict each other, so all their checkpoints get the flag.

    Parameters
    ----------
    found : sequence of Listed

    Returns
    -------
    list of Listed
        The checkpoints, in the order of `found`.
    """
    groups: dict[str, set[int]] = defaultdict(set)
    for k, checkpoint in enumerate(found):
        for file in checkpoint.files:
            if is_weights(file):
                groups[file.sha256 or file.blob].add(k)
    last: dict[str, int] = {}
    for checkpoint in found:
        if checkpoint.revision and checkpoint.step is not None:
            last[checkpoint.run] = max(checkpoint.step, last.get(checkpoint.run, 0))
    partners: dict[int, set[int]] = defaultdict(set)
    for members in groups.values():
        if not _is_benign([found[k] for k in members], last):
            for k in members - _confirmed(members, found, last):
                partners[k] |= members - {k}
    flagged = list(found)
    for k, others in partners.items():
        flag = f"shares_file_with:{names(found[k], [found[other] for other in sorted(others)])}"
        flagged[k] = replace(found[k], status=(*found[k].status, flag))
    return flagged


def _is_benign(group: Sequence[Listed], last: Mapping[str, int]) -> bool:
    if len(group) == 1 or _is_pair(group, last):
        return True
    by_run: dict[str, list[Listed]] = defaultdict(list)
    for checkpoint in group:
        by_run[checkpoint.run].append(checkpoint)
    # Several runs may start from the same weights, which may be the last weights of an earlier run.
    # Then steps 0 and 1 of every run may share a file with the last step of the earlier run.
    later = [run for run, mine in by_run.items() if not all(map(_is_start, mine))]
    whole = all(len(mine) == 1 or _is_pair(mine, last) for mine in by_run.values())
    known = all(_is_start(checkpoint) or _is_end(checkpoint, last) for checkpoint in group)
    return len(by_run) > 1 and len(later) <= 1 and whole and known


def _is_pair(group: Sequence[Listed], last: Mapping[str, int]) -> bool:
    if len(group) != 2:
        return False
    first, second = group
    if first.repository != second.repository:
        return False
    if first.run == second.run and {first.step, second.step} == {0, 1}:
        return True
    # `main` belongs to the whole repository. If the last phase of training is a separate run,
    # `main` and the last step belong to different runs.
    is_last = _is_end(first, last) and _is_end(second, last)
    return first.is_main != second.is_main and is_last


def _confirmed(
    members: Set[int], found: Sequence[Listed], last: Mapping[str, int]
) -> frozenset[int]:
    """Return `main` and the last step if all their files of weights are equal.

    The result is empty if no pair, or more than one pair, confirms itself.
    """
    ends = [k for k in members if _is_end(found[k], last)]
    pairs = [
        frozenset((a, b))
        for a, b in itertools.combinations(ends, 2)
        if _is_pair((found[a], found[b]), last) and _weights(found[a]) == _weights(found[b])
    ]
    return pairs[0] if len(pairs) == 1 else frozenset()


def _weights(checkpoint: Listed) -> list[str]:
    """Return the digests of the files of weights, in the order of their names."""
    files = sorted(filter(is_weights, checkpoint.files), key=lambda file: file.path)
    return [file.sha256 or file.blob for file in files]


def _is_start(checkpoint: Listed) -> bool:
    return checkpoint.step in (0, 1)


def _is_end(checkpoint: Listed, last: Mapping[str, int]) -> bool:
    return checkpoint.is_main or checkpoint.step == last.get(checkpoint.run)


def names(checkpoint: Listed, others: Sequence[Listed]) -> str:
    """Name the other checkpoints of a flag; if there are more than three, count the rest."""
    found = [
        other.revision if other.run == checkpoint.run else f"{other.run}/{other.revision}"
        for other in others
    ]
    more = [f"and {len(found) - 3} more"] if len(found) > 3 else []
    return ", ".join([*found[:3], *more])
