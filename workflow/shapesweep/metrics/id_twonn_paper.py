"""TwoNN as in the published code of the paper."""

from shapesweep.estimators import dimension
from shapesweep.metrics import NeighborMetric

METRIC = NeighborMetric(
    k=(2,),
    compute=lambda neighbors: dimension.id_twonn_paper(neighbors.distances),
    definition="TwoNN with only the lowest 20 % of the ratios fitted",
    source="the published code of Razzhigaev et al. 2024",
    it_is_not="the same number as `id_twonn` if the ratios do not follow TwoNN's law",
)
