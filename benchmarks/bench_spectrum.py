"""Compare the anisotropy, from the leading eigenvalue only, with full SVDs."""

import numpy as np
import peers
import pytest

import shapesweep

SHAPES = {"4096x768": (4096, 768), "8192x2560": (8192, 2560)}


@pytest.mark.parametrize("shape", SHAPES)
class TestAnisotropy:
    def points(self, shape):
        n, d = SHAPES[shape]
        return np.random.default_rng(0).standard_normal((n, d)) * np.arange(1, d + 1) ** -0.25

    def test_shapesweep(self, timed, shape):
        what = f"anisotropy, {shape}, float64"
        timed(shapesweep.anisotropy, self.points(shape), who="shapesweep", what=what)

    def test_numpy(self, timed, shape):
        what = f"anisotropy, {shape}, float64"
        timed(peers.svd, self.points(shape), who="numpy's SVD", what=what, rounds=2)

    def test_torch(self, timed, shape):
        what = f"anisotropy, {shape}, float64"
        timed(peers.svd_torch, self.points(shape), who="torch's SVD", what=what, rounds=2)
