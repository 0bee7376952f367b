"""Samples are exact. A replicate leaves out a group of documents, as points and as neighbours."""

import numpy as np
import pytest

from helpers import distances
from shapesweep import neighbors
from shapesweep.estimators import dimension
from shapesweep.geometry.layer import PERMUTATION_SEED, Layer, measure_layer
from shapesweep.metrics import METRICS
from shapesweep.neighbors import sample


@pytest.fixture
def walk():
    """Synthetic hidden states of a layer: the tokens of a document form a random walk."""
    rng = np.random.default_rng(0)
    steps = rng.standard_normal((40, 30, 5)).cumsum(axis=1) * 0.2
    points = (steps + 2 * rng.standard_normal((40, 1, 5))).reshape(-1, 5)
    documents = np.repeat(np.arange(40), 30)
    everything = {"all": np.ones(1200, dtype=bool)}
    return Layer(points, documents, documents % 8, None, everything, np.zeros(1200, dtype=bool))


def twonn(points):
    return dimension.id_twonn(distances.nearest(points, 2))


def test_decimated_samples_and_their_replicates_are_exact(walk):
    numbers = {number.metric: number for number in measure_layer(walk, 1000, METRICS)["all"]}
    taken = np.random.default_rng(PERMUTATION_SEED).permutation(1200)[:1000]
    for name, fraction in (("id_twonn", 1), ("id_twonn_half", 2), ("id_twonn_quarter", 4)):
        rows = taken[: 1000 // fraction]
        assert numbers[name].n_points == len(rows)
        assert numbers[name].value == pytest.approx(twonn(walk.points[rows]), rel=1e-9)
        without = [twonn(walk.points[rows[walk.groups[rows] != g]]) for g in range(8)]
        np.testing.assert_allclose(numbers[name].replicates, without, rtol=1e-9)


def test_indices_of_neighbours_match_their_distances(walk):
    lists = neighbors.search(walk.points, 12, 4, walk.documents)
    sampled = np.arange(1200) % 3 > 0
    for kind in lists:
        whole, without = sample.neighbors(kind, 4, sampled, walk.documents, walk.groups, 8)
        for seen in (whole, *without):
            apart = np.linalg.norm(
                walk.points[seen.indices] - walk.points[seen.rows][:, None], axis=2
            )
            np.testing.assert_allclose(apart, seen.distances, rtol=1e-12)
            assert not seen.same_document.any() or kind is lists[0]
            assert seen.nearest(2).indices.shape == (len(seen.rows), 2)


def test_pairs_without_a_group_are_pairs_of_the_other_groups(walk):
    lists, _ = neighbors.search(walk.points, 40, 20, walk.documents)
    sampled = np.ones(1200, dtype=bool)
    whole, without = sample.neighbors(lists, 20, sampled, walk.documents, walk.groups, 8)
    assert whole.count_within(0.7) == (distances.between(walk.points) < 0.7).sum()
    for group, part in enumerate(without):
        kept = distances.between(walk.points[walk.groups != group])
        assert part.count_within(0.7) == (kept < 0.7).sum()
        assert part.whole is whole


def test_equal_selections_share_their_numbers(walk):
    both = {"all": np.ones(1200, dtype=bool), "same": np.ones(1200, dtype=bool)}
    layer = Layer(walk.points, walk.documents, walk.groups, None, both, walk.massive)
    found = measure_layer(layer, 1000, METRICS)
    assert found["all"] == found["same"]
    few = ["anisotropy", "id_twonn"]
    found = measure_layer(layer, 1000, METRICS, partial={"same": few})
    assert [number.metric for number in found["same"]] == few


def test_rows_of_the_same_causal_prefix_are_a_single_point_despite_rounding(walk):
    points = np.concatenate([walk.points, walk.points * (1 + 1e-15)])
    doubled = {"all": np.ones(2400, dtype=bool)}
    contexts = np.tile(np.arange(1200), 2)
    more = [np.tile(a, 2) for a in (walk.documents, walk.groups)]
    layer = Layer(points, *more, contexts, doubled, np.zeros(2400, dtype=bool))
    numbers = measure_layer(layer, None, METRICS)["all"]
    (number,) = (entry for entry in numbers if entry.metric == "id_twonn")
    assert (number.n_points, number.n_duplicates) == (1200, 1200)
    assert number.value == pytest.approx(twonn(walk.points), rel=1e-6)
