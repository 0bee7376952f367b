"""Samples are exact. A replicate leaves out a group of documents, as points and as neighbours."""

import numpy as np
import pytest

from helpers import distances
from shapesweep import neighbors
from shapesweep.estimators import dimension
from shapesweep.geometry.layer import Layer
from shapesweep.geometry.measure import PERMUTATION_SEED, measure_layer
from shapesweep.metrics import METRICS
from shapesweep.neighbors import sample

#: The metrics that can be computed without tokens and positions.
OF_DOCUMENTS = {
    name: metric
    for name, metric in METRICS.items()
    if getattr(metric, "label", None) not in ("token", "position")
}


@pytest.fixture
def walk():
    """Synthetic hidden states of a layer: the tokens of a document form a random walk."""
    rng = np.random.default_rng(0)
    steps = rng.standard_normal((40, 30, 5)).cumsum(axis=1) * 0.2
    points = (steps + 2 * rng.standard_normal((40, 1, 5))).reshape(-1, 5)
    documents = np.repeat(np.arange(40), 30)
    everything = {"all": np.ones(1200, dtype=bool)}
    labels = {"document": documents}
    return Layer(points, labels, documents % 8, None, everything, np.zeros(1200, dtype=bool))


def twonn(points):
    return dimension.id_twonn(distances.nearest(points, 2))


def test_decimated_samples_and_their_replicates_are_exact(walk):
    numbers = {number.metric: number for number in measure_layer(walk, 1000, OF_DOCUMENTS)["all"]}
    taken = np.random.default_rng(PERMUTATION_SEED).permutation(1200)[:1000]
    for name, fraction in (("id_twonn", 1), ("id_twonn_half", 2), ("id_twonn_quarter", 4)):
        rows = taken[: 1000 // fraction]
        assert numbers[name].n_points == len(rows)
        assert numbers[name].value == pytest.approx(twonn(walk.points[rows]), rel=1e-9)
        without = [twonn(walk.points[rows[walk.groups[rows] != g]]) for g in range(8)]
        np.testing.assert_allclose(numbers[name].replicates, without, rtol=1e-9)


def test_indices_of_neighbours_match_their_distances(walk):
    lists = neighbors.search(walk.points, 12, 4)
    sampled = np.arange(1200) % 3 > 0
    whole, without = sample.neighbors(lists, 4, sampled, walk.labels, walk.groups, 8)
    for seen in (whole, *without):
        apart = np.linalg.norm(walk.points[seen.indices] - walk.points[seen.rows][:, None], axis=2)
        np.testing.assert_allclose(apart, seen.distances, rtol=1e-12)
        same = walk.labels["document"][seen.indices[:, 0]] == walk.labels["document"][seen.rows]
        assert seen.share_with_same("document") == same.mean()
        assert seen.nearest(2).indices.shape == (len(seen.rows), 2)


def test_pairs_without_a_group_are_pairs_of_the_other_groups(walk):
    lists = neighbors.search(walk.points, 40, 20)
    sampled = np.ones(1200, dtype=bool)
    whole, without = sample.neighbors(lists, 20, sampled, walk.labels, walk.groups, 8)
    assert whole.count_within(0.7) == (distances.between(walk.points) < 0.7).sum()
    for group, part in enumerate(without):
        kept = distances.between(walk.points[walk.groups != group])
        assert part.count_within(0.7) == (kept < 0.7).sum()
        assert part.whole is whole


def test_equal_selections_share_their_numbers(walk):
    both = {"all": np.ones(1200, dtype=bool), "same": np.ones(1200, dtype=bool)}
    layer = Layer(walk.points, walk.labels, walk.groups, None, both, walk.massive)
    found = measure_layer(layer, 1000, OF_DOCUMENTS)
    assert found["all"] == found["same"]
    few = ["anisotropy", "id_twonn"]
    found = measure_layer(layer, 1000, OF_DOCUMENTS, partial={"same": few})
    assert [number.metric for number in found["same"]] == few


def test_rows_of_the_same_causal_prefix_are_a_single_point_despite_rounding(walk):
    points = np.concatenate([walk.points, walk.points * (1 + 1e-15)])
    doubled = {"all": np.ones(2400, dtype=bool)}
    contexts = np.tile(np.arange(1200), 2)
    labels = {"document": np.tile(walk.labels["document"], 2)}
    layer = Layer(
        points, labels, np.tile(walk.groups, 2), contexts, doubled, np.zeros(2400, dtype=bool)
    )
    numbers = measure_layer(layer, None, OF_DOCUMENTS)["all"]
    (number,) = (entry for entry in numbers if entry.metric == "id_twonn")
    assert (number.n_points, number.n_duplicates) == (1200, 1200)
    assert number.value == pytest.approx(twonn(walk.points), rel=1e-6)
