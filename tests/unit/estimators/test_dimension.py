"""Estimates of the intrinsic dimension from distances with known distributions."""

import numpy as np
import pytest

from shapesweep import neighbors
from shapesweep.estimators import dimension


def pareto(d, n=4096, seed=0):
    """Return distances with the ratio distribution that TwoNN assumes in dimension d."""
    ratios = np.random.default_rng(seed).pareto(d, n) + 1
    return np.stack([np.ones(n), ratios], axis=1)


def poisson(d, k=20, n=4096, seed=0):
    """Return exact neighbour distances r_i = Γ_i^(1/d) in a Poisson process of dimension d."""
    gaps = np.random.default_rng(seed).exponential(size=(n, k))
    return gaps.cumsum(axis=1) ** (1 / d)


@pytest.mark.parametrize("d", [2, 8, 40])
@pytest.mark.parametrize(
    ("estimate", "make", "deviation"),
    [
        (dimension.id_twonn, pareto, 0.016),
        # This estimator uses only the lowest fifth of the ratios.
        (dimension.id_twonn_paper, pareto, 0.039),
        # For N points, the relative standard deviation of the estimate is at most 1/√N.
        (dimension.id_twonn_mle, pareto, 1 / 64),
        (lambda distances: dimension.id_twonn_mle(distances, 0.1), pareto, 1 / 64),
        (dimension.id_mle, poisson, 1 / 64),
        (lambda distances: dimension.id_gride(distances, 8)[0], poisson, 1 / 64),
    ],
)
def test_estimators_recover_the_dimension(estimate, make, deviation, d):
    # `deviation` is the relative standard deviation of an estimate from 4,096 points. The tolerance
    # is four standard errors of the mean over 16 seeds.
    estimates = [estimate(make(d, seed=seed)) for seed in range(16)]
    assert abs(np.mean(estimates) / d - 1) < 4 * deviation / 4


def test_points_without_neighbours_are_left_out():
    distances = pareto(5)
    spoilt = np.concatenate([distances, [[1.0, np.inf], [0.0, 1.0]]])
    assert dimension.id_twonn(spoilt) == dimension.id_twonn(distances)


@pytest.mark.parametrize("n", [0, 2, 100])
def test_undefined_estimates_are_nan(n):
    ties = np.ones((n, 4))
    assert np.isnan(dimension.id_twonn(ties))
    assert np.isnan(dimension.id_twonn_paper(ties))
    assert np.isnan(dimension.id_gride(ties, 2)).all()


def test_repeated_rows_do_not_change_the_estimate():
    points = np.random.default_rng(0).standard_normal((600, 4))
    repeated = np.concatenate([points, points[:100]])
    found = [x[neighbors.unique_rows(x)] for x in (points, repeated)]
    plain, cleaned = (dimension.id_twonn(neighbors.nearest_neighbors(x, 2)[0]) for x in found)
    assert plain == cleaned


@pytest.mark.parametrize("n1", [1, 4, 32])
def test_standard_error_of_gride_matches_repeated_samples(n1):
    # The standard deviation over 64 seeds has a relative error of 1/√(2·63) = 9 %. The tolerance is
    # twice this error.
    found = [dimension.id_gride(poisson(6, 2 * n1, n=1500, seed=s), n1) for s in range(64)]
    values, errors = np.array(found).T
    assert 0.8 < errors.mean() / values.std(ddof=1) < 1.2


def test_gride_of_order_one_is_twonn_by_likelihood():
    distances = poisson(5, 2)
    value, error = dimension.id_gride(distances, 1)
    assert value == pytest.approx(dimension.id_twonn_mle(distances), rel=1e-9)
    assert error == pytest.approx(value / np.sqrt(4096), rel=1e-3)


def test_harmonic_mean_of_local_ids_is_the_global_id():
    distances = poisson(7, 20)
    local = dimension.local_id(distances)
    assert local.shape == (4096,)
    assert 1 / np.mean(1 / local) == pytest.approx(dimension.id_mle(distances))
    assert np.mean(local) == pytest.approx(dimension.id_mle(distances, mean="arithmetic"))


def test_point_without_neighbours_has_no_local_id():
    distances = np.array([[1.0, 2.0, 4.0], [0.0, 1.0, 2.0], [1.0, 2.0, np.inf], [3.0, 3.0, 3.0]])
    local = dimension.local_id(distances)
    np.testing.assert_array_equal(np.isnan(local), [False, True, True, False])
    assert local[0] == pytest.approx(2 / np.log(8))
    assert np.isinf(local[3])


def test_correlation_dimension_is_a_slope():
    assert dimension.id_corrint((100, 800), (0.1, 0.2)) == pytest.approx(3)
    assert np.isnan(dimension.id_corrint((0, 800), (0.1, 0.2)))
    assert np.isnan(dimension.id_corrint((100, 800), (0.2, 0.2)))


@pytest.mark.parametrize("orders", [(0, 2), (2, 2), (2, 9)])
def test_invalid_orders_are_refused(orders):
    with pytest.raises(ValueError, match="must hold"):
        dimension.id_gride(poisson(2, 8), *orders)


def test_distances_that_differ_only_by_rounding_are_ties():
    distances = poisson(5, 8)
    distances[::4, 3] = distances[::4, 1]
    broken = distances.copy()
    broken[::4, 3] *= 1 + 4e-16
    assert dimension.id_gride(broken, 2) == dimension.id_gride(distances, 2)


@pytest.mark.parametrize("share", [0, 1, -0.1])
def test_invalid_discard_fraction_is_refused(share):
    with pytest.raises(ValueError, match="discard_fraction"):
        dimension.id_twonn(pareto(3), share)


@pytest.mark.parametrize("offset, scale, dtype", [(300, 1, float), (0, 1e-4, float), (0, 1, "f4")])
def test_offset_scale_and_float32_do_not_change_any_id(offset, scale, dtype):
    rng = np.random.default_rng(1)
    points = rng.standard_normal((1500, 4)) @ rng.standard_normal((4, 16))
    changed = (points * scale + offset).astype(dtype)
    # float32 rounds coordinates with a relative error of 1e-7, and neighbours are about 0.3 apart.
    rtol = 1e-3 if dtype == "f4" else 1e-6
    before, after = (neighbors.nearest_neighbors(x, 64)[0] for x in (points, changed))
    for estimate in (
        dimension.id_twonn,
        dimension.id_twonn_mle,
        dimension.id_twonn_paper,
        lambda d: dimension.id_mle(d[:, :20]),
        lambda d: dimension.id_gride(d, 32)[0],
    ):
        assert estimate(after) == pytest.approx(estimate(before), rel=rtol)
