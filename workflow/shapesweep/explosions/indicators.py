"""What others watch to see a training become unstable, beside the shape of its hidden states.

Pure functions on arrays.
"""

import numpy as np
from numpy.typing import NDArray
from scipy import special

#: Steps of the power iteration that finds a weight matrix's leading direction anew.
ITERATIONS = 8


def kurtosis(points: NDArray[np.floating]) -> float:
    """Kurtosis of all activations of a layer: E[(x - μ)⁴]/σ⁴ over tokens and features.

    A normal law has 3; a few large activations among many small ones give tens and more.

    Parameters
    ----------
    points : ndarray, shape (n_points, n_features)

    Returns
    -------
    float
        NaN if all are equal.

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
    """Entropy of the attention of a layer, over its greatest: 1 is even, 0 is all on one token.

    Of every query ln n is the greatest, where n is the number of keys that it may see, those with
    a weight above zero; queries that see one key alone tell nothing. The mean over queries, heads
    and documents.

    Parameters
    ----------
    weights : ndarray, shape (n_documents, n_heads, n_queries, n_keys)
        Rows sum to 1.

    Returns
    -------
    float
        NaN if no query sees two keys.
    """
    entropy = special.entr(weights).sum(axis=-1)
    seen = (weights > 0).sum(axis=-1)
    choice = seen > 1
    return float((entropy[choice] / np.log(seen[choice])).mean()) if choice.any() else float("nan")


def leading_direction(
    matrix: NDArray[np.floating], start: NDArray[np.floating] | None = None
) -> NDArray[np.floating]:
    """The direction that a matrix stretches most: its leading right singular vector.

    By power iteration; from the last time's vector a few steps follow a matrix that is trained.

    Parameters
    ----------
    matrix : ndarray, shape (n_out, n_in)
    start : ndarray, shape (n_in,), optional
        By default the row that is longest.

    Returns
    -------
    ndarray, shape (n_in,)
        Of length 1, or NaN if the matrix is not finite or zero.
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
    """How one-sided a cloud lies along a direction: |share above zero - share below|.

    Spectral alignment (Qiu et al. 2025) asks it of what goes into a weight matrix, along the
    direction that the matrix stretches most: where signs lose their diversity, 1 is reached.

    Parameters
    ----------
    points : ndarray, shape (n_points, n_features)
    direction : ndarray, shape (n_features,)

    Returns
    -------
    float
    """
    return float(abs(np.sign(points @ direction).mean()))
