"""Compare samples of the weights of two checkpoints."""

import numpy as np
from numpy.typing import NDArray

#: A sample of the weights of a checkpoint, by `tensor_class` (`attention`, `head`, …).
Sample = dict[str, NDArray[np.float32]]


def distance(a: Sample, b: Sample) -> float:
    """Return one minus Pearson's correlation of the weights, averaged over classes of matrices."""
    return float(np.mean([1.0 - correlation(a[kind], b[kind]) for kind in a]))


def correlation(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """Return Pearson's correlation in float64; for constant arrays, 1 if both are equal, else 0."""
    x, y = _centered(a), _centered(b)
    norms = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / norms if norms else float(np.array_equal(a, b))


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


def is_constant(weights: NDArray[np.floating]) -> bool:
    """Return whether all weights are equal, as in a matrix that is initialized with zeros."""
    return bool((weights == weights[0]).all())


def _centered(weights: NDArray[np.floating]) -> NDArray[np.float64]:
    values = weights.astype(np.float64)
    return values - values.mean()
