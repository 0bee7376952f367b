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

import pandas as pd

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
    geometry: pd.DataFrame, replicates: pd.DataFrame, losses: pd.DataFrame
) -> dict[str, pd.DataFrame]:
    """Every curve of a sweep.

    Parameters
    ----------
    geometry, replicates, losses : pandas.DataFrame
        `tables.GEOMETRY`, `tables.REPLICATES` and `tables.LOSSES`.

    Returns
    -------
    dict of pandas.DataFrame
        Under those names, as their contracts in `tables` have them.
    """
    single = bands.over_documents(bands.with_names(geometry), replicates)
    middles = trajectories.middles(single, replicates)
    stacks = stack(single, replicates)
    over_depth = profiles.profiles(single)
    return {
        "profiles": over_depth,
        "trajectories": trajectories.trajectories(single, replicates, losses, middles),
        "phases": phases.phases(middles),
        "shapes": shapes.shapes(stacks),
        "distances": distances.distances(stacks),
        "comparison": comparison.comparison(over_depth),
    }
