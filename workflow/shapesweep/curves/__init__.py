"""The curves: all checkpoints over depth and over training, with their uncertainty.

Takes in the joined tables; hands on what the figures draw, one file a table:

- `profiles`: every number over depth;
- `trajectories`: every number over training, of a layer and of the middle of the model;
- `phases`: does a trajectory rise and fall again?
- `shapes`: is a profile a dome, a box, flat, or something else?
- `distances`: how far is a profile from the run's last one, and from its family's mean?
- `comparison`: are the authors' numbers ours?

Averages and differences get their errors from the replicates, which belong together: the same
groups of documents were left out everywhere.
"""

from collections.abc import Callable

import pandas as pd

from shapesweep import contracts
from shapesweep.curves import (
    bands,
    comparison,
    distances,
    phases,
    profiles,
    shapes,
    trajectories,
)
from shapesweep.curves.stacks import stack


def build(
    geometry: pd.DataFrame,
    replicates: Callable[[str, str], pd.DataFrame],
    losses: pd.DataFrame,
) -> dict[str, pd.DataFrame]:
    """Every curve of a sweep.

    Parameters
    ----------
    geometry, losses : pandas.DataFrame
        `contracts.GEOMETRY` and `contracts.LOSSES`.
    replicates : callable
        From a suite and a run to its rows of `contracts.REPLICATES`: they are sixteen times as
        many, and one run's are in memory at a time.

    Returns
    -------
    dict of pandas.DataFrame
        Under those names, as their contracts in `tables` have them.
    """
    n_groups, runs, middle_of, stacks = [], [], [], []
    for run, mine in bands.with_names(geometry).groupby(["suite", "run"], sort=False):
        theirs = replicates(*run)
        n_groups.append(bands.groups(theirs))
        runs.append(bands.over_documents(mine, n_groups[-1]))
        middle_of.append(trajectories.middles(runs[-1], theirs))
        stacks += stack(runs[-1], theirs)
    single = bands.joined(runs, [*contracts.GEOMETRY.names, *bands.ADDED])
    middles = bands.joined(middle_of, [*contracts.TRAJECTORIES.names, "replicates"])
    counted = bands.joined(n_groups, ["suite", "run", "corpus", "n_groups"])
    over_depth = profiles.profiles(single)
    return {
        "profiles": over_depth,
        "trajectories": trajectories.trajectories(single, counted, losses, middles),
        "phases": phases.phases(middles),
        "shapes": shapes.shapes(stacks),
        "distances": distances.distances(stacks),
        "comparison": comparison.comparison(over_depth),
    }
