"""What TwoNN reads of fewer points: how far it depends on their number."""

from shapesweep.estimators import dimension
from shapesweep.metrics import NeighborMetric

METRIC = NeighborMetric(
    version=1,
    k=(2,),
    compute=lambda neighbors: dimension.id_twonn(neighbors.distances),
    controlled=False,
    fraction=4,
    definition="`id_twonn` of the first quarter of the N points",
    source="the decimation of Facco et al. 2017",
    it_is_not="another dimension: where it differs from `id_twonn`, neither is the manifold's",
)
