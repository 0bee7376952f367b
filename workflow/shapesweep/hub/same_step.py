"""Flag checkpoints whose names give the same step, although they belong to the same run.

The check only adds flags. The manifest decides which flags exclude a checkpoint.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from shapesweep.hub.revisions import Listed
from shapesweep.hub.shared_files import names


def flag_same_step(found: Sequence[Listed]) -> list[Listed]:
    """Add a flag to the `status` of checkpoints that have the same step as another one of the run.

    The names do not show which of the checkpoints belongs to the step, so each of them gets the
    flag `same_step_as:<revision>`.

    Parameters
    ----------
    found : sequence of Listed

    Returns
    -------
    list of Listed
        The checkpoints, in the order of `found`.
    """
    by_step: dict[tuple[str, int], list[Listed]] = defaultdict(list)
    for checkpoint in found:
        if checkpoint.revision and checkpoint.step is not None:
            by_step[checkpoint.run, checkpoint.step].append(checkpoint)
    flags = {
        checkpoint.key: f"same_step_as:{names(checkpoint, [c for c in same if c != checkpoint])}"
        for same in by_step.values()
        for checkpoint in same
        if len(same) > 1
    }
    return [
        replace(checkpoint, status=(*checkpoint.status, flags[checkpoint.key]))
        if checkpoint.key in flags
        else checkpoint
        for checkpoint in found
    ]
