"""IDs are flagged if the points do not fit the estimators, and only then."""

import numpy as np
import pytest
from scipy import stats

import shapesweep
from helpers import manifolds
from shapesweep.geometry.layer import Layer
from shapesweep.geometry.measure import measure_layer
from shapesweep.metrics import METRICS, NeighborMetric

#: Seeds other than those for which the limits were set.
SEED = 20261130
OF_POINTS = {
    name: metric
    for name, metric in METRICS.items()
    if isinstance(metric, NeighborMetric) and metric.label is None
}


def measured(points, metrics=OF_POINTS):
    """Return the numbers of a cloud by metric; for several k, the number of the largest k."""
    n = len(points)
    everything = np.ones(n, dtype=bool)
    layer = Layer(points, {}, np.zeros(n, dtype=int), None, {"all": everything}, ~everything)
    return {number.metric: number for number in measure_layer(layer, None, metrics)["all"]}


def is_flagged(points):
    return "poor_fit" in measured(points)["id_twonn"].flags


@pytest.mark.parametrize("n", [1200, 4096])
def test_clouds_without_a_single_dimension_are_flagged(n):
    rng = np.random.default_rng(SEED)
    assert [name for name, x in manifolds.doubtful(rng, n).items() if not is_flagged(x)] == []


@pytest.mark.parametrize("n", [128, 1200])
def test_manifolds_are_rarely_flagged(n):
    rng = np.random.default_rng(SEED)
    flags = [is_flagged(x) for _ in range(2) for x in manifolds.clean(rng, n).values()]
    # About one cloud of a hundred exceeds each of the four limits.
    assert sum(flags) <= stats.binom.ppf(0.99, len(flags), 0.04)


def test_distance_from_the_law_is_scipys_kolmogorov_distance():
    points = np.random.default_rng(SEED).uniform(size=(600, 3))
    found = measured(points)
    distances, _ = shapesweep.nearest_neighbors(points, 2)
    ratios = distances[:, 1] / distances[:, 0]
    law = stats.pareto(b=shapesweep.id_twonn(distances))
    assert found["fit_distance"].value == pytest.approx(stats.kstest(ratios, law.cdf).statistic)


def test_spreads_are_ratios_of_the_estimates():
    found = measured(manifolds.mixture(np.random.default_rng(SEED), 800, 3, 10))
    fits = [found[name].value for name in ("id_twonn", "id_twonn_paper", "id_mle")]
    assert found["fit_estimators"].value == pytest.approx(max(fits) / min(fits))
    low, middle, high = (found[f"id_local_{name}"].value for name in ("low", "median", "high"))
    assert 2 < low < middle < high < 12
    assert found["fit_points"].value == pytest.approx(high / low)


def test_only_dimensions_are_flagged():
    found = measured(manifolds.mixture(np.random.default_rng(SEED), 800, 3, 10))
    flagged = {name for name, number in found.items() if "poor_fit" in number.flags}
    assert flagged == {name for name in found if OF_POINTS[name].is_dimension}
