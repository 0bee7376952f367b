"""Integrity: what a suite's checkpoints tell against each other, by their files and their weights.

Pure functions. What is found here is a flag; which flags exclude a checkpoint is the
manifest's matter.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from shapesweep.hub.files import is_weights
from shapesweep.hub.revisions import Published


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
