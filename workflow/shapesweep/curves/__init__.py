"""The curves of every metric over depth and over training, with their uncertainty.

Input: the joined tables.
Output: the tables of curves; each module in the list below computes one table.
Imported by: figures, report, cli.

- `profiles`: every metric over depth;
- `trajectories`: every metric over training, for each layer and for the middle blocks;
- `phases`: the rises and falls of every trajectory, and the verdict on the two phases of the ID;
- `shapes`: is a profile a dome, a box, flat, or something else?
- `distances`: how far is a profile from the last profile of its run, and from the mean of its
  family?
- `comparison`: do our numbers agree with the authors' numbers?

The errors of averages and differences come from paired replicates: each replicate leaves out the
same group of documents at all layers and checkpoints.
"""

from collections.abc import Callable, Sequence

import pandas as pd

from shapesweep.curves import (
    comparison,
    distances,
    intervals,
    phases,
    profiles,
    shapes,
    trajectories,
)
from shapesweep.curves.continuity import segments
from shapesweep.curves.encoder_decoders import Stacks
from shapesweep.curves.profile_stack import Stack, stack
from shapesweep.storage import schemas

#: Maximum number of checkpoints whose replicates are in memory at a time.
AT_ONCE = 8


def build(
    geometry: pd.DataFrame,
    replicates: Callable[[str, str, Sequence[str]], pd.DataFrame],
    losses: pd.DataFrame,
    continuity: pd.DataFrame,
    copies: pd.DataFrame,
    tested: phases.Tested,
) -> dict[str, pd.DataFrame]:
    """Compute every curve of a sweep.

    Parameters
    ----------
    geometry, losses, continuity, copies : pandas.DataFrame
        Tables as in `schemas`. Runs that are copies of other runs count neither as
        seeds nor as models.
    replicates : callable
        Function that takes a suite, a run and revisions, and returns rows of `schemas.REPLICATES`.
        Only the replicates of a few checkpoints are in memory at a time, because there are 16
        replicates of each number.
    tested : mapping
        The curves on which the claim of two phases is tested, as in `phases.phases`.

    Returns
    -------
    dict of pandas.DataFrame
        Tables by name, as in `schemas`.
    """
    of_stacks = Stacks(geometry)
    geometry, replicates = of_stacks.geometry(geometry), of_stacks.replicates(replicates)
    continuity = of_stacks.repeated(continuity, "run")
    copies = of_stacks.repeated(copies, "run", "of")
    n_groups, parts, middle_of, stacks = [], [], [], []
    named = intervals.with_names(geometry, copies)
    for (suite, run), mine in named.groupby(["suite", "run"], sort=False):
        found: list[Stack] = []
        revisions = list(mine.revision.unique())
        for start in range(0, len(revisions), AT_ONCE):
            some = revisions[start : start + AT_ONCE]
            theirs = replicates(suite, run, some)
            n_groups.append(intervals.groups(theirs))
            part = mine[mine.revision.isin(some)]
            parts.append(intervals.over_documents(part, n_groups[-1]))
            middle_of.append(trajectories.middles(parts[-1], theirs))
            found += stack(parts[-1], theirs)
        stacks += Stack.joined(found)
    single = intervals.joined(parts, [*schemas.GEOMETRY.names, *intervals.ADDED])
    middles = intervals.joined(middle_of, [*schemas.TRAJECTORIES.names, "is_copy", "replicates"])
    key = ["suite", "run", "corpus"]
    counted = intervals.joined(n_groups, [*key, "n_groups"]).drop_duplicates(key)
    along = {
        "profiles": profiles.profiles(single),
        "trajectories": trajectories.trajectories(single, counted, losses, middles),
        "shapes": shapes.shapes(stacks),
        "distances": distances.distances(stacks),
    }
    for name, table in along.items():
        along[name] = table.assign(segment=segments(table, continuity))
    # Phases are computed without the checkpoints after a break, because they may belong to another
    # run, and without the stages after pre-training, which the claim does not concern.
    whole = middles[(segments(middles, continuity) == 0) & middles.stage.isna()]
    return {
        **along,
        **phases.phases(whole, tested),
        "comparison": comparison.comparison(along["profiles"]),
    }
