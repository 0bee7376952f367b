"""Compute indicators of unstable training from the literature that are not geometric metrics."""

import numpy as np
from numpy.typing import NDArray
from scipy import special

#: Number of steps of the power iteration for the leading direction of a weight matrix.
ITERATIONS = 8


def kurtosis(points: NDArray[np.floating]) -> float:
    """Compute the kurtosis of a layer: E[(x - μ)⁴]/σ⁴ over all activations x.

    The mean μ and the variance σ² are taken over all tokens and features. A normal distribution has
    a kurtosis of 3. A few large activations among many small activations raise the kurtosis far
    above 3.

    Parameters
    ----------
    points : ndarray, shape (n_points, n_features)

    Returns
    -------
    float
        NaN if all activations are equal.

    Examples
    --------
    >>> import numpy as np
    >>> from shapesweep.explosions.indicators import kurtosis
    >>> kurtosis(np.array([[-1.0, 1.0], [1.0, -1.0]]))
    1.0
    """
    squares = (points - points.mean(dtype=np.float64)) ** 2
    variance = squares.mean()
    return float((squares**2).mean() / variance**2) if variance > 0 else float("nan")


def attention_entropy(weights: NDArray[np.floating]) -> float:
    """Compute the normalized entropy of the attention of a layer.

    The entropy of every query is divided by its maximum ln n, where n is the number of keys with a
    positive weight. Queries with a single key are skipped. The result is the mean over queries,
    heads and documents. It is 1 for uniform attention, and 0 if every query attends to a single
    token.

    Parameters
    ----------
    weights : ndarray, shape (n_documents, n_heads, n_queries, n_keys)
        Rows sum to 1.

    Returns
    -------
    float
        NaN if no query has two keys with a positive weight.
    """
    entropy = special.entr(weights).sum(axis=-1)
    seen = (weights > 0).sum(axis=-1)
    choice = seen > 1
    return float((entropy[choice] / np.log(seen[choice])).mean()) if choice.any() else float("nan")


def leading_direction(
    matrix: NDArray[np.floating], start: NDArray[np.floating] | None = None
) -> NDArray[np.floating]:
    """Compute the leading right singular vector of a matrix by power iteration.

    If the iteration starts from the vector of an earlier training step, a few iterations are enough
    to follow a matrix during training.

    Parameters
    ----------
    matrix : ndarray, shape (n_out, n_in)
    start : ndarray, shape (n_in,), optional
        Start of the iteration; by default, the row with the largest norm.

    Returns
    -------
    ndarray, shape (n_in,)
        A vector of norm 1; NaN if the matrix is zero or not finite.
    """
    if start is None or not np.isfinite(start).all():
        start = matrix[(matrix * matrix).sum(axis=1).argmax()]
    vector = start
    for _ in range(ITERATIONS):
        with np.errstate(all="ignore"):
            vector = matrix.T @ (matrix @ vector)
            vector = vector / np.linalg.norm(vector)
    return vector


def sign_imbalance(points: NDArray[np.floating], direction: NDArray[np.floating]) -> float:
    """Compute the imbalance between positive and negative projections of points on a direction.

    The result is |p - q|, where p is the share of points with a positive projection and q the share
    with a negative projection. It is 1 if all projections have the same sign. Spectral alignment
    (Qiu et al. 2025) is the imbalance of the inputs of a weight matrix along the leading direction
    of the matrix.

    Parameters
    ----------
    points : ndarray, shape (n_points, n_features)
    direction : ndarray, shape (n_features,)

    Returns
    -------
    float
    """
    return float(abs(np.sign(points @ direction).mean()))
