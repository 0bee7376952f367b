"""Intrinsic dimension from the two nearest neighbours."""

from shapesweep.estimators import dimension
from shapesweep.metrics import NeighborMetric

METRIC = NeighborMetric(
    version=1,
    k=(2,),
    compute=lambda neighbors: dimension.id_twonn(neighbors.distances),
    sensitivity=True,
    definition="TwoNN: slope of -log(1 - F) over log(r₂/r₁), the largest 10 % of the ratios "
    "discarded",
    source="Facco et al. 2017",
    it_is_not='"the" dimension: it is an estimate at N points and the scale `radius`',
)
