"""Intrinsic dimension from the distances to the twenty nearest neighbours."""

from shapesweep.estimators import dimension
from shapesweep.metrics import NeighborMetric

METRIC = NeighborMetric(
    k=(20,),
    adjustable=True,
    compute=lambda neighbors: neighbors.estimate(dimension.id_mle, neighbors.k),
    definition="harmonic mean, over all points, of the local estimate (k - 1)/Σ log(r_k/r_j); "
    "r_j is the distance to the j-th neighbour",
    source="Levina and Bickel 2004; averaged as in MacKay and Ghahramani 2005",
    it_is_not="an estimate at the scale of `id_twonn`: twenty neighbours reach farther than two",
)
