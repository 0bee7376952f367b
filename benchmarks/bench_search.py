"""Compare the neighbour search and all ID estimates with the searches of other programs."""

import numpy as np
import peers
import pytest
import torch

import shapesweep
from conftest import SHAPES, cloud
from shapesweep import neighbors
from shapesweep.estimators import dimension


def every_id(points, k):
    """Compute, from exact distances, all ID estimates that need at most k neighbours."""
    unique = points[shapesweep.unique_rows(points)]
    lists = neighbors.search(unique, k, k)
    distances, _ = lists.nearest(k)
    ids = [f(distances) for f in (dimension.id_twonn, dimension.id_twonn_mle)]
    ids.append(dimension.id_twonn_paper(distances))
    scales = [n for n in (1, 2, 4, 8, 16, 32) if 2 * n <= k]
    ids += [dimension.id_gride(distances, n)[0] for n in scales]
    if k >= 20:
        ids.append(dimension.id_mle(distances[:, :20]))
        radii = tuple(float(np.median(distances[:, column])) for column in (9, 19))
        mask, group = np.ones(len(unique), bool), np.zeros(len(unique), int)
        pairs = tuple(int(lists.count_within(r, mask, group, 1).sum()) for r in radii)
        ids.append(dimension.id_corrint(pairs, radii))
    return ids


def product(points, k):
    """Compute the inner products of all pairs of points in float32, which every search needs."""
    tile = np.empty((512, len(points)), np.float32)
    for start in range(0, len(points), 512):
        part = points[start : start + 512]
        np.matmul(part, points.T, out=tile[: len(part)])


#: The function, the cloud and the number of rounds of each program.
PROGRAMS = {
    "shapesweep": (every_id, "gaussian", 5),
    "faiss flat": (peers.faiss_flat, "gaussian", 5),
    "scikit-learn brute": (peers.scikit_learn, "gaussian", 3),
    "only the float32 product of all pairs": (product, "gaussian", 5),
    "shapesweep, on a cloud like hidden states": (every_id, "states", 5),
}


@pytest.mark.parametrize("k", [2, 64])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("who", PROGRAMS)
def test_search(timed, who, shape, k):
    function, kind, rounds = PROGRAMS[who]
    what = f"search, k = {k}, {shape}"
    timed(function, cloud(shape, kind), k, who=who, what=what, rounds=rounds)


class TestEveryId:
    what = "TwoNN, MLE, Gride, correlation dimension, 10000x768"

    def test_shapesweep(self, timed):
        timed(every_id, cloud("10000x768"), 64, who="shapesweep", what=self.what)

    def test_scikit_dimension(self, timed):
        points = cloud("10000x768")
        timed(peers.scikit_dimension, points, who="scikit-dimension", what=self.what, rounds=1)


class TestPaper:
    what = "the paper's ID, 1024x768 (llm-microscope runs out of memory with more points)"

    def test_shapesweep(self, timed):
        def ours(points):
            unique = points[shapesweep.unique_rows(points)]
            return shapesweep.id_twonn_paper(shapesweep.nearest_neighbors(unique, 2)[0])

        timed(ours, cloud("10000x768")[:1024], who="shapesweep", what=self.what)

    def test_llm_microscope(self, timed):
        points = torch.from_numpy(cloud("10000x768")[:1024])
        theirs = peers.paper().intrinsic_dimension
        timed(theirs, points, "cpu", who="llm-microscope", what=self.what, rounds=3)
