"""TwoNN by maximum likelihood."""

from shapesweep.estimators import dimension
from shapesweep.metrics import NeighborMetric

METRIC = NeighborMetric(
    k=(2,),
    compute=lambda neighbors: dimension.id_twonn_mle(neighbors.distances),
    definition="(N - 1)/Σ log(r₂/r₁)",
    source="Denti et al. 2022",
    it_is_not="robust: ratios that violate the assumptions of TwoNN have full weight",
)
