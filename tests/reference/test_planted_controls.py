"""The control of an ID equals the ID of the groups' centres; near copies are recognised."""

import numpy as np
import pytest

import shapesweep
from helpers import manifolds
from helpers.planted import MIN_AGREEING, SEEDS
from shapesweep.geometry import subsamples
from shapesweep.geometry.layer import Layer
from shapesweep.geometry.measure import measure_layer
from shapesweep.metrics import METRICS, NeighborMetric

N_GROUPS, LENGTH, DIMENSION = 512, 8, 5
#: Maximum relative difference between the control and the ID of the centres. TwoNN's own error is
#: 1/√512 = 4.4 % for each of the two IDs. At the largest spread, the groups overlap, and the cloud
#: is a Gaussian instead of a cube. TwoNN underestimates the dimension of a cube of five dimensions
#: by 10 %, but not that of a Gaussian.
TOLERANCE = 0.25


@pytest.mark.parametrize("spread", [0.02, 0.1, 0.3, 1.0])
def test_control_equals_the_id_of_the_centres(spread):
    agrees = []
    for seed in SEEDS:
        rng = np.random.default_rng([4, seed])
        centres = rng.uniform(size=(N_GROUPS, 1, DIMENSION))
        points = manifolds.around(rng, centres, LENGTH, spread)
        documents = np.repeat(np.arange(N_GROUPS), LENGTH)
        everything = np.ones(len(points), dtype=bool)
        draws = subsamples.draw(documents, None, everything)
        groups = documents % 16
        layer = Layer(points, {}, groups, None, {}, ~everything, draws=draws)
        found = measure_layer(layer, None, {"id_twonn": METRICS["id_twonn"]})
        control, few = (found[name][0] for name in ("one_per_document", "few_documents"))
        truth = shapesweep.id_twonn(shapesweep.nearest_neighbors(centres[:, 0], 2)[0])
        assert control.n_points == few.n_points == N_GROUPS
        agrees.append(abs(control.value / truth - 1) < TOLERANCE)
        # In tight groups, the same number of tokens of few documents has the ID of the curves.
        assert few.value < 1.5 if spread < 1 else few.value < control.value
    assert sum(agrees) >= MIN_AGREEING


def test_near_copies_by_token_are_recognised():
    """Tokens are noisy copies of a point for each type; one token of each type has no copy."""
    n_types, copies = 600, 6
    metrics = {
        name: metric
        for name, metric in METRICS.items()
        if isinstance(metric, NeighborMetric) and metric.label in (None, "token")
    }
    agrees = []
    for seed in SEEDS:
        rng = np.random.default_rng([5, seed])
        centres = np.zeros((n_types, 40))
        centres[:, :DIMENSION] = rng.uniform(size=(n_types, DIMENSION))
        tokens = rng.permutation(np.repeat(np.arange(n_types), copies))
        points = centres[tokens] + 1e-3 * rng.standard_normal((len(tokens), 40))
        documents = np.arange(len(tokens)) // 60
        everything = np.ones(len(points), dtype=bool)
        draws = subsamples.draw(documents, tokens, everything)
        layer = Layer(
            points, {"token": tokens}, documents % 4, None, {"all": everything}, ~everything,
            draws=draws,
        )  # fmt: skip
        found = {
            selection: {number.metric: number for number in numbers}
            for selection, numbers in measure_layer(layer, None, metrics).items()
        }
        truth = shapesweep.id_twonn(shapesweep.nearest_neighbors(centres, 2)[0])
        one = found["one_per_type"]["id_twonn"]
        every = found["all"]
        agrees.append(
            abs(one.value / truth - 1) < TOLERANCE
            and every["same_token_nn"].value > 0.99
            and "poor_fit" in every["id_twonn"].flags
            and abs(found["any_type"]["id_twonn"].value / truth - 1) > TOLERANCE
        )
    assert sum(agrees) >= MIN_AGREEING
