"""Quartiles of the local intrinsic dimension over points."""

from shapesweep.estimators import dimension
from shapesweep.metrics import NeighborMetric

QUARTILES = {"low": "first quartile", "median": "median", "high": "third quartile"}


def _metric(number: int, name: str) -> NeighborMetric:
    return NeighborMetric(
        k=(20,),
        adjustable=True,
        compute=lambda neighbors: neighbors.estimate(dimension.local_quartiles, neighbors.k)[
            number
        ],
        definition=f"{name}, over all points, of the local estimate (k - 1)/Σ log(r_k/r_j); "
        "r_j is the distance to the j-th neighbour",
        source="Levina and Bickel 2004, eq. 8",
        it_is_not="the dimension at a point: a local estimate from twenty neighbours has a "
        "relative error of about a quarter, so the quartiles differ on every manifold "
        "(`fit_points`)",
    )


METRIC = {
    f"id_local_{name}": _metric(number, words)
    for number, (name, words) in enumerate(QUARTILES.items())
}
