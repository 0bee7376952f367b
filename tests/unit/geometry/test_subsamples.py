"""Subsamples have at most one token per group, or come from few documents, with equal N."""

import dataclasses
import itertools

import numpy as np
import pytest

import shapesweep
from shapesweep.geometry import subsamples
from shapesweep.geometry.layer import Layer
from shapesweep.geometry.measure import measure_layer
from shapesweep.metrics import METRICS
from shapesweep.storage.selections import DRAWS


def numbered(n_documents, length):
    """Return the document and the position of every token."""
    return np.repeat(np.arange(n_documents), length), np.tile(np.arange(length), n_documents)


def test_draws_have_one_token_of_every_document_or_come_from_few_documents():
    documents, positions = numbered(100, 16)
    found = subsamples.draw(documents, None, positions > 0)
    assert set(found) == {"one_per_document", "few_documents"}
    one, few = found.values()
    assert len(one) == len(few) == DRAWS
    for rows in one:
        assert sorted(documents[rows]) == list(range(100))
        assert (positions[rows] > 0).all()
    for rows in few:
        # Seven documents of 15 tokens are as few as supply 100 tokens.
        assert len(set(documents[rows])) == 7
        assert len(rows) == len(set(rows)) == 105
    for draws in found.values():
        for first, second in itertools.combinations(draws, 2):
            assert not set(first) & set(second)
    again = subsamples.draw(documents, None, positions > 0)
    assert all((a == b).all() for a, b in zip(one, again["one_per_document"], strict=True))


def test_few_documents_are_those_with_the_most_tokens():
    # As in the corpus `passages`: five documents are measured completely, all others partly.
    sizes = [20] * 5 + [4] * 95
    documents = np.repeat(np.arange(100), sizes)
    found = subsamples.draw(documents, None, np.ones(len(documents), dtype=bool))
    (few,) = found["few_documents"]
    assert set(documents[few]) == set(range(5))
    # Draws of documents with too few tokens share tokens.
    assert all(len(rows) == 100 for rows in found["one_per_document"])


def test_few_documents_are_at_least_two():
    # One document of 70 tokens would supply a token for every document.
    documents, positions = numbered(64, 71)
    found = subsamples.draw(documents, None, positions > 0)
    assert {len(set(documents[rows])) for rows in found["few_documents"]} == {2}


def test_draws_have_one_occurrence_of_every_type():
    documents, _ = numbered(64, 32)
    tokens = np.random.default_rng(0).permutation(np.arange(len(documents)) % 600)
    found = subsamples.draw(documents, tokens, np.ones(len(documents), dtype=bool))
    for rows in found["one_per_type"]:
        assert sorted(tokens[rows]) == list(range(600))
    assert {len(rows) for rows in found["any_type"]} == {600}
    assert len(set(tokens[found["any_type"][0]])) < 600


@pytest.mark.parametrize(
    ("n_documents", "n_types", "names"),
    [(63, 499, set()), (64, 499, {"one_per_document"}), (63, 500, {"one_per_type"})],
)
def test_pairs_with_too_few_points_are_left_out(n_documents, n_types, names):
    documents, _ = numbered(n_documents, 40)
    tokens = np.arange(len(documents)) % n_types
    found = subsamples.draw(documents, tokens, np.ones(len(documents), dtype=bool))
    assert {name for name in found if name.startswith("one")} == names


def test_one_token_per_document_has_no_subsample():
    documents = np.arange(200)
    assert not subsamples.draw(documents, None, np.ones(200, dtype=bool))


def layer_of(points, documents, contexts=None):
    """Return a layer whose draws are all tokens of its documents."""
    everything = np.ones(len(points), dtype=bool)
    labels = {"document": documents}
    draws = subsamples.draw(documents, None, everything)
    return Layer(points, labels, documents % 8, contexts, {}, ~everything, draws=draws)


def test_numbers_are_averages_over_draws_with_replicates_without_a_group():
    documents, _ = numbered(100, 12)
    rng = np.random.default_rng(0)
    layer = layer_of(rng.standard_normal((1200, 5)), documents)
    metrics = {name: METRICS[name] for name in ("id_twonn", "id_mle")}
    found = measure_layer(layer, 4096, metrics)

    def mean(selection, keep):
        drawn = (rows[:100] for rows in layer.draws[selection])
        kept = [rows[keep[rows]] for rows in drawn]
        ids = [
            shapesweep.id_twonn(shapesweep.nearest_neighbors(layer.points[rows], 2)[0])
            for rows in kept
        ]
        return np.mean(ids)

    for selection in ("one_per_document", "few_documents"):
        number = found[selection][0]
        assert (number.metric, number.n_points) == ("id_twonn", 100)
        assert number.value == pytest.approx(mean(selection, layer.groups >= 0), rel=1e-9)
        expected = [mean(selection, layer.groups != group) for group in range(8)]
        np.testing.assert_allclose(number.replicates, expected, rtol=1e-9)


def test_both_samples_of_a_pair_have_the_same_number_of_distinct_points():
    documents, positions = numbered(120, 10)
    points = np.random.default_rng(0).standard_normal((1200, 4))
    # In a quarter of the documents, all tokens at a position have equal states.
    equal = documents % 4 == 0
    points[equal] = points[positions[equal]]
    found = measure_layer(layer_of(points, documents), 4096, {"id_twonn": METRICS["id_twonn"]})
    sizes = {numbers[0].n_points for numbers in found.values()}
    assert len(found) == 2
    assert len(sizes) == 1
    assert 60 < sizes.pop() < 120


def test_shards_of_a_few_distinct_points_have_no_subsample():
    documents, positions = numbered(100, 8)
    points = np.random.default_rng(0).standard_normal((8, 3))[positions]
    assert not measure_layer(layer_of(points, documents), None, {"id_twonn": METRICS["id_twonn"]})


def test_selections_keep_all_tokens_beside_subsamples():
    documents, _ = numbered(80, 10)
    points = np.random.default_rng(0).standard_normal((800, 4))
    layer = layer_of(points, documents)
    both = dataclasses.replace(layer, selections={"all": np.ones(800, dtype=bool)})
    metrics = {"id_twonn": METRICS["id_twonn"], "id_twonn_half": METRICS["id_twonn_half"]}
    found = measure_layer(both, None, metrics)
    assert [number.metric for number in found["all"]] == list(metrics)
    # Decimation is measured only for all tokens.
    assert [number.metric for number in found["one_per_document"]] == ["id_twonn"]


def test_undefined_effect_size_is_a_poor_fit():
    # On a lattice, all ratios of distances are equal to 1.
    lattice = np.stack(np.meshgrid(*[np.arange(12.0)] * 3), axis=-1).reshape(-1, 3)
    everything = np.ones(len(lattice), dtype=bool)
    layer = Layer(lattice, {}, np.arange(len(lattice)) % 4, None, {"all": everything}, ~everything)
    metrics = {name: METRICS[name] for name in ("id_mle", "fit_distance", "fit_estimators")}
    numbers = {number.metric: number for number in measure_layer(layer, None, metrics)["all"]}
    assert np.isnan(numbers["fit_distance"].value)
    assert "poor_fit" in numbers["id_mle"].flags
