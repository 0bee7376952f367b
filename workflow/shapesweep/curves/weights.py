"""Compare samples of the weights of two checkpoints."""

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

#: A sample of the weights of a checkpoint, by `tensor_class` (`attention`, `head`, …).
Sample = dict[str, NDArray[np.float32]]

#: Rounding to bfloat16 changes a weight by at most this fraction; rounding to float16 changes small
#: weights by at most `TINY`.
ROUNDED, TINY = 2.0**-8, 2.0**-24


def distances(samples: Sequence[Sample]) -> NDArray[np.float64]:
    """Return the `distance` between all pairs of samples, which have the same classes and sizes.

    Returns
    -------
    ndarray of float64, shape (n_samples, n_samples)
    """
    kinds = list(samples[0]) if samples else []
    found = [1.0 - _correlations([sample[kind] for sample in samples]) for kind in kinds]
    return np.mean(found, axis=0) if found else np.zeros((len(samples), len(samples)))


def _correlations(weights: Sequence[NDArray[np.floating]]) -> NDArray[np.float64]:
    """Return the `correlation` of all pairs of arrays."""
    centered = np.stack([_centered(values) for values in weights])
    norms = np.linalg.norm(centered, axis=1)
    found = centered @ centered.T / np.maximum(np.outer(norms, norms), np.finfo(float).tiny)
    constant = np.flatnonzero(norms == 0).tolist()
    for a, b in itertools.product(constant, constant):
        found[a, b] = float(np.array_equal(weights[a], weights[b]))
    return found


def distance(a: Sample, b: Sample) -> float:
    """Return one minus Pearson's correlation of the weights, averaged over classes of matrices."""
    return float(distances([a, b])[0, 1])


def correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Return Pearson's correlation in float64; for constant arrays, 1 if both are equal, else 0."""
    return float(_correlations([a, b])[0, 1])


def movement(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Return the distance of the centered weights, divided by the smaller of their two norms.

    The result is infinite if one of the arrays is constant and the other is not.
    """
    moved, smaller = norm(_centered(a) - _centered(b)), min(norm(a), norm(b))
    if smaller:
        return moved / smaller
    return np.inf if moved else 0.0


def norm(weights: NDArray[np.floating]) -> float:
    """Return the Euclidean norm of the centered weights in float64."""
    return float(np.linalg.norm(_centered(weights)))


def is_alike(a: Sample, b: Sample) -> bool:
    """Return whether two samples have the same classes and sizes."""
    return {kind: len(values) for kind, values in a.items()} == {
        kind: len(values) for kind, values in b.items()
    }


def is_same(a: Sample, b: Sample) -> bool:
    """Return whether two samples are equal, or equal except for rounding to 16 bits."""
    return all(np.allclose(a[kind], b[kind], rtol=ROUNDED, atol=TINY) for kind in a)


def is_constant(weights: NDArray[np.floating]) -> bool:
    """Return whether all weights are equal, as in a matrix that is initialized with zeros."""
    return bool((weights == weights[0]).all())


def _centered(weights: NDArray[np.floating]) -> NDArray[np.float64]:
    values = weights.astype(np.float64)
    return values - values.mean()
