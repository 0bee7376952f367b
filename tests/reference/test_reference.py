"""Our numbers against other programs' (fixtures.json, made by generate.py)."""

import json
from pathlib import Path

import numpy as np
import pytest
from clouds import CLOUDS

import shapesweep
from shapesweep.estimators import dimension, neighbors

FIXTURES = json.loads(Path(__file__).with_name("fixtures.json").read_text(encoding="utf-8"))[
    "clouds"
]


@pytest.fixture(params=CLOUDS)
def cloud(request):
    return CLOUDS[request.param](), FIXTURES[request.param]


def test_id_twonn_equals_scikit_dimension(cloud):
    points, theirs = cloud
    unique = points[neighbors.unique_rows(points)]
    distances, _ = shapesweep.nearest_neighbors(unique, 2)
    # Same definition on exact distances: what is left is the peers' ‖a‖² + ‖b‖² - 2ab in float64,
    # some 1e-16 · (300² · 30) / d² at the offset, so well below 1e-6.
    np.testing.assert_allclose(dimension.id_twonn(distances), theirs["id_twonn"], rtol=1e-6)


def test_id_twonn_paper_equals_the_authors_code(cloud):
    points, theirs = cloud
    unique = points[neighbors.unique_rows(points)]
    distances, _ = shapesweep.nearest_neighbors(unique, 2)
    # Their own float64 code, on the cloud without repeated rows; they rescale the points and take
    # F in float32, 1e-7 relative, over the fifth of the ratios that lies lowest.
    np.testing.assert_allclose(
        dimension.id_twonn_paper(distances), theirs["id_twonn_paper"], rtol=1e-6
    )


def test_anisotropy_equals_the_authors_code(cloud):
    points, theirs = cloud
    np.testing.assert_allclose(shapesweep.anisotropy(points), theirs["anisotropy_paper"], rtol=1e-9)


def test_anisotropy_equals_scikit_learns_leading_variance_ratio(cloud):
    points, theirs = cloud
    # Two float64 spectra of the same matrix; the covariance squares a condition of 1e4 at most.
    np.testing.assert_allclose(shapesweep.anisotropy(points), theirs["anisotropy"], rtol=1e-9)


def test_mean_cosine_equals_scikit_learns(cloud):
    points, theirs = cloud
    np.testing.assert_allclose(
        shapesweep.mean_cosine(points), theirs["mean_cosine"], rtol=1e-9, atol=1e-12
    )


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
