"""Mean distance to the nearest neighbour."""

import numpy as np

from shapesweep.metrics import NeighborMetric
from shapesweep.neighbors.sample import Neighbors


def mean(neighbors: Neighbors) -> float:
    """Return the mean distance to the nearest neighbour, over all points that have a neighbour."""
    nearest = neighbors.distances[:, 0]
    nearest = nearest[np.isfinite(nearest)]
    return float(nearest.mean()) if len(nearest) else float("nan")


METRIC = NeighborMetric(
    k=(1,),
    compute=mean,
    is_dimension=False,
    definition="mean Euclidean distance to the nearest neighbour",
    source="Schulte and Rügamer 2026, who recommend it in addition to an ID",
    it_is_not="scale-free: compare it with `median_norm`",
)
