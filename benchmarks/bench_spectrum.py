"""Time two ways to compute the anisotropy: the leading eigenvalue alone, and a full SVD."""

import numpy as np
import peers
import pytest

import shapesweep

SHAPES = {"4096x768": (4096, 768), "8192x2560": (8192, 2560)}
#: The function and the number of rounds of each program.
PROGRAMS = {
    "shapesweep": (shapesweep.anisotropy, 5),
    "numpy's SVD": (peers.svd, 2),
    "torch's SVD": (peers.svd_torch, 2),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("who", PROGRAMS)
def test_anisotropy(timed, who, shape):
    n, d = SHAPES[shape]
    points = np.random.default_rng(0).standard_normal((n, d)) * np.arange(1, d + 1) ** -0.25
    function, rounds = PROGRAMS[who]
    timed(function, points, who=who, what=f"anisotropy, {shape}, float64", rounds=rounds)
