"""Clouds with known dimensions: clean manifolds, and clouds that no single dimension describes."""

import numpy as np

CLEAN_DIMENSIONS = (2, 3, 5, 8, 12, 20, 30, 40)


def clean(rng, n):
    """Return clouds that lie on a manifold of one dimension, by name."""
    found = {}
    for d in CLEAN_DIMENSIONS:
        directions = rng.standard_normal((n, d + 1))
        found |= {
            f"Gaussian {d}": rng.standard_normal((n, d)),
            f"cube {d}": rng.uniform(size=(n, d)),
            f"sphere {d}": directions / np.linalg.norm(directions, axis=1, keepdims=True),
            f"decaying Gaussian {d}": rng.standard_normal((n, d)) * np.exp(-np.arange(d) / d),
        }
    return found


def doubtful(rng, n):
    """Return clouds that no single dimension describes, by name."""
    return {
        "copies by token": copies(rng, n, 8, spread=0.05),
        "near pairs": pairs(rng, n, 8, spread=0.03, share=2 / 3),
        "mixture 4 and 8": mixture(rng, n, 4, 8),
        "mixture 3 and 10": mixture(rng, n, 3, 10),
        "mixture 5 and 20": mixture(rng, n, 5, 20),
        "curves in 5": curves(rng, n // 32, 32, 5, spread=0.1),
        "curves in 10": curves(rng, n // 32, 32, 10, spread=0.3),
    }


def copies(rng, n, d, spread, n_features=40):
    """Return noisy copies of a few points; each point is a token of the vocabulary."""
    centres = np.zeros((max(n // 16, 2), n_features))
    centres[:, :d] = rng.standard_normal((len(centres), d))
    chosen = centres[rng.integers(len(centres), size=n)]
    return chosen + spread * rng.standard_normal(chosen.shape)


def pairs(rng, n, d, spread, share, n_features=40):
    """Return a Gaussian in which a share of the points have a near copy."""
    points = np.zeros((n, n_features))
    points[:, :d] = rng.standard_normal((n, d))
    half = int(n * share / 2)
    near = points[half : 2 * half]
    points[:half] = near + spread * rng.standard_normal(near.shape)
    return points


def mixture(rng, n, low, high):
    """Return two cubes of different dimensions, each with half of the points."""
    points = np.zeros((n, high))
    half = n // 2
    points[:half, :low] = rng.uniform(size=(half, low))
    points[half:] = 3 + rng.uniform(size=(n - half, high))
    return points


def curves(rng, n_groups, length, d, spread):
    """Return groups of points on smooth curves; the groups' centres are uniform in a cube.

    The result contains the points of each group one after another.
    """
    return around(rng, rng.uniform(size=(n_groups, 1, d)), length, spread)


def around(rng, centres, length, spread):
    """Return points on smooth curves around centres of shape (n_groups, 1, d)."""
    n_groups, _, d = centres.shape
    return (centres + spread * _curve(rng, n_groups, length, d)).reshape(-1, d)


def _curve(rng, n_groups, length, d):
    # Evenly spaced points would all have neighbours at nearly equal distances.
    t = rng.uniform(size=(n_groups, length, 1))
    line, wave = rng.standard_normal((2, n_groups, 1, d))
    path = t * line + 0.5 * np.sin(3 * t) * wave
    return path - path.mean(axis=1, keepdims=True)
