"""How far the nearest neighbours are about single documents."""

from shapesweep.metrics import NeighborMetric
from shapesweep.neighbors.sample import Neighbors


def share(neighbors: Neighbors) -> float:
    """Share of the points with a neighbour whose nearest one lies in their own document."""
    found = neighbors.indices[:, 0] >= 0
    return float(neighbors.same_document[found, 0].mean()) if found.any() else float("nan")


METRIC = NeighborMetric(
    version=1,
    is_share=True,
    k=(1,),
    compute=share,
    is_dimension=False,
    controlled=False,
    of_documents=True,
    definition="share of points whose nearest neighbour lies in their own document",
    source="ours",
    it_is_not="a dimension; it tells how far `id_twonn` is about single documents' trajectories",
)
