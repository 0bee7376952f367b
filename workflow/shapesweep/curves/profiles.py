"""Compute profiles: the values of every metric over the depth of the model."""

import pandas as pd

from shapesweep.curves import intervals
from shapesweep.storage import schemas


def profiles(single: pd.DataFrame) -> pd.DataFrame:
    """Compute the table `schemas.PROFILES`: every metric over the depth of the model.

    Parameters
    ----------
    single : pandas.DataFrame
        `schemas.GEOMETRY` with the columns `intervals.ADDED`.

    Returns
    -------
    pandas.DataFrame
        `depth` is the layer divided by the number of blocks; `low` and `high` are the ends of
        a 95 % interval over documents, or over seeds.
    """
    parts = [single, intervals.over_seeds(single, ["step", "layer", "layer_kind"])]
    table = pd.concat([part for part in parts if len(part)] or parts[:1])
    table["depth"] = table.layer / table.n_layers
    return table.filter(schemas.PROFILES.names)
