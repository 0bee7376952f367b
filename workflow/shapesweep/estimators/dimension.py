"""Intrinsic dimension (ID) from the distances to nearest neighbours.

Pure functions on distances, so that they can be tested without data. Every value
is an *estimate at N points and scale k by estimator E*, never "the" dimension.
"""

import numpy as np
from numpy.typing import NDArray


def id_twonn(distances: NDArray[np.float64], discard_fraction: float = 0.1) -> float:
    """TwoNN estimate of the intrinsic dimension (Facco et al. 2017).

    The ratio μ = r₂/r₁ of a point's distances to its two nearest neighbours is
    Pareto distributed with exponent d. -log(1 - F(μ)) is fitted against log μ by
    least squares through the origin, with F = i/N for the i-th smallest ratio,
    counted from 1 (scikit-dimension's and DADApy's convention).

    Parameters
    ----------
    distances : ndarray, shape (n_points, 2)
        To the first and the second neighbour; points without two neighbours at
        positive finite distances are left out.
    discard_fraction : float
        Share of the largest ratios that is not fitted; Facco's 0.1.

    Returns
    -------
    float
        NaN with fewer than three fitted points, or if all their ratios are 1.

    Examples
    --------
    >>> import numpy as np, shapesweep
    >>> square = np.random.default_rng(0).random((4000, 2))
    >>> distances, _ = shapesweep.nearest_neighbors(square, k=2)
    >>> round(shapesweep.id_twonn(distances), 1)
    2.0
    """
    log_ratios = _sorted_log_ratios(distances)
    return _slope(log_ratios, int(len(log_ratios) * (1 - discard_fraction)))


def id_twonn_paper(distances: NDArray[np.float64]) -> float:
    """TwoNN as Razzhigaev et al. 2024 compute it: only the lowest fifth of the ratios is fitted.

    The authors leave repeated points in F, which shifts it; here they are removed before.

    Parameters and result as in `id_twonn`.

    Examples
    --------
    >>> import numpy as np, shapesweep
    >>> square = np.random.default_rng(0).random((4000, 2))
    >>> distances, _ = shapesweep.nearest_neighbors(square, k=2)
    >>> round(shapesweep.id_twonn_paper(distances))
    2
    """
    log_ratios = _sorted_log_ratios(distances)
    return _slope(log_ratios, len(log_ratios) // 5)


def _sorted_log_ratios(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    first, second = distances[:, 0], distances[:, 1]
    usable = (first > 0) & np.isfinite(second)
    return np.sort(np.log(second[usable] / first[usable]))


def _slope(log_ratios: NDArray[np.float64], n_fitted: int) -> float:
    """Least squares through the origin over the lowest of the sorted ratios."""
    fitted = log_ratios[:n_fitted]
    if n_fitted < 3 or not fitted[-1] > 0:
        return float("nan")
    survival = -np.log1p(-np.arange(1, n_fitted + 1) / len(log_ratios))
    return float(fitted @ survival / (fitted @ fitted))
