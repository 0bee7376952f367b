"""Shapesweep and other programs compute equal numbers.

`generate.py` writes the numbers of the other programs to `fixtures.json`.

All programs use the same definitions, and shapesweep computes distances exactly, so only the
rounding of the other programs causes differences. The other programs compute the squared distance
of points a and b as ‖a‖² + ‖b‖² - 2ab in float64. One cloud is shifted by 300 in each of 30
features. At a distance of d, the squared distances in this cloud have a relative error of about
1e-16 · (300² · 30)/d², so the tolerance is 1e-6. For spectra in float64, the tolerance is 1e-9. The
tolerance of singular values is also 1e-9. Shapesweep computes singular values from their squares,
which have a condition number of at most 1e8.
"""

import json
from pathlib import Path

import numpy as np
import pytest

import shapesweep
from helpers.clouds import CLOUDS
from shapesweep import eigenvalues, neighbors
from shapesweep.estimators import spectrum
from shapesweep.geometry.layer import Layer
from shapesweep.geometry.measure import measure_layer
from shapesweep.metrics import METRICS

FIXTURES = json.loads(Path(__file__).with_name("fixtures.json").read_bytes())["clouds"]
SCALES = (1, 2, 4, 8, 16, 32)


@pytest.fixture(scope="module", params=CLOUDS)
def cloud(request):
    return CLOUDS[request.param](), FIXTURES[request.param]


@pytest.fixture(scope="module")
def distances(cloud):
    points = cloud[0][shapesweep.unique_rows(cloud[0])]
    return shapesweep.nearest_neighbors(points, 64)[0]


@pytest.mark.parametrize(
    ("name", "estimate"),
    {
        "id_twonn": shapesweep.id_twonn,
        "id_twonn_mle": shapesweep.id_twonn_mle,
        "id_twonn_mle_censored": lambda d: shapesweep.id_twonn_mle(d, discard_fraction=0.1),
        # The authors' code gets float64 points without repeated rows, and rescales them. For the
        # lowest fifth of the ratios, the authors' code computes the distribution function F in
        # float32, with a relative error of 1e-7.
        "id_twonn_paper": shapesweep.id_twonn_paper,
        "id_mle": lambda d: shapesweep.id_mle(d[:, :20]),
        "id_mle_arithmetic": lambda d: shapesweep.id_mle(d[:, :20], mean="arithmetic"),
        "id_gride": lambda d: [shapesweep.id_gride(d, n)[0] for n in SCALES],
        "id_gride_stderr": lambda d: [shapesweep.id_gride(d, n)[1] for n in SCALES],
        "id_gride_radius": lambda d: [d[:, 2 * n - 1].mean() for n in SCALES],
    }.items(),
)
def test_dimensions_equal_those_of_other_programs(cloud, distances, name, estimate):
    np.testing.assert_allclose(estimate(distances), cloud[1][name], rtol=1e-6)


def test_local_ids_equal_those_of_scikit_dimension(cloud, distances):
    points = cloud[0]
    order = np.lexsort(points[shapesweep.unique_rows(points)].T[::-1])
    # The reference values belong to the first five of the sorted rows that np.unique returns.
    np.testing.assert_allclose(
        shapesweep.local_id(distances[order[:5], :20]), cloud[1]["local_id"], rtol=1e-6
    )


def test_correlation_dimension_equals_that_of_scikit_dimension(cloud, distances):
    points = cloud[0][shapesweep.unique_rows(cloud[0])]
    lists = neighbors.search(points, 32, 20)
    radii = tuple(float(np.median(distances[:, k - 1])) for k in (10, 20))
    mask, group = np.ones(len(points), dtype=bool), np.zeros(len(points), dtype=int)
    pairs = tuple(int(lists.count_within(r, mask, group, 1).sum()) for r in radii)
    # Each radius is a median distance. If the distance of a pair equals the radius, rounding
    # decides whether the other program counts the pair. A pair counts twice, once in each order.
    ties = 2 / (min(pairs) * np.log(pairs[1] / pairs[0]))
    np.testing.assert_allclose(
        shapesweep.id_corrint(pairs, radii), cloud[1]["id_corrint"], rtol=1e-6 + 2 * ties
    )


def debiased_ratio(points):
    moments = shapesweep.Moments.of(points)
    return shapesweep.participation_ratio_debiased(
        eigenvalues(points), moments.fourth, moments.n_points
    )


@pytest.mark.parametrize(
    ("name", "estimate", "rtol"),
    [
        ("anisotropy_paper", shapesweep.anisotropy, 1e-9),
        ("anisotropy", shapesweep.anisotropy, 1e-9),
        ("anisotropy_uncentred",
         lambda x: spectrum.leading_share(eigenvalues(x, centred=False)), 1e-9),
        ("mean_cosine", shapesweep.mean_cosine, 1e-9),
        ("participation_ratio", lambda x: shapesweep.participation_ratio(eigenvalues(x)), 1e-9),
        ("effective_rank", lambda x: shapesweep.effective_rank(eigenvalues(x)), 1e-9),
        ("rankme", lambda x: shapesweep.rankme(eigenvalues(x)), 1e-9),
        ("stable_rank", lambda x: shapesweep.stable_rank(eigenvalues(x)), 1e-9),
        ("id_lpca", lambda x: spectrum.lpca_dimension(eigenvalues(x)), 0),
        ("matrix_entropy",
         lambda x: shapesweep.matrix_entropy(eigenvalues(x, centred=False)), 1e-9),
        ("participation_ratio_debiased", debiased_ratio, 1e-6),
        # IsoScore's program rounds the square root of the number of features to float32.
        ("isoscore", lambda x: shapesweep.isoscore(eigenvalues(x)), 1e-6),
    ],
)  # fmt: skip
def test_spectra_equal_those_of_other_programs(cloud, request, name, estimate, rtol):
    theirs = centred(cloud[1], request) if "participation_ratio" in name else cloud[1]
    np.testing.assert_allclose(estimate(cloud[0]), theirs[name], rtol=rtol, atol=1e-12)


def centred(theirs, request):
    """Return another program's values for a cloud. The offset of the cloud is removed.

    Other programs lose digits if a cloud is shifted by 300. For the cloud `offset`, the function
    therefore returns the values of `gauss4`, which is the same cloud without the shift.
    """
    return FIXTURES["gauss4"] if request.node.callspec.params["cloud"] == "offset" else theirs


def test_linearity_equals_that_of_the_authors_code(cloud):
    points, theirs = cloud
    linearity = shapesweep.linearity(points, np.tanh(points) + points[:, ::-1])
    # If the cloud does not have full rank, the authors' code divides by singular values that are
    # nonzero only because of rounding.
    if np.linalg.matrix_rank(points - points.mean(0)) == points.shape[1]:
        np.testing.assert_allclose(linearity, theirs["linearity"], rtol=1e-9)


def test_neighbors_equal_those_of_scikit_learn(cloud):
    points, theirs = cloud
    distances, indices = shapesweep.nearest_neighbors(points, 5)
    # scikit-learn computes the squared distance of a and b as ‖a‖² + ‖b‖² - 2ab. If a cloud is
    # shifted by 300 in 30 features, a distance of d has an error of 1e-16 · 2.7e6 / d.
    expected = np.array(theirs["neighbor_distances"])[:, :5]
    np.testing.assert_allclose(distances[:5], expected, rtol=1e-6, atol=1e-4)
    apart = (np.diff(np.array(theirs["neighbor_distances"])) > 1e-4).all(axis=1)
    assert apart.any() or not points.any()
    np.testing.assert_array_equal(
        indices[:5][apart], np.array(theirs["neighbor_indices"])[apart, :5]
    )


def test_numbers_of_a_layer_equal_those_of_other_programs(cloud, request):
    points, theirs = cloud[0], centred(cloud[1], request)
    selections = {"all": np.ones(len(points), dtype=bool)}
    documents = np.arange(len(points))
    labels = dict.fromkeys(("document", "token", "position"), documents)
    layer = Layer(points, labels, documents % 16, None, selections, np.zeros(len(points), bool))
    numbers = measure_layer(layer, None, METRICS)["all"]
    values = {(number.metric, number.k): number.value for number in numbers}
    for name, k in (("id_twonn", 2), ("id_twonn_mle", 2), ("id_twonn_paper", 2), ("id_mle", 20)):
        np.testing.assert_allclose(values[name, k], theirs[name], rtol=1e-6)
    np.testing.assert_allclose(
        [values["id_gride", 2 * n] for n in SCALES], theirs["id_gride"], rtol=1e-6
    )
    for name in ("anisotropy", "participation_ratio", "effective_rank", "rankme"):
        np.testing.assert_allclose(values[name, None], theirs[name], rtol=1e-9, atol=1e-12)
