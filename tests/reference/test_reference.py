"""Our numbers against other programs' (fixtures.json, made by generate.py).

Tolerances: the same definition on exact distances agrees to the peers' rounding, ‖a‖² + ‖b‖² - 2ab
in float64, some 1e-16 · (300² · 30)/d² at the offset of 300: 1e-6. Spectra in float64: 1e-9;
singular values that ours takes from squares of condition 1e8 at most: 1e-9 too.
"""

import json
from pathlib import Path

import numpy as np
import pytest

import shapesweep
from helpers.clouds import CLOUDS
from shapesweep import neighbors as search
from shapesweep.estimators import spectrum
from shapesweep.geometry.layer import Layer, look
from shapesweep.metrics import METRICS

FIXTURES = json.loads(Path(__file__).with_name("fixtures.json").read_text(encoding="utf-8"))[
    "clouds"
]
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
        # Their own float64 code, on the cloud without repeated rows; they rescale the points and
        # take F in float32, 1e-7 relative, over the fifth of the ratios that lies lowest.
        "id_twonn_paper": shapesweep.id_twonn_paper,
        "id_mle": lambda d: shapesweep.id_mle(d[:, :20]),
        "id_mle_arithmetic": lambda d: shapesweep.id_mle(d[:, :20], mean="arithmetic"),
        "id_gride": lambda d: [shapesweep.id_gride(d, n)[0] for n in SCALES],
        "id_gride_stderr": lambda d: [shapesweep.id_gride(d, n)[1] for n in SCALES],
        "id_gride_radius": lambda d: [d[:, 2 * n - 1].mean() for n in SCALES],
    }.items(),
)
def test_dimensions_equal_the_peers(cloud, distances, name, estimate):
    np.testing.assert_allclose(estimate(distances), cloud[1][name], rtol=1e-6)


def test_local_ids_equal_scikit_dimensions(cloud, distances):
    points = cloud[0]
    order = np.lexsort(points[shapesweep.unique_rows(points)].T[::-1])
    # numpy has sorted the different rows; the first five of them.
    np.testing.assert_allclose(
        shapesweep.local_id(distances[order[:5], :20]), cloud[1]["local_id"], rtol=1e-6
    )


def test_correlation_dimension_equals_scikit_dimensions(cloud, distances):
    points = cloud[0][shapesweep.unique_rows(cloud[0])]
    (lists,) = search.search(points, 32, 20)
    radii = tuple(float(np.median(distances[:, k - 1])) for k in (10, 20))
    everything, one = np.ones(len(points), dtype=bool), np.zeros(len(points), dtype=int)
    pairs = tuple(int(lists.count_within(r, everything, one, 1).sum()) for r in radii)
    # Where a median is the distance of a pair, the peer's rounding decides whether that pair is
    # nearer: two ordered pairs at each radius.
    ties = 2 / (min(pairs) * np.log(pairs[1] / pairs[0]))
    np.testing.assert_allclose(
        shapesweep.id_corrint(pairs, radii), cloud[1]["id_corrint"], rtol=1e-6 + 2 * ties
    )


def eigenvalues(points):
    return shapesweep.eigenvalues(points)


@pytest.mark.parametrize(
    ("name", "estimate", "rtol"),
    [
        ("anisotropy_paper", shapesweep.anisotropy, 1e-9),
        ("anisotropy", shapesweep.anisotropy, 1e-9),
        ("anisotropy_uncentred", lambda x: spectrum.leading_share(
            shapesweep.eigenvalues(x, centred=False)), 1e-9),
        ("mean_cosine", shapesweep.mean_cosine, 1e-9),
        ("participation_ratio", lambda x: shapesweep.participation_ratio(eigenvalues(x)), 1e-9),
        ("effective_rank", lambda x: shapesweep.effective_rank(eigenvalues(x)), 1e-9),
        ("rankme", lambda x: shapesweep.rankme(eigenvalues(x)), 1e-9),
        ("stable_rank", lambda x: shapesweep.stable_rank(eigenvalues(x)), 1e-9),
        ("id_lpca", lambda x: spectrum.lpca_dimension(eigenvalues(x)), 0),
        ("matrix_entropy", lambda x: shapesweep.matrix_entropy(
            shapesweep.eigenvalues(x, centred=False)), 1e-9),
        # Their program rounds √n to float32.
        ("isoscore", lambda x: shapesweep.isoscore(eigenvalues(x)), 1e-6),
    ],
)  # fmt: skip
def test_spectra_equal_the_peers(cloud, request, name, estimate, rtol):
    theirs = centred(cloud[1], request)[name] if name == "participation_ratio" else cloud[1][name]
    np.testing.assert_allclose(estimate(cloud[0]), theirs, rtol=rtol, atol=1e-12)


def centred(theirs, request):
    """What a peer says that loses digits with the offset of 300: that of the cloud without it."""
    return FIXTURES["gauss4"] if request.node.callspec.params["cloud"] == "offset" else theirs


def test_the_debiased_participation_ratio_equals_its_authors(cloud, request):
    points, theirs = cloud
    moments = shapesweep.Moments.of(points)
    made = shapesweep.participation_ratio_debiased(
        eigenvalues(points), moments.fourth, moments.n_points
    )
    theirs = centred(theirs, request)["participation_ratio_debiased"]
    np.testing.assert_allclose(made, theirs, rtol=1e-6)


def test_linearity_equals_the_authors_code(cloud):
    points, theirs = cloud
    made = shapesweep.linearity(points, np.tanh(points) + points[:, ::-1])
    # Of a cloud that does not fill its features, theirs divides by singular values that are zero
    # but for rounding.
    if np.linalg.matrix_rank(points - points.mean(0)) == points.shape[1]:
        np.testing.assert_allclose(made, theirs["linearity"], rtol=1e-9)


def test_neighbors_equal_scikit_learns(cloud):
    points, theirs = cloud
    distances, indices = shapesweep.nearest_neighbors(points, 5)
    # Their expansion in float64 loses digits with the offset of 300: 1e-16 · 2.7e6 / d.
    expected = np.array(theirs["neighbor_distances"])[:, :5]
    np.testing.assert_allclose(distances[:5], expected, rtol=1e-6, atol=1e-4)
    apart = (np.diff(np.array(theirs["neighbor_distances"])) > 1e-4).all(axis=1)
    assert apart.any() or not points.any()
    np.testing.assert_array_equal(
        indices[:5][apart], np.array(theirs["neighbor_indices"])[apart, :5]
    )


def test_the_microscope_reads_what_the_functions_give(cloud, request):
    points, theirs = cloud[0], centred(cloud[1], request)
    everything = {"all": np.ones(len(points), dtype=bool)}
    documents = np.arange(len(points))
    layer = Layer(points, documents, documents % 16, None, everything, np.zeros(len(points), bool))
    read = {(one.metric, one.k): one.value for one in look(layer, None, METRICS)["all"]}
    for name, k in (("id_twonn", 2), ("id_twonn_mle", 2), ("id_twonn_paper", 2), ("id_mle", 20)):
        np.testing.assert_allclose(read[name, k], theirs[name], rtol=1e-6)
    np.testing.assert_allclose(
        [read["id_gride", 2 * n] for n in SCALES], theirs["id_gride"], rtol=1e-6
    )
    for name in ("anisotropy", "participation_ratio", "effective_rank", "rankme"):
        np.testing.assert_allclose(read[name, None], theirs[name], rtol=1e-9, atol=1e-12)
