"""Measure the spectral shape of a cloud of points.

All functions are pure functions of a cloud of shape (n_points, n_features), or of the eigenvalues
of its scatter matrix (see `eigenvalues`). Functions that use only ratios of eigenvalues also accept
the eigenvalues of the covariance.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import linalg as sparse

from shapesweep.estimators.arrays import Floats, Points
from shapesweep.estimators.moments import Moments, directions, norms
from shapesweep.estimators.spacing import Spacing

#: Ranks of the first and last eigenvalue to which a power law is fitted (Agrawal et al. 2022). The
#: largest eigenvalue has rank 1.
POWER_LAW_RANKS = (11, 100)
#: Minimum number of points in a block for the scatter matrix.
SCATTER_ROWS = 2048
#: An axis counts if its eigenvalue exceeds this share of the largest eigenvalue (Fukunaga and Olsen
#: 1971).
LPCA_SHARE = 0.05


def anisotropy(points: ArrayLike) -> float:
    """Share of the variance along the leading axis of the centred cloud.

    The share is σ₁² / Σ σᵢ², where σ are the singular values of the cloud minus
    its mean (Razzhigaev et al. 2024). Rows are not normalised. Only the leading
    eigenvalue is computed (Lanczos' method on the float64 scatter matrix).

    Parameters
    ----------
    points : array_like, shape (n_points, n_features)
        At least two points that are not all equal. The computation is in float64.

    Returns
    -------
    float
        Between 1/min(n_points - 1, n_features) and 1. NaN for a cloud without variance.

    Examples
    --------
    >>> import numpy as np, shapesweep
    >>> shapesweep.anisotropy([[0.0, 0.0], [1.0, 0.0], [2.0, 0.0]])
    1.0
    >>> ball = np.random.default_rng(0).standard_normal((5000, 10))
    >>> round(shapesweep.anisotropy(ball), 2)
    0.11
    """
    points = np.asarray(points)
    scatter = _smaller_scatter(points)
    total = np.trace(scatter)
    if not total > 0:
        return float("nan")
    return float(min(_leading(scatter) / total, 1.0))


def _smaller_scatter(points: Points) -> Floats:
    """The smaller of XXᵀ and XᵀX for the centred cloud X; their largest eigenvalues are equal."""
    mean = points.mean(axis=0, dtype=np.float64)
    n_points, n_features = points.shape
    if n_features > n_points:
        centred = np.subtract(points, mean, dtype=np.float64)
        return centred @ centred.T
    # Reuse a buffer, because allocating memory takes longer than the multiplication.
    size = max(n_features, SCATTER_ROWS)
    room = np.empty((min(size, n_points), n_features))
    scatter = np.zeros((n_features, n_features))
    for start in range(0, n_points, size):
        part = points[start : start + size]
        centred = np.subtract(part, mean, out=room[: len(part)])
        scatter += centred.T @ centred
    return scatter


def _leading(scatter: Floats) -> float:
    """Largest eigenvalue of a symmetric matrix."""
    if len(scatter) < 64:
        return float(np.linalg.eigvalsh(scatter)[-1])
    try:
        # The relative error of the eigenvector is at most 1e-7. The relative error of the
        # eigenvalue is of the order of the square of this error.
        start = scatter[:, np.diag(scatter).argmax()]
        found = sparse.eigsh(
            scatter, k=1, which="LA", tol=1e-7, v0=start, ncv=32, return_eigenvectors=False
        )
        return float(found[0])
    except sparse.ArpackError:
        return float(np.linalg.eigvalsh(scatter)[-1])


def eigenvalues(points: ArrayLike, centred: bool = True) -> Floats:
    """Eigenvalues of the scatter matrix of a cloud, in float64.

    Parameters
    ----------
    points : array_like, shape (n_points, n_features)
    centred : bool
        Whether the mean is subtracted.

    Returns
    -------
    ndarray, shape (n_features,), float64
        The squared singular values of the cloud, ascending. If the mean is subtracted, they are
        n_points - 1 times the eigenvalues of the covariance.

    Examples
    --------
    >>> import shapesweep
    >>> shapesweep.eigenvalues([[0.0, 0.0], [2.0, 0.0]]).tolist()
    [0.0, 2.0]
    """
    moments = Moments.of(points)
    return eigh(moments.scatter if centred else moments.second_moment)[0]


def eigh(matrix: Floats) -> tuple[Floats, Floats]:
    """Ascending eigenvalues of a semidefinite matrix, and its eigenvectors as columns."""
    values, axes = np.linalg.eigh(matrix)
    # Rounding errors turn a zero eigenvalue into a value of this size, which may be negative.
    zero = len(values) * np.finfo(float).eps * values[-1]
    return np.where(values > zero, values, 0.0), axes


def leading_share(eigenvalues: Floats) -> float:
    """Largest eigenvalue divided by the sum; NaN if the sum is not positive."""
    total = eigenvalues.sum()
    return float(eigenvalues[-1] / total) if total > 0 else float("nan")


def participation_ratio(eigenvalues: Floats) -> float:
    """The participation ratio (Σλ)²/Σλ² (Gao et al. 2017), from 1 (one axis) to n_features (a
    ball).

    Examples
    --------
    >>> import numpy as np, shapesweep
    >>> shapesweep.participation_ratio(np.array([1.0, 1.0, 1.0]))
    3.0
    """
    squares = (eigenvalues**2).sum()
    return float(eigenvalues.sum() ** 2 / squares) if squares > 0 else float("nan")


def isoscore(eigenvalues: Floats) -> float:
    """IsoScore (Rudman et al. 2022): 0 for a line, 1 for a ball.

    The n eigenvalues of the covariance are scaled to norm √n, and IsoScore is computed from their
    distance to (1, …, 1). In exact arithmetic, IsoScore equals (PR - 1)/(n - 1), where PR is the
    participation ratio. The authors' program (2.0.1) rounds some values to float32. This function
    also rounds them, so that the numbers agree.

    Examples
    --------
    >>> import numpy as np, shapesweep
    >>> round(shapesweep.isoscore(np.array([0.0, 1.0, 1.0])), 6)
    0.5
    """
    n, length = len(eigenvalues), np.linalg.norm(eigenvalues)
    if n < 2 or not length > 0:
        return float("nan")
    root = np.sqrt(np.float32(n))
    width = np.float32(n) - root
    furthest = float(np.sqrt(np.float32(2) * width))
    defect = np.linalg.norm(eigenvalues / length * float(root) - 1) / furthest
    return float(((n - defect**2 * float(width)) ** 2 - n) / (n * (n - 1)))


def entropy(weights: Floats) -> float:
    """Shannon entropy, in nats, of weights divided by their sum; NaN if the sum is zero."""
    total = weights.sum()
    if not total > 0:
        return float("nan")
    shares = weights[weights > 0] / total
    return float(-(shares * np.log(shares)).sum())


def effective_rank(eigenvalues: Floats) -> float:
    """Exponential of the entropy of the eigenvalues λ/Σλ; `rankme` uses singular values.

    Examples
    --------
    >>> import numpy as np, shapesweep
    >>> round(shapesweep.effective_rank(np.array([0.0, 1.0, 1.0])), 6)
    2.0
    """
    return float(np.exp(entropy(eigenvalues)))


def rankme(eigenvalues: Floats) -> float:
    """Exponential of the entropy of σ/Σσ, where σ = √λ (Roy and Vetterli 2007).

    RankMe (Garrido et al. 2023) does not centre the cloud. This function expects the eigenvalues of
    the centred cloud, so that the mean does not hide the shape.
    """
    return float(np.exp(entropy(np.sqrt(eigenvalues))))


def stable_rank(eigenvalues: Floats) -> float:
    """Σλ divided by the largest λ: the inverse of the anisotropy (Rudelson and Vershynin 2007)."""
    return 1 / share if (share := leading_share(eigenvalues)) > 0 else float("nan")


def alpha_req(
    eigenvalues: Floats, noise_floor: float = 0.0, ranks: tuple[int, int] = POWER_LAW_RANKS
) -> float:
    """Exponent of the eigenvalues' decay: λᵢ ~ i^-α (Agrawal et al. 2022, α-ReQ).

    log λ is fitted to log i by least squares over a range of ranks. The weights 1/i (Stringer et
    al. 2019) give every octave of ranks i the same total weight.

    Parameters
    ----------
    eigenvalues : ndarray, shape (n_features,)
        Eigenvalues in ascending order.
    noise_floor : float
        The largest eigenvalue that rounding can cause; the function `noise_floor` computes it.
    ranks : tuple of int
        Ranks i of the first and last fitted eigenvalue; the largest eigenvalue has rank 1.

    Returns
    -------
    float
        NaN if there are fewer eigenvalues than the last rank, or if the last fitted eigenvalue is
        not above the noise floor.

    Examples
    --------
    >>> import numpy as np, shapesweep
    >>> round(shapesweep.alpha_req(np.sort(np.arange(1.0, 129) ** -1.5)), 6)
    1.5
    """
    first, last = ranks
    if len(eigenvalues) < last:
        return float("nan")
    decay = eigenvalues[::-1][first - 1 : last]
    floor = max(noise_floor, len(eigenvalues) * np.finfo(float).eps * eigenvalues[-1])
    if not decay[-1] > floor:
        return float("nan")
    order = np.arange(first, last + 1)
    slope = np.polyfit(np.log(order), np.log(decay), 1, w=order**-0.5)[0]
    return float(-slope)


def noise_floor(points: Points, spacing: Spacing | None = None) -> float:
    """The largest eigenvalue that rounding of the points can cause in their scatter matrix.

    The rounding error of a float x is at most u|x|, where 2u is the relative spacing. If all errors
    lie along one axis, the sum of their squares is at most u²Σx². On a grid, errors are independent
    of each other, and the variance of an error is step²/12. The largest eigenvalue of D features
    and N points with independent errors is (√N + √D)² times this variance (Marchenko and Pastur
    1967), which is averaged over features.

    Parameters
    ----------
    points : ndarray, shape (n_points, n_features)
    spacing : Spacing, optional
        Spacing of the values; by default found from the points.
    """
    spacing = spacing or Spacing.of(points)
    squares = np.einsum("ij,ij->j", points, points, dtype=np.float64)
    of_features = squares @ spacing.relative**2 / 4
    of_points = norms(points) ** 2 @ spacing.relative_of_points**2 / 4
    step = max((spacing.step**2).mean(), (spacing.step_of_points**2).mean())
    of_grids = step / 12 * np.sqrt(points.shape).sum() ** 2
    return float(max(of_features, of_points, of_grids))


def matrix_entropy(eigenvalues: Floats) -> float:
    """Entropy, in nats, of the eigenvalues of the Gram matrix (Skean et al. 2025).

    Parameters
    ----------
    eigenvalues : ndarray, shape (n_features,)
        Eigenvalues of Σxxᵀ for the uncentred cloud, whose Gram matrix has the same positive
        eigenvalues.
    """
    return entropy(eigenvalues)


def lpca_dimension(eigenvalues: Floats) -> float:
    """Number of eigenvalues above 1/20 of the largest eigenvalue (Fukunaga and Olsen 1971)."""
    if not eigenvalues[-1] > 0:
        return float("nan")
    return float((eigenvalues > LPCA_SHARE * eigenvalues[-1]).sum())


def participation_ratio_debiased(eigenvalues: Floats, fourth: float, n_points: int) -> float:
    """Participation ratio, corrected for the bias of small samples (Chun et al. 2026, γ_row).

    U-statistics over distinct points are unbiased estimates of (tr Σ)² and tr Σ², where Σ is the
    covariance (Himeno and Yamada 2014, eq. 1.2).

    Parameters
    ----------
    eigenvalues : ndarray, shape (n_features,)
        Eigenvalues of the scatter matrix.
    fourth : float
        Σ ‖x - mean‖⁴.
    n_points : int

    Returns
    -------
    float
        NaN for fewer than four points, or if the estimate of tr Σ² is not positive.
    """
    n = n_points
    if n < 4:
        return float("nan")
    trace, squares = eigenvalues.sum() / (n - 1), (eigenvalues**2).sum() / (n - 1) ** 2
    quartic = n * fourth / (n - 1)
    above = 2 * squares + (n**2 - 3 * n + 1) * trace**2 - quartic
    below = (n - 1) * (n - 2) * squares + trace**2 - quartic
    return float(above / below) if below > 0 else float("nan")


def mean_cosine(points: ArrayLike) -> float:
    """Mean cosine similarity over all ordered pairs of distinct, uncentred points.

    Parameters
    ----------
    points : array_like, shape (n_points, n_features)
        A point of norm zero has no direction; its cosines count as zero.

    Returns
    -------
    float
        Between -1/(n_points - 1) and 1; NaN for fewer than two points. Ethayarajh 2019 uses this
        mean to measure how narrow the cone of token vectors is.

    Examples
    --------
    >>> import shapesweep
    >>> shapesweep.mean_cosine([[1.0, 0.0], [0.0, 2.0]])
    0.0
    """
    unit = directions(np.asarray(points, dtype=np.float64))
    return mean_of_pairs(unit.sum(axis=0), int(unit.any(axis=1).sum()), len(unit))


def mean_of_pairs(direction_sum: Floats, n_directions: int, n_points: int) -> float:
    """Mean inner product over ordered pairs of distinct directions, from `direction_sum`.

    Parameters
    ----------
    direction_sum : ndarray, shape (n_features,)
        Sum of `moments.directions` over all points.
    n_directions : int
        Number of nonzero points.
    n_points : int
    """
    if n_points < 2:
        return float("nan")
    pairs = n_points * (n_points - 1)
    return float((direction_sum @ direction_sum - n_directions) / pairs)
