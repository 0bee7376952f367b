"""Profiles: every number over depth."""

import pandas as pd

from shapesweep import tables
from shapesweep.curves import bands


def profiles(geometry: pd.DataFrame, replicates: pd.DataFrame) -> pd.DataFrame:
    """Every number over depth: `tables.PROFILES`.

    Parameters
    ----------
    geometry, replicates : pandas.DataFrame
        `tables.GEOMETRY` and `tables.REPLICATES`.

    Returns
    -------
    pandas.DataFrame
        `depth` is the layer divided by the number of blocks; low and high are the ends
        of a 95 % interval over documents, or over seeds.
    """
    single = bands.with_names(geometry)
    single = bands.over_documents(single, replicates)
    parts = [single, bands.over_seeds(single, ["step", "layer", "layer_kind"])]
    made = pd.concat([part for part in parts if len(part)] or parts[:1])
    made["depth"] = made.layer / made.n_layers
    return made[tables.PROFILES.names]
