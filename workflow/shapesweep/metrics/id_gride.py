"""Intrinsic dimension at several scales."""

from shapesweep.estimators import dimension
from shapesweep.estimators.arrays import Floats
from shapesweep.metrics import NeighborMetric
from shapesweep.neighbors.sample import Neighbors


def gride(neighbors: Neighbors, k: int) -> tuple[float, float]:
    """Return the estimate from the ratios r_k/r_(k/2), and its standard error.

    r_k is the distance to the k-th neighbour. With fewer than three ratios, the estimate and its
    standard error are NaN.
    """
    return neighbors.estimate(_outer_half, k)


def _outer_half(distances: Floats) -> tuple[float, float]:
    k = distances.shape[1]
    return dimension.id_gride(distances, k // 2, k)


METRIC = NeighborMetric(
    k=(2, 4, 8, 16, 32, 64),
    compute=lambda neighbors: gride(neighbors, neighbors.k)[0],
    model_stderr=lambda neighbors: gride(neighbors, neighbors.k)[1],
    definition="Gride: maximum likelihood from r_k/r_(k/2), where r_k is the distance to the k-th "
    "neighbour; one row for each k = 2, 4, …, 64",
    source="Denti et al. 2022",
    it_is_not="a single number: if it changes with k, the cloud has no scale-free dimension",
)
