"""The search with lower bounds finds all neighbours, by tiles or row by row, in any precision."""

import itertools
import tracemalloc
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from helpers.distances import between, nearest
from shapesweep import neighbors
from shapesweep.neighbors import candidates, lists, tiles
from shapesweep.neighbors.candidates import Keys
from shapesweep.neighbors.space import Space
from shapesweep.neighbors.tiles import Tiles

N = candidates.FEW + 200


#: Each cloud is computed from uniform random numbers u in [0, 1) and normal random numbers x.
CLOUDS = {
    "plain": lambda u, x: x,
    "offset": lambda u, x: x + 300,
    "tiny": lambda u, x: x * 1e-4,
    "float32": lambda u, x: x.astype(np.float32),
    "massive": lambda u, x: x * np.where(np.arange(N) % 500, 1, 1e4)[:, None],
    "clusters": lambda u, x: x * 1e-5 + 10 * (np.arange(N) % 7)[:, None],
    "line": lambda u, x: u[:, :1] * np.ones(24),
    # Points near a grid. Most distances are nearly equal to thousands of other distances.
    "grid": lambda u, x: np.floor(3 * u[:, :8]) + 1e-9 * x[:, :8],
    # Points beyond the range of float32, points at the end of this range, and points whose products
    # underflow in float32.
    "huge": lambda u, x: x * 1e60,
    "largest": lambda u, x: (u * 3e38 - 1.5e38).astype(np.float32),
    "specks": lambda u, x: np.vstack([np.ones((1, 24)), -np.ones((1, 24)), 1e-22 * x[2:]]),
    "repeated": lambda u, x: x[np.arange(N) % (N // 2)],
}


@pytest.fixture(scope="module", params=CLOUDS)
def cloud(request):
    rng = np.random.default_rng(0)
    points = CLOUDS[request.param](rng.random((N, 24)), rng.standard_normal((N, 24)))
    # The division by a power of two is exact. After the division, no square overflows or
    # underflows.
    unit = 2.0 ** np.floor(np.log2(np.abs(points.astype(float)).max()))
    return points, between(points.astype(float) / unit) * unit


@pytest.mark.parametrize("half_precision", [False, True])
@pytest.mark.parametrize("k", [1, 2, 8, 64])
def test_nearest_neighbours_are_found(cloud, k, half_precision, monkeypatch):
    monkeypatch.setattr(lists, "fast_half_precision", lambda: half_precision)
    points, distances = cloud
    found, indices = neighbors.nearest_neighbors(points, k)
    # Both computations use float64. If the squared distance of two points is at least 1e-3 of the
    # sum of their squared norms, the search computes it from an inner product, to about 13 digits.
    # Otherwise, the search computes the distance from coordinate differences.
    np.testing.assert_allclose(found, np.sort(distances, axis=1)[:, :k], rtol=1e-11)
    np.testing.assert_allclose(
        np.take_along_axis(distances, indices, axis=1), found, rtol=1e-11, atol=1e-300
    )


def test_neighbours_among_kept_points_and_pairs_within_a_radius_are_found(cloud):
    points, distances = cloud
    groups = np.arange(N) // 40 % 5
    keep = np.arange(N) % 11 > 0
    found_lists = neighbors.search(points, 24, 20)
    expected = np.where(keep, distances, np.inf)[keep]
    found, _ = found_lists.nearest(20, keep)
    np.testing.assert_allclose(found, np.sort(expected, axis=1)[:, :20], rtol=1e-11)
    ordered = np.sort(expected[np.isfinite(expected)])
    # Each radius lies well between two distances, so that rounding does not matter. Some points
    # have far more neighbours within the radius than their lists contain.
    for start in (1000, 40_000):
        at = start + int(np.argmax(np.diff(ordered[start:]) > 1e-9 * ordered[start]))
        radius = float(np.sqrt(ordered[at] * ordered[at + 1]))
        counts = found_lists.count_within(radius, keep, groups, 5)
        pairs = np.argwhere(expected < radius)
        by_group = np.zeros((5, 5), dtype=int)
        np.add.at(by_group, (groups[keep][pairs[:, 0]], groups[pairs[:, 1]]), 1)
        np.testing.assert_array_equal(counts, by_group)


def test_size_of_tiles_and_order_of_rows_do_not_change_the_result(monkeypatch):
    points = np.random.default_rng(1).standard_normal((N, 12)) + 5
    found, indices = neighbors.nearest_neighbors(points, 10)
    order = np.random.default_rng(2).permutation(N)
    mixed, others = neighbors.nearest_neighbors(points[order], 10)
    np.testing.assert_allclose(mixed, found[order], rtol=1e-12)
    np.testing.assert_array_equal(order[others], indices[order])
    for module in (candidates, tiles):
        monkeypatch.setattr(module, "ROWS", 100)
    again, same = neighbors.nearest_neighbors(points, 10)
    np.testing.assert_array_equal(again, found)
    np.testing.assert_array_equal(same, indices)


def test_many_equal_distances_need_little_memory():
    # All points of a cluster are at nearly the same distance from each point of another cluster.
    rng = np.random.default_rng(0)
    n = 3 * N
    points = 10 * np.eye(4, 6)[np.arange(n) % 4] + 1e-6 * rng.standard_normal((n, 6))
    tracemalloc.start()
    lists_found = neighbors.search(points, 24, 20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The peak memory of the search is less than half the size of a full distance matrix, which
    # needs 8 bytes per pair.
    assert peak < 8 * n * n / 2
    one = np.arange(n) % 4 == 0
    found, _ = lists_found.nearest(20, one)
    np.testing.assert_allclose(found, nearest(points[one], 20), rtol=1e-11)


def test_equal_distances_are_sorted_by_index():
    points = np.array([[0.0], [1.0], [-1.0], [3.0], [-3.0]])
    _, indices = neighbors.nearest_neighbors(points, 4)
    assert indices[0].tolist() == [1, 2, 3, 4]


numbers = st.floats(-1e6, 1e6, width=32).map(float)


@settings(max_examples=60, deadline=None)
@given(
    points=arrays(np.float64, st.tuples(st.integers(2, 12), st.integers(1, 40)), elements=numbers),
    precision=st.sampled_from(["bfloat16", "float32", "float64"]),
)
def test_bounds_never_exceed_the_distance(points, precision):
    space = Space(points)
    whole = Tiles(space.centred, space.squares / 2, precision)
    bounds = whole.bound(whole.block(slice(None), slice(None)))
    apart = space.centred[:, None] - space.centred
    halves = np.einsum("ijk,ijk->ij", apart, apart) / 2
    # `rounding` is an upper limit of the rounding errors in `halves`.
    rounding = 1e-15 * len(points[0]) * (space.squares[:, None] + space.squares)
    assert (bounds <= halves + rounding).all()
    # A lower bound far below the distance would be useless.
    slack = 4 * whole.slack + (2**-7 if precision == "bfloat16" else 0)
    assert (bounds >= halves - rounding - slack * (space.squares[:, None] + space.squares)).all()


@settings(max_examples=100, deadline=None)
@given(
    n_points=st.sampled_from([2, 3, 4096, 100_000, 1_000_000]),
    fractions=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    value=st.floats(-1, 2.0**100, width=32, allow_subnormal=False),
)
def test_key_keeps_its_indices_and_never_increases_its_bound(n_points, fractions, value):
    keys = Keys(n_points, np.dtype(np.float32))
    row, column = (np.array([int(fraction * (n_points - 1))]) for fraction in fractions)
    packed = keys.pack(row, column, np.array([value], dtype=np.float32))
    assert (keys.rows(packed), keys.columns(packed)) == (row, column)
    kept = keys.values(packed)[0]
    assert kept <= max(value, 0)
    assert kept >= max(value, 0) * (1 - 2.0**-15)


def test_keys_sort_by_row_then_by_bound():
    keys = Keys(50, np.dtype(np.float32))
    wanted = list(itertools.product(range(3), [0.0, 1e-20, 0.5, 0.75, 3.0, 1e20]))
    rows, values = (np.array(part) for part in zip(*wanted, strict=True))
    packed = keys.pack(rows, np.arange(len(rows))[::-1].copy(), values.astype(np.float32))
    np.testing.assert_array_equal(np.argsort(packed), np.arange(len(rows)))


def test_search_of_a_whole_cloud_uses_the_path_by_tiles(monkeypatch):
    # If the search did not use tiles, the tests above would check only the search row by row.
    by_rows = Mock(wraps=candidates.propose_rows)
    monkeypatch.setattr(candidates, "propose_rows", by_rows)
    neighbors.nearest_neighbors(np.random.default_rng(0).standard_normal((N, 24)), 2)
    assert not by_rows.called
