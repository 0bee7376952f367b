"""Describe a curve as a succession of rises and falls that exceed its noise.

Means of a curve over two windows are compared for all pairs of windows. A pair counts if its
difference exceeds a limit. In a constant curve, the probability that all differences stay below
their limits is 97.5 %. All statements on a curve therefore hold at once, whatever the shape of the
curve (the idea of Dümbgen and Spokoiny 2001). If the means of successive windows rise and fall in
turn, the true curve has a turning point in each of the inner windows.
"""

import functools
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from scipy import special

from shapesweep.estimators import jackknife
from shapesweep.estimators.arrays import Floats, Ints

#: Numbers of successive values in a window.
WIDTHS = (1, 2, 3, 4, 6, 8)
#: Share of the squared residuals from which the noise is estimated, starting with the smallest.
#: The largest residuals are those of the curve's turning points.
USED_RESIDUALS = 0.75
#: Probability that a curve without rises and falls gets no rise and no fall.
LEVEL = 0.975
#: Number of simulated curves from which the limit is computed.
SIMULATIONS = 4000
#: Random seed of the simulation; it is fixed, so that equal curves get equal results.
SEED = 0


@dataclass(frozen=True)
class Move:
    """A rise or a fall of a curve.

    Attributes
    ----------
    kind : {"rise", "fall"}
    start, stop : int
        Indices of the values at which the move begins and ends.
    size : float
        Absolute difference between these two values.
    low, high : float
        Interval for the size of the true move. `low` is above zero, because only such moves count.
    """

    kind: Literal["rise", "fall"]
    start: int
    stop: int
    size: float
    low: float
    high: float


@dataclass(frozen=True)
class Course:
    """The description of a curve.

    Attributes
    ----------
    moves : list of Move
        The longest succession of rises and falls in turn; empty if nothing exceeds the noise.
    noise : float
        Standard deviation of the noise of training.
    resolution : float
        The largest limit of all pairs of single values: a rise or a fall by more than this
        difference is always found. A smaller rise or fall may be missed.
    """

    moves: list[Move]
    noise: float
    resolution: float


class _Pairs(NamedTuple):
    """All pairs of windows of a curve with n values."""

    #: Numbers of the windows, shape (n_pairs,).
    before: Ints
    after: Ints
    #: First and last index of every window, shape (n_windows,).
    first: Ints
    last: Ints
    #: Weights of a curve's values, so that the product is the difference; shape (n_pairs, n).
    weights: Floats
    #: Standard deviation of the difference if each value has the standard deviation 1.
    scale: Floats


def describe(
    values: Floats,
    x: Floats,
    replicates: Floats | None = None,
    known_noise: float | None = None,
    freedom: int = 0,
) -> Course:
    """Find the rises and falls of a curve that exceed its noise.

    Parameters
    ----------
    values : ndarray of float64, shape (n,), n >= 3
    x : ndarray of float64, shape (n,), increasing
        Positions of the values, on a scale on which the curve is smooth, such as log(1 + step).
    replicates : ndarray of float64, shape (n_groups, n), optional
        The curve without each group of documents. Every difference must also exceed its moderated
        jackknife error, times a quantile of Student's t.
    known_noise : float, optional
        Standard deviation of a value between training runs that differ only by seed. If it is not
        given, the function `noise` estimates the noise of training from the curve.
    freedom : int
        Degrees of freedom of `known_noise`.

    Returns
    -------
    Course

    Notes
    -----
    The noise of training is assumed to be independent and equally large for all values. The noise
    of documents may be shared between values. The part that is not shared also affects the estimate
    of the noise of training, so a difference has to exceed the larger of both limits, and not their
    sum.
    """
    pairs = _pairs(len(values))
    scale = float(noise(values, x)) if known_noise is None else known_noise
    factor = _factor(tuple(x.tolist()), freedom if known_noise is not None else 0)
    # Without noise, differences still have rounding errors.
    rounding = 8 * np.finfo(np.float64).eps * float(np.abs(values).max())
    limits = np.maximum(factor * scale * pairs.scale, rounding)
    if replicates is not None and len(replicates) > 1:
        # In simulated noise of documents, all differences are no more than half as many independent
        # tests as there are pairs, so this two-sided limit holds the level.
        own = jackknife.stderr(replicates @ pairs.weights.T) / pairs.scale
        errors, degrees = jackknife.moderated(own, len(replicates))
        tail = (1 - LEVEL) / len(pairs.weights)
        limits = np.maximum(limits, special.stdtrit(degrees, 1 - tail) * errors * pairs.scale)
    single = (pairs.first == pairs.last)[pairs.before] & (pairs.first == pairs.last)[pairs.after]
    resolution = float(limits[single].max())
    differences = pairs.weights @ values
    windows = _longest(pairs, differences, limits)
    if not windows:
        return Course([], scale, resolution)
    sign = 1 if differences[windows[0]] > 0 else -1
    turns = _turns(values, pairs, windows, sign)
    found = []
    for number, pair in enumerate(windows):
        start, stop = turns[number], turns[number + 1]
        up = sign * (-1) ** number
        size = float(up * (values[stop] - values[start]))
        low, high = _interval(pairs, up * differences, limits, pair, start, stop)
        kind: Literal["rise", "fall"] = "rise" if up > 0 else "fall"
        found.append(Move(kind, start, stop, size, min(low, size), size + high))
    return Course(found, scale, resolution)


def noise(values: Floats, x: Floats) -> Floats:
    """Estimate noise from the distance of each value to the line through its two neighbours.

    The residuals are those of Gasser, Sroka and Jennen-Steinmetz 1986 (eq. 2). The largest quarter
    is left out, because these residuals contain the turning points of the curve. Curvature counts
    as noise; noise that neighbouring values share does not count.

    Parameters
    ----------
    values : ndarray of float64, shape (..., n)
    x : ndarray of float64, shape (n,), increasing
        Positions of the values.

    Returns
    -------
    ndarray of float64, shape (...)
        Standard deviation of the noise. It is too low for independent noise, because the largest
        residuals are left out; `moves` uses the same estimate for simulated curves.
    """
    widths = x[2:] - x[:-2]
    before, behind = (x[2:] - x[1:-1]) / widths, (x[1:-1] - x[:-2]) / widths
    residuals = before * values[..., :-2] + behind * values[..., 2:] - values[..., 1:-1]
    squares = np.sort(residuals**2 / (1 + before**2 + behind**2), axis=-1)
    used = int(np.ceil(USED_RESIDUALS * squares.shape[-1]))
    return np.sqrt(squares[..., :used].mean(axis=-1))


def thinned(x: Floats, most: int) -> Ints:
    """Choose evenly spaced values of a curve, including both ends.

    Values that are very close together share their noise, which a test would mistake for a shape.

    Parameters
    ----------
    x : ndarray of float64, shape (n,), increasing
        Positions of the values.
    most : int
        Maximum number of chosen values.

    Returns
    -------
    ndarray of int64, at most `most`, increasing
        Indices of the chosen values.
    """
    if len(x) <= most:
        return np.arange(len(x))
    even = np.linspace(x[0], x[-1], most)
    return np.unique(np.abs(x[:, None] - even).argmin(axis=0))


@functools.lru_cache(maxsize=64)
def _pairs(n: int) -> _Pairs:
    windows = [(start, width) for start in range(n) for width in WIDTHS if start + width <= n]
    first = np.array([start for start, _ in windows])
    widths = np.array([width for _, width in windows])
    last = first + widths - 1
    before, after = np.nonzero(last[:, None] < first)
    means = ((np.arange(n) >= first[:, None]) & (np.arange(n) <= last[:, None])) / widths[:, None]
    scale = np.sqrt(1 / widths[before] + 1 / widths[after])
    return _Pairs(before, after, first, last, means[after] - means[before], scale)


@functools.lru_cache(maxsize=64)
def _factor(x: tuple[float, ...], freedom: int) -> float:
    """Return the limit of a difference, in units of its estimated standard deviation."""
    pairs, n = _pairs(len(x)), len(x)
    rng = np.random.default_rng(SEED)
    curves = rng.standard_normal((SIMULATIONS, n))
    scaled = (pairs.weights / pairs.scale[:, None]).T
    # The products of all curves at once would need hundreds of megabytes.
    largest = np.concatenate(
        [np.abs(part @ scaled).max(axis=1) for part in np.array_split(curves, 16)]
    )
    if freedom:
        spreads = np.sqrt(rng.chisquare(freedom, SIMULATIONS) / freedom)
    else:
        spreads = noise(curves, np.array(x))
    return float(np.quantile(largest / spreads, LEVEL))


def _longest(pairs: _Pairs, differences: Floats, limits: Floats) -> list[int]:
    """Return the pairs of the longest succession of windows whose means rise and fall in turn.

    Each window is the second window of one pair and the first window of the next pair. Among
    successions of equal length, the result has the largest sum of differences minus limits.
    """
    room = np.abs(differences) - limits
    chosen = np.flatnonzero(room > 0)
    # The pairs are sorted by the second window's start, so all shorter successions that end there
    # are known when a pair is added.
    chosen = chosen[np.argsort(pairs.first[pairs.after[chosen]], kind="stable")]
    best: dict[tuple[int, bool], tuple[int, float, int]] = {}
    previous: dict[int, int] = {}
    for pair in chosen.tolist():
        rises = bool(differences[pair] > 0)
        length, total, last = best.get((int(pairs.before[pair]), not rises), (0, 0.0, -1))
        key, entry = (int(pairs.after[pair]), rises), (length + 1, total + float(room[pair]), pair)
        previous[pair] = last
        if entry > best.get(key, (0, 0.0, -1)):
            best[key] = entry
    if not best:
        return []
    path = [max(best.values())[2]]
    while previous[path[-1]] >= 0:
        path.append(previous[path[-1]])
    return path[::-1]


def _turns(values: Floats, pairs: _Pairs, path: list[int], sign: int) -> list[int]:
    """Return the indices at which the moves begin and end.

    The indices maximize the sum of the sizes of all moves. Each index lies between the two windows
    next to its own window.
    """
    windows = [int(pairs.before[path[0]]), *(int(pairs.after[pair]) for pair in path)]
    n, signed = len(values), []
    for number in range(len(windows)):
        low = int(pairs.last[windows[number - 1]]) + 1 if number else 0
        high = int(pairs.first[windows[number + 1]]) if number + 1 < len(windows) else n
        inside = (np.arange(n) >= low) & (np.arange(n) < high)
        # The first value is a valley if the first move is a rise. Inner values count twice, because
        # two moves share them; this does not change the order of the sums.
        direction = -sign * (-1) ** number
        weight = 1 if number in (0, len(windows) - 1) else 2
        signed.append(np.where(inside, weight * direction * values, -np.inf))
    # best[i]: the largest sum if the current index is i; `came` contains the previous indices.
    best, came = signed[0], []
    for following in signed[1:]:
        running = np.maximum.accumulate(best)
        at = np.maximum.accumulate(np.where(best == running, np.arange(n), 0))
        came.append(np.concatenate([[0], at[:-1]]))
        best = following + np.concatenate([[-np.inf], running[:-1]])
    turns = [int(best.argmax())]
    for previous in reversed(came):
        turns.append(int(previous[turns[-1]]))
    return turns[::-1]


def _interval(
    pairs: _Pairs, differences: Floats, limits: Floats, pair: int, start: int, stop: int
) -> tuple[float, float]:
    """Return the lower end of a move's interval, and the distance of the upper end from the size.

    The lower end is the highest lower limit of all pairs of windows within the move.
    """
    left = min(int(pairs.first[pairs.before[pair]]), start)
    right = max(int(pairs.last[pairs.after[pair]]), stop)
    within = (pairs.first[pairs.before] >= left) & (pairs.last[pairs.after] <= right)
    is_single = pairs.first == pairs.last
    single = (is_single & (pairs.first == start))[pairs.before]
    single &= (is_single & (pairs.first == stop))[pairs.after]
    return float((differences - limits)[within].max()), float(limits[single][0])
