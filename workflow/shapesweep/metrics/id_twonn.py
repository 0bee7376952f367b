"""Intrinsic dimension from the two nearest neighbours of each of N, N/2 or N/4 points."""

from dataclasses import replace

from shapesweep.estimators import dimension
from shapesweep.metrics import NeighborMetric

PARTS = {"half": 2, "quarter": 4}

ALL = NeighborMetric(
    k=(2,),
    compute=lambda neighbors: neighbors.estimate(dimension.id_twonn, 2),
    sensitivity=True,
    definition="TwoNN: slope of -log(1 - F) against log(r₂/r₁), where F is the empirical "
    "distribution function of the ratios r₂/r₁; the largest 10 % of the ratios are not fitted",
    source="Facco et al. 2017",
    it_is_not="the dimension at every scale: it is an estimate from N points at the scale `radius`",
)


def _part(name: str, fraction: int) -> NeighborMetric:
    return replace(
        ALL,
        sensitivity=False,
        fraction=fraction,
        definition=f"`id_twonn` of the first {name} of the N points",
        source="the decimation of Facco et al. 2017",
        it_is_not="a different quantity: it estimates the same dimension from fewer points. If "
        "it differs from `id_twonn`, neither number is the dimension of the manifold",
    )


METRIC = {"id_twonn": ALL} | {
    f"id_twonn_{name}": _part(name, fraction) for name, fraction in PARTS.items()
}
