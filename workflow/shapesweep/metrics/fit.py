"""Effect sizes: how well do the points fit the assumptions of an ID estimate?

The estimators assume that the points around each point are uniform in a ball of the same dimension.
If an effect size exceeds its limit, the IDs of the sample are flagged `poor_fit`. A statistical
test would not help: tokens are dependent, and with thousands of points even a small deviation is
significant.

The limits are set on planted clouds (`docs/explanation/controls.md`): uniform cubes, Gaussians with
equal and with decaying variances, and spheres, with 2 to 40 dimensions. At each N, at most about
one in a hundred of these clouds exceeds a limit.
"""

import numpy as np

from shapesweep.estimators import dimension
from shapesweep.metrics import NeighborMetric
from shapesweep.metrics.id_gride import gride
from shapesweep.neighbors.sample import Neighbors

#: Numbers of neighbours at which the scales are compared.
SCALES = (2, 16, 64)


def kolmogorov(neighbors: Neighbors) -> float:
    """Return the largest difference between the distribution of the ratios r₂/r₁ and its law."""
    fitted = neighbors.estimate(dimension.id_twonn, 2)
    return dimension.distance_from_law(neighbors.distances, fitted)


def across_fits(neighbors: Neighbors) -> float:
    """Return the ratio of the largest to the smallest ID of three estimators."""
    return _ratio(
        neighbors.estimate(dimension.id_twonn, 2),
        neighbors.estimate(dimension.id_twonn_paper, 2),
        neighbors.estimate(dimension.id_mle, neighbors.k),
    )


def across_scales(neighbors: Neighbors) -> float:
    """Return the ratio of the largest to the smallest of Gride's IDs at three scales."""
    return _ratio(*(gride(neighbors, k)[0] for k in SCALES))


def across_points(neighbors: Neighbors) -> float:
    """Return the ratio of the third to the first quartile of the local IDs."""
    low, _, high = neighbors.estimate(dimension.local_quartiles, neighbors.k)
    return _ratio(low, high)


def _ratio(*values: float) -> float:
    lowest = min(values)
    # The minimum of values that contain a NaN may be a number.
    return float(max(values) / lowest) if np.isfinite(values).all() and lowest > 0 else float("nan")


METRIC = {
    "fit_distance": NeighborMetric(
        k=(2,),
        is_dimension=False,
        compute=kolmogorov,
        limit=lambda n: 0.01 + 1.5 / np.sqrt(n),
        definition="Kolmogorov distance between the ratios r₂/r₁ and their law, "
        "1 - (r₂/r₁)^(-d), where d is `id_twonn`",
        source="the law: Facco et al. 2017; its use as an effect size is ours",
        it_is_not="a test: the distance does not become smaller with more points if the law does "
        "not hold",
    ),
    "fit_estimators": NeighborMetric(
        k=(20,),
        is_dimension=False,
        compute=across_fits,
        limit=lambda n: 1.15 + 10 / np.sqrt(n),
        definition="largest of `id_twonn`, `id_twonn_paper` and `id_mle`, divided by the smallest",
        source="ours",
        it_is_not="an error bar: if the estimators disagree, they measure different things",
    ),
    "fit_scales": NeighborMetric(
        k=(64,),
        is_dimension=False,
        compute=across_scales,
        limit=lambda n: 1.2 + 17 / np.sqrt(n),
        definition="largest of `id_gride` with k = 2, 16 and 64, divided by the smallest",
        source="ours",
        it_is_not="only a property of the cloud: in 40 dimensions, the estimates decrease with k "
        "on every manifold",
    ),
    "fit_points": NeighborMetric(
        k=(20,),
        is_dimension=False,
        compute=across_points,
        limit=lambda n: 1.5 + 1.5 / np.sqrt(n),
        definition="third quartile of the local IDs over points, divided by the first quartile",
        source="ours",
        it_is_not="1 on a manifold: a local estimate from twenty neighbours is so noisy that the "
        "ratio is about 1.4",
    ),
}  # fmt: skip
