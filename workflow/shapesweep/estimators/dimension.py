"""Estimate the intrinsic dimension (ID) from the distances to nearest neighbours.

All functions are pure functions of distances. Every value is an *estimate at N points and scale k
by estimator E*, never "the" dimension. Remove repeated points before calling these functions. The
functions omit points with a neighbour at distance zero, but the remaining points can still have
repeated points among their neighbours.
"""

import numpy as np
from scipy import optimize

from shapesweep.estimators.arrays import Floats

#: Two distances are equal up to rounding if their logarithms differ by less than this value.
TIE = 1e-11


def id_twonn(distances: Floats, discard_fraction: float = 0.1) -> float:
    """TwoNN estimate of the intrinsic dimension (Facco et al. 2017).

    The ratio μ = r₂/r₁ of a point's distances to its two nearest neighbours is
    Pareto distributed with exponent d. A line through the origin is fitted to
    -log(1 - F(μ)) against log μ by least squares; its slope is the estimate of
    d. As in scikit-dimension and DADApy, F is i/N for the i-th smallest of N
    ratios, counted from 1.

    Parameters
    ----------
    distances : ndarray, shape (n_points, 2 or more)
        Distances to the nearest neighbours, ascending; points without two neighbours at positive
        finite distances are left out.
    discard_fraction : float
        Share of the ratios that the fit leaves out, starting with the largest; Facco et al. use
        0.1. The share cannot be 0, because log(1 - F) of the largest ratio is infinite.

    Returns
    -------
    float
        NaN with fewer than three fitted points, or if all their ratios are 1.

    Raises
    ------
    ValueError
        If the share is not between 0 and 1.

    Examples
    --------
    >>> import numpy as np, shapesweep
    >>> square = np.random.default_rng(0).random((4000, 2))
    >>> distances, _ = shapesweep.nearest_neighbors(square, k=2)
    >>> round(shapesweep.id_twonn(distances), 1)
    2.0
    """
    if not 0 < discard_fraction < 1:
        raise ValueError(f"`discard_fraction` must lie between 0 and 1, got {discard_fraction}")
    log_ratios = np.sort(_log_ratios(distances, 1, 2))
    return _slope(log_ratios, int(len(log_ratios) * (1 - discard_fraction)))


def id_twonn_paper(distances: Floats) -> float:
    """TwoNN estimate of Razzhigaev et al. 2024, who fit only the lowest fifth of the ratios.

    The authors keep repeated points, which shifts the distribution of the ratios; this function
    assumes that repeated points have been removed.

    The parameter `distances` and the result are the same as in `id_twonn`.

    Examples
    --------
    >>> import numpy as np, shapesweep
    >>> square = np.random.default_rng(0).random((4000, 2))
    >>> distances, _ = shapesweep.nearest_neighbors(square, k=2)
    >>> round(shapesweep.id_twonn_paper(distances))
    2
    """
    log_ratios = np.sort(_log_ratios(distances, 1, 2))
    return _slope(log_ratios, len(log_ratios) // 5)


def id_twonn_mle(distances: Floats, discard_fraction: float = 0.0) -> float:
    """TwoNN estimate by maximum likelihood: (N - 1)/Σ log(r₂/r₁), summed over N points.

    The estimate is unbiased if the ratios μ = r₂/r₁ are Pareto distributed.

    If a fraction is discarded, the estimate uses the likelihood of the n lowest of N ratios (Type
    II censoring): (n - 1)/(Σᵢ₌₁ⁿ log μᵢ + (N - n) log μₙ).

    Parameters
    ----------
    distances : ndarray, shape (n_points, 2 or more)
    discard_fraction : float
        Share of the ratios that is censored, starting with the largest. The estimate uses the
        number of censored ratios, but not their values.

    Returns
    -------
    float
        NaN with fewer than three ratios, or if all ratios are 1.

    Examples
    --------
    >>> import numpy as np, shapesweep
    >>> square = np.random.default_rng(0).random((4000, 2))
    >>> distances, _ = shapesweep.nearest_neighbors(square, k=2)
    >>> round(shapesweep.id_twonn_mle(distances), 1)
    2.0
    """
    log_ratios = _log_ratios(distances, 1, 2)
    if discard_fraction:
        log_ratios = np.sort(log_ratios)
    n_kept = int(len(log_ratios) * (1 - discard_fraction))
    if n_kept < 3:
        return float("nan")
    total = log_ratios[:n_kept].sum() + (len(log_ratios) - n_kept) * log_ratios[n_kept - 1]
    return float((n_kept - 1) / total) if total > 0 else float("nan")


def distance_from_law(distances: Floats, fitted: float | None = None) -> float:
    """Kolmogorov distance between the ratios μ = r₂/r₁ and the law that TwoNN assumes.

    The law is 1 - μ^(-d) (Facco et al. 2017, eq. 3), where d is the intrinsic dimension.

    Parameters
    ----------
    distances : ndarray, shape (n_points, 2 or more)
    fitted : float, optional
        The exponent d; by default, the estimate of `id_twonn`.

    Returns
    -------
    float
        Between 0 and 1; NaN if d is NaN. Above about 0.01 + 1.5/√N, the points do not fit
        the law.

    Examples
    --------
    >>> import numpy as np, shapesweep
    >>> square = np.random.default_rng(0).random((4000, 2))
    >>> distances, _ = shapesweep.nearest_neighbors(square, k=2)
    >>> bool(shapesweep.distance_from_law(distances) < 0.03)
    True
    """
    fitted = id_twonn(distances) if fitted is None else fitted
    if not np.isfinite(fitted):
        return float("nan")
    log_ratios = np.sort(_log_ratios(distances, 1, 2))
    law, n = -np.expm1(-fitted * log_ratios), len(log_ratios)
    return float(max((np.arange(1, n + 1) / n - law).max(), (law - np.arange(n) / n).max()))


def local_id(distances: Floats) -> Floats:
    """Levina and Bickel's estimate of the dimension at every point: (k - 1)/Σⱼ log(r_k/r_j).

    Parameters
    ----------
    distances : ndarray, shape (n_points, k)
        Distances to the k nearest neighbours, ascending.

    Returns
    -------
    ndarray, shape (n_points,), float64
        NaN at a point without k neighbours at positive finite distances; infinite if all distances
        are equal.
    """
    inverse = _inverse_local_id(distances)
    return np.divide(1.0, inverse, out=np.full(len(inverse), np.inf), where=inverse != 0)


def local_quartiles(distances: Floats) -> tuple[float, float, float]:
    """Quartiles of `local_id` over points.

    Parameters
    ----------
    distances : ndarray, shape (n_points, k)

    Returns
    -------
    low, median, high : float
        NaN if no point has a finite estimate. Points without a finite estimate are left out.
    """
    local = local_id(distances)
    local = local[np.isfinite(local)]
    if not len(local):
        return float("nan"), float("nan"), float("nan")
    low, median, high = _quantiles(local, (0.25, 0.5, 0.75))
    return low, median, high


def id_mle(distances: Floats, mean: str = "harmonic") -> float:
    """Maximum likelihood estimate of the intrinsic dimension (Levina and Bickel 2004).

    Parameters
    ----------
    distances : ndarray, shape (n_points, k)
        Distances to the k nearest neighbours, ascending.
    mean : {"harmonic", "arithmetic"}
        Type of the mean over the points' estimates: harmonic (MacKay and Ghahramani 2005), or
        arithmetic (Levina and Bickel), which is biased upwards at small k.

    Returns
    -------
    float
        NaN if no point has k neighbours at positive finite distances, or if the k distances of
        every point are equal.

    Examples
    --------
    >>> import numpy as np, shapesweep
    >>> square = np.random.default_rng(0).random((4000, 2))
    >>> distances, _ = shapesweep.nearest_neighbors(square, k=20)
    >>> round(shapesweep.id_mle(distances), 1)
    2.0
    """
    inverse = _inverse_local_id(distances)
    inverse = inverse[~np.isnan(inverse)]
    if not len(inverse) or not inverse.any():
        return float("nan")
    if mean == "harmonic":
        return float(1 / inverse.mean())
    with np.errstate(divide="ignore"):
        return float(np.mean(1 / inverse))


def id_gride(distances: Floats, n1: int = 1, n2: int | None = None) -> tuple[float, float]:
    """Generalised ratios estimate of the intrinsic dimension (Denti et al. 2022).

    The ratio μ = r_n2/r_n1 has the density
    d(μᵈ - 1)^(n2 - n1 - 1)/(B(n2 - n1, n1) μ^((n2 - 1)d + 1)). The likelihood is maximised as in
    scikit-dimension and DADApy: with (N - 1) log d in place of N log d, and without ratios above
    q₅₀ + 20(q₉₅ - q₅₀), where q₅₀ and q₉₅ are percentiles of the ratios. Ratios of 1 are omitted.
    With a larger n1, the estimate describes a larger scale.

    Parameters
    ----------
    distances : ndarray, shape (n_points, n2 or more)
        Distances to the nearest neighbours, ascending.
    n1, n2 : int
        The distances to the n1-th and the n2-th neighbour are compared; n2 is 2·n1 by default.

    Returns
    -------
    value, stderr : float
        The estimate and its standard error, 1/√(observed Fisher information). The standard error
        assumes independent ratios, but ratios of neighbouring points are dependent. Both values are
        NaN with fewer than three ratios.

    Examples
    --------
    >>> import numpy as np, shapesweep
    >>> square = np.random.default_rng(0).random((4000, 2))
    >>> distances, _ = shapesweep.nearest_neighbors(square, k=8)
    >>> value, stderr = shapesweep.id_gride(distances, n1=4)
    >>> round(value, 1), stderr < 0.05
    (2.0, True)
    """
    n2 = 2 * n1 if n2 is None else n2
    if not 1 <= n1 < n2 <= distances.shape[1]:
        raise ValueError(f"1 <= n1 < n2 <= {distances.shape[1]} must hold, got {n1} and {n2}")
    log_ratios = _log_ratios(distances, n1, n2)
    log_ratios = log_ratios[log_ratios > TIE]
    if len(log_ratios) < 3:
        return float("nan"), float("nan")
    ratios = np.exp(log_ratios)
    middle, high = _quantiles(ratios, (0.5, 0.95))
    # If the 95 % quantile equals the smallest ratio, no ratio lies below the bound; keep all
    # ratios.
    kept = ratios < middle + 20 * (high - middle)
    log_ratios = log_ratios[kept] if kept.any() else log_ratios
    n, more, total = len(log_ratios), n2 - n1 - 1, log_ratios.sum()

    def score(d: float) -> tuple[float, float]:
        """First and second derivative of the log-likelihood."""
        minus_rest = np.expm1(-d * log_ratios)
        quotients = log_ratios / minus_rest
        value = (n - 1) / d - more * quotients.sum() - (n2 - 1) * total
        slope = float((1 + minus_rest) @ quotients**2)
        return value, -(n - 1) / d**2 - more * slope

    # Newton's method starts from a rough estimate of d, which is exact for n1 = 1 and n2 = 2.
    start = (n - 1) / total * np.log(n2 / n1) if more else (n - 1) / total
    d = start
    for _ in range(20):
        value, slope = score(d)
        # The derivative of the log-likelihood is a convex, decreasing function of d. Newton's steps
        # from the left of its root cannot overshoot. A step from the right of the root reduces d by
        # at most nine tenths.
        step = max(-value / slope, -0.9 * d)
        d += step
        if abs(step) < 1e-12 * d:
            break
    else:
        upper = start
        while score(upper)[0] > 0:
            upper *= 2
        d = optimize.brentq(lambda d: score(d)[0], 1e-8, upper, rtol=1e-12)
        slope = score(d)[1]
    information = -slope + 1 / d**2
    return float(d), float(1 / np.sqrt(information))


def id_corrint(pairs: tuple[int, int], radii: tuple[float, float]) -> float:
    """Correlation dimension between two radii (Grassberger and Procaccia 1983).

    Parameters
    ----------
    pairs : tuple of int
        For each radius, the number of ordered pairs of points whose distance is below the radius.
    radii : tuple of float
        Two ascending radii; by convention, the medians of the distances to the 10th and the 20th
        neighbour.

    Returns
    -------
    float
        log(C₂/C₁)/log(R₂/R₁) for the numbers of pairs C and the radii R; NaN if the radii are
        equal, or if a radius has no pairs.
    """
    if not 0 < radii[0] < radii[1] < np.inf or not min(pairs) > 0:
        return float("nan")
    return float(np.log(pairs[1] / pairs[0]) / np.log(radii[1] / radii[0]))


def _quantiles(values: Floats, shares: tuple[float, ...]) -> list[float]:
    """Compute quantiles without numpy's checks, which would slow down the jackknife."""
    positions = [share * (len(values) - 1) for share in shares]
    lower = [int(position) for position in positions]
    upper = [min(index + 1, len(values) - 1) for index in lower]
    sorted_there = np.partition(values, sorted({*lower, *upper}))
    return [
        float(sorted_there[low] + (position - low) * (sorted_there[high] - sorted_there[low]))
        for position, low, high in zip(positions, lower, upper, strict=True)
    ]


def _log_ratios(distances: Floats, n1: int, n2: int) -> Floats:
    """log(r_n2/r_n1) of all points for which the ratio is defined."""
    near, far = distances[:, n1 - 1], distances[:, n2 - 1]
    usable = (near > 0) & np.isfinite(far)
    return np.log(far[usable] / near[usable])


def _inverse_local_id(distances: Floats) -> Floats:
    k = distances.shape[1]
    usable = (distances[:, 0] > 0) & np.isfinite(distances[:, -1])
    inverse = np.full(len(distances), np.nan)
    logs = np.log(distances[usable])
    inverse[usable] = np.maximum(k * logs[:, -1] - logs.sum(axis=1), 0) / (k - 1)
    return inverse


def _slope(log_ratios: Floats, n_fitted: int) -> float:
    """Slope of the line through the origin that is fitted to the `n_fitted` lowest ratios."""
    fitted = log_ratios[:n_fitted]
    if n_fitted < 3 or not fitted[-1] > 0:
        return float("nan")
    survival = -np.log1p(-np.arange(1, n_fitted + 1) / len(log_ratios))
    return float(fitted @ survival / (fitted @ fitted))
