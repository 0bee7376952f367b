"""TwoNN as in the code that Razzhigaev et al. 2024 published."""

from shapesweep.estimators import dimension
from shapesweep.metrics import NeighborMetric

METRIC = NeighborMetric(
    k=(2,),
    compute=lambda neighbors: neighbors.estimate(dimension.id_twonn_paper, 2),
    definition="TwoNN, fitted to only the lowest 20 % of the ratios r₂/r₁",
    source="the published code of Razzhigaev et al. 2024",
    it_is_not="always equal to `id_twonn`: the two differ if the ratios violate the assumptions of "
    "TwoNN",
)
