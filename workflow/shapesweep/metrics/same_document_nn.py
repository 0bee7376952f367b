"""Share of points whose nearest neighbour is in the same document."""

from shapesweep.metrics import NeighborMetric
from shapesweep.neighbors.sample import Neighbors


def share(neighbors: Neighbors) -> float:
    """Return the share of points whose nearest neighbour is in the same document.

    Points without a neighbour are left out.
    """
    found = neighbors.indices[:, 0] >= 0
    return float(neighbors.same_document[found, 0].mean()) if found.any() else float("nan")


METRIC = NeighborMetric(
    is_share=True,
    k=(1,),
    compute=share,
    is_dimension=False,
    controlled=False,
    of_documents=True,
    definition="share of points whose nearest neighbour is in the same document",
    source="ours",
    it_is_not="a dimension: it shows how much `id_twonn` depends on trajectories of single "
    "documents",
)
