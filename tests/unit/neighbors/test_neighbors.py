"""The neighbour search is exact for all kinds of hidden states."""

import numpy as np
import pytest

from helpers.distances import nearest
from shapesweep import neighbors

CLOUDS = {
    "plain": lambda x: x,
    "offset": lambda x: x + 300,
    "tiny": lambda x: x * 1e-4,
    "massive": lambda x: x + 1e4 * (np.arange(len(x)) % 50 == 0)[:, None],
    "clusters": lambda x: x * 1e-5 + 10 * (np.arange(len(x)) % 7)[:, None],
}


@pytest.fixture(params=CLOUDS)
def points(request):
    # Clouds of fewer than 2048 points are searched row by row. test_candidates.py tests the search
    # by tiles.
    return CLOUDS[request.param](np.random.default_rng(0).standard_normal((700, 12)))


def test_nearest_neighbors_are_exact(points):
    distances, indices = neighbors.nearest_neighbors(points, 5)
    # The search and this test both sum squared differences in float64. Only the order of the
    # summands may differ.
    np.testing.assert_allclose(distances, nearest(points, 5), rtol=1e-12)
    direct = np.linalg.norm(points[indices] - points[:, None], axis=2)
    np.testing.assert_allclose(distances, direct, rtol=1e-12)


def test_lists_are_exact_without_a_group(points):
    groups = np.arange(len(points)) // 50
    lists = neighbors.search(points, 16, 2)
    for left_out in range(3):
        keep = groups != left_out
        expected = nearest(points[keep], 2)
        np.testing.assert_allclose(lists.nearest(2, keep)[0], expected, rtol=1e-12)


def test_neighbours_are_searched_again_if_a_group_empties_a_list():
    # The sixteen nearest neighbours of each point are in its own cluster. `keep` leaves out 19 of
    # 20 points, so that some lists are empty.
    rng = np.random.default_rng(0)
    points = rng.standard_normal((400, 3)) * 0.01 + 100 * np.repeat(np.eye(20, 3), 20, axis=0)
    keep = np.arange(400) % 20 == 0
    lists = neighbors.search(points, 16, 2)
    np.testing.assert_allclose(lists.nearest(2, keep)[0], nearest(points[keep], 2), rtol=1e-12)


def test_missing_neighbours_are_infinitely_far():
    lists = neighbors.search(np.arange(4.0)[:, None], 3, 3)
    distances, indices = lists.nearest(2, np.array([True, False, False, True]))
    np.testing.assert_array_equal(distances, [[3, np.inf], [3, np.inf]])
    np.testing.assert_array_equal(indices, [[3, -1], [0, -1]])


@pytest.mark.parametrize(("k", "value"), [(0, 1.0), (3, 1.0), (1, np.nan)])
def test_invalid_input_is_refused(k, value):
    with pytest.raises(ValueError, match=r"`k` must lie|finite"):
        neighbors.nearest_neighbors([[0.0], [value], [2.0]], k)


def test_distances_are_right_if_their_squares_overflow_or_underflow():
    rng = np.random.default_rng(0)
    points = rng.standard_normal((300, 3))
    points[:40] *= 1e-9
    beside_far = np.vstack([np.eye(2, 8), 1e-23 * rng.standard_normal((400, 8))])
    for cloud, scale in ((points, 1e150), (points, 1e-170), (points, 1e-180), (beside_far, 1e-10)):
        found, _ = neighbors.nearest_neighbors(cloud * scale, 5)
        np.testing.assert_allclose(found / scale, nearest(cloud, 5), rtol=1e-9)


@pytest.mark.parametrize("n", [100, 3000])
def test_pair_exactly_at_the_radius_is_not_counted(n):
    # The points are evenly spaced, so all nearest neighbours are at the median distance, up to
    # rounding.
    points = np.arange(n)[:, None] * np.array([0.1, 0.3, -0.7])
    lists = neighbors.search(points, 8, 2)
    everything, group = np.ones(n, dtype=bool), np.zeros(n, dtype=int)
    gap = float(np.median(lists.nearest(1)[0]))
    for times, n_pairs in ((1, 0), (1.5, 2 * (n - 1)), (2, 2 * (n - 1))):
        assert lists.count_within(gap * times, everything, group, 1).item() == n_pairs


def test_unique_rows_keep_the_first_of_each():
    points = np.array([[1.0, 0.0], [2.0, 0.0], [1.0, -0.0], [3.0, 0.0]])
    np.testing.assert_array_equal(neighbors.unique_rows(points), [0, 1, 3])


def test_rows_of_the_same_context_are_duplicates_despite_rounding():
    points = np.array([[1.0], [1.0 + 1e-12], [2.0]])
    np.testing.assert_array_equal(neighbors.unique_rows(points, np.array([5, 5, 6])), [0, 2])
