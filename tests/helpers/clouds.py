"""Deterministic point clouds.

The clouds do not use numpy's random generators, which may change between versions.
"""

import numpy as np


def _uniform(n, d, seed):
    """Return an array of shape (n, d) with numbers between 0 and 1.

    Lehmer's linear congruential generator (MINSTD) draws the numbers.
    """
    state, values = seed, np.empty(n * d)
    for i in range(n * d):
        state = state * 48271 % 2147483647
        values[i] = state / 2147483647
    return values.reshape(n, d)


def _normal(n, d, seed):
    """Return standard normal samples of shape (n, d), by the Box-Muller method."""
    u = _uniform(n, 2 * d, seed)
    return np.sqrt(-2 * np.log(u[:, :d])) * np.cos(2 * np.pi * u[:, d:])


def _embedded(latent, n_features, seed):
    basis, _ = np.linalg.qr(_normal(n_features, latent.shape[1], seed))
    return latent @ basis.T


def gauss4():
    return _embedded(_normal(800, 4, 11), 30, 12)


def roll2():
    angle, height = (_uniform(800, 2, 21) * [9, 20]).T
    return np.stack([(angle + 3) * np.cos(angle), height, (angle + 3) * np.sin(angle)], axis=1)


def offset():
    return gauss4() + 300


def repeated():
    points = gauss4()
    points[::5] = points[1::5]
    return points


def massive():
    points = _normal(800, 24, 31)
    points[::200, 3] += 400
    return points


def cone():
    return gauss4() + 6 * _normal(1, 30, 41)


def noisy():
    return gauss4() + 0.05 * _normal(800, 30, 51)


def rounded():
    return gauss4().astype(np.float16).astype(np.float64)


def sphere9():
    points = _normal(800, 10, 61)
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def cube20():
    return _embedded(_uniform(800, 20, 71), 40, 72)


def torus2():
    angles = 2 * np.pi * _uniform(800, 2, 81)
    return np.concatenate([np.cos(angles), np.sin(angles)], axis=1)


def few():
    """Return a cloud with fewer points than features."""
    return _embedded(_normal(150, 24, 91), 200, 92)


def power_law():
    """Return a cloud whose k-th feature has the variance 1/k."""
    return _normal(600, 128, 101) * np.arange(1, 129) ** -0.5


_MAKERS = (gauss4, roll2, offset, repeated, massive, cone, noisy, rounded, sphere9, cube20, torus2)
CLOUDS = {make.__name__: make for make in (*_MAKERS, few, power_law)}
