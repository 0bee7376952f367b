"""Intrinsic dimension from the numbers of pairs of points within two radii."""

import numpy as np

from shapesweep.estimators import dimension
from shapesweep.estimators.arrays import Floats
from shapesweep.metrics import NeighborMetric
from shapesweep.neighbors.sample import Neighbors


def corrint(neighbors: Neighbors) -> float:
    """Return the correlation dimension, computed from the numbers of pairs within two radii.

    The radii are the median distances to the (k/2)-th and the k-th neighbour in the whole sample.
    Replicates use the radii of the whole sample.
    """
    inner, outer = (neighbors.whole or neighbors).estimate(_radii, neighbors.k)
    if not np.isfinite(outer):
        return float("nan")
    pairs = neighbors.count_within(inner), neighbors.count_within(outer)
    return dimension.id_corrint(pairs, (inner, outer))


def _radii(distances: Floats) -> tuple[float, float]:
    k = distances.shape[1]
    return float(np.median(distances[:, k // 2 - 1])), float(np.median(distances[:, k - 1]))


METRIC = NeighborMetric(
    k=(20,),
    adjustable=True,
    compute=corrint,
    definition="log(C(R₂)/C(R₁))/log(R₂/R₁), where C(R) is the number of pairs of points whose "
    "distance is below R. R₁ and R₂ are the median distances to the 10th and the 20th neighbour",
    source="Grassberger and Procaccia 1983; the radii as in scikit-dimension",
    it_is_not="a local estimate: the densest parts of the cloud dominate it, because they have the "
    "most pairs",
)
