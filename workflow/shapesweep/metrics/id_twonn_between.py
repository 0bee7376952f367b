"""Intrinsic dimension of the cloud of documents: the control that the paper lacks."""

from shapesweep.estimators import dimension
from shapesweep.metrics import NeighborMetric

METRIC = NeighborMetric(
    version=1,
    k=2,
    between=True,
    compute=lambda neighbors: dimension.id_twonn(neighbors.distances),
    definition="`id_twonn` with neighbours of the same document excluded",
    source="Facco et al. 2017; the exclusion is ours",
    it_is_not="a correction of `id_twonn`: it is another question, asked of the cloud of documents",
)
