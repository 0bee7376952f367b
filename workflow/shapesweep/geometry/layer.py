"""Measure a layer: every metric of its tokens, with N, standard error and replicates.

One covariance and one neighbour search serve all metrics of a cloud, and selections with equal
tokens are measured once.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapesweep import neighbors
from shapesweep.estimators import jackknife, linearity, spectrum
from shapesweep.estimators.cloud import clouds
from shapesweep.estimators.moments import Moments, norms
from shapesweep.metrics import METRICS, CloudMetric, Metric, NeighborMetric, PairMetric
from shapesweep.neighbors import sample

#: Neighbours to find beyond the maximum that a metric needs, so that enough remain without a group
#: of documents.
SPARE = 32
#: A distance of fewer units in the last place is mostly rounding, because a state is a sum over
#: features and blocks. A layer with more than this share of such points is flagged.
ROUNDING, ROUNDING_SHARE = 32, 0.01
#: Random seed of the permutation from which the N points of every cloud are taken.
PERMUTATION_SEED = 0


@dataclass(frozen=True, eq=False)
class Layer:
    """The tokens of a layer.

    Attributes
    ----------
    points : ndarray, shape (n_tokens, n_features), float32 or float64
    documents : ndarray of int, shape (n_tokens,)
    groups : ndarray of int, shape (n_tokens,)
        Groups of documents that the jackknife leaves out.
    contexts : ndarray of int, shape (n_tokens,), or None
        Tokens with equal contexts are repeated points, even if rounding makes them differ.
    selections : dict of ndarray of bool
        Which tokens are kept, by name of the selection.
    massive : ndarray of bool, shape (n_tokens,)
    epsilon : float or None
        Relative spacing of the numbers, if it is coarser than that of their dtype.
    axes : dict
        Eigenvalues and axes by selection (bytes of its mask), after the layer was measured; fits of
        the next layer use them.
    """

    points: NDArray[np.floating]
    documents: NDArray[np.integer]
    groups: NDArray[np.integer]
    contexts: NDArray[np.integer] | None
    selections: Mapping[str, NDArray[np.bool_]]
    massive: NDArray[np.bool_]
    epsilon: float | None = None
    axes: dict[bytes, tuple[NDArray[np.float64], NDArray[np.float64]]] = field(default_factory=dict)

    @property
    def n_groups(self) -> int:
        """Groups of documents."""
        return int(self.groups.max(initial=0)) + 1


@dataclass(frozen=True)
class Number:
    """The value of a metric for a selection, with its standard error.

    Attributes
    ----------
    metric : str
    version : int
    value : float
    replicates : list of float
        Without each group of documents.
    n_points, n_duplicates : int
        Points that were used, and repeated points that were removed.
    k : int or None
        Number of neighbours.
    radius : float or None
        Mean distance to the k-th neighbour.
    model_stderr : float or None
        Standard error from the likelihood of the estimator.
    flags : tuple of str
    """

    metric: str
    version: int
    value: float
    replicates: list[float]
    n_points: int
    n_duplicates: int = 0
    k: int | None = None
    radius: float | None = None
    model_stderr: float | None = None
    flags: tuple[str, ...] = ()

    @property
    def stderr(self) -> float:
        """Standard error by the jackknife over groups of documents."""
        return float(jackknife.stderr(self.replicates))


def measure_layer(
    layer: Layer,
    n_points: int | None,
    metrics: Mapping[str, Metric] = METRICS,
    before: Layer | None = None,
    partial: Mapping[str, Iterable[str]] | None = None,
    seed: int = PERMUTATION_SEED,
) -> dict[str, list[Number]]:
    """Measure every metric of every selection of a layer.

    Parameters
    ----------
    layer : Layer
    n_points : int or None
        N of every ID estimate, after repeated points are removed; None for all.
    metrics : mapping of str to Metric
    before : Layer, optional
        The previous layer, already measured; metrics of pairs of layers need it.
    partial : mapping of str to iterable of str, optional
        Metrics of the selections for which only some are measured.
    seed : int
        Random seed of the permutation from which the N points are taken.

    Returns
    -------
    dict of list of Number
        By name of the selection.

    """
    named = {name: set(few) for name, few in (partial or {}).items()}
    wanted = {
        name: {n: m for n, m in metrics.items() if n in named.get(name, metrics)}
        for name in layer.selections
    }

    def masks(kind: type[Metric]) -> dict[bytes, NDArray[np.bool_]]:
        """Masks of the selections with metrics of a kind."""
        every = layer.selections.items()
        return {mask.tobytes(): mask for name, mask in every if _of(kind, wanted[name])}

    many = {key: mask for key, mask in masks(CloudMetric).items() if mask.sum() > 1}
    moments = dict(zip(many, Moments.of_each(layer.points, list(many.values())), strict=True))
    fits = _fits(layer, before, masks(PairMetric))
    samples = _samples(layer, masks(NeighborMetric), n_points, seed)
    pooled = _pooled(samples)
    lists = _search(layer, pooled, metrics) if len(pooled) else []
    known: dict[tuple[bytes, str], list[Number]] = {}
    numbers_by_selection = {}
    for selection, mask in layer.selections.items():
        key = mask.tobytes()
        new = {n: m for n, m in wanted[selection].items() if (key, n) not in known}
        numbers = list(_of_clouds(_of(CloudMetric, new), layer, mask, moments.get(key)))
        if key in fits:
            numbers += _of_pairs(_of(PairMetric, new), *fits[key])
        requested = _of(NeighborMetric, new)
        if requested:
            numbers += _of_neighbors(requested, layer, lists, pooled, samples[key], n_points)
        for number in numbers:
            known.setdefault((key, number.metric), []).append(number)
        numbers_by_selection[selection] = [
            number for n in wanted[selection] for number in known.get((key, n), [])
        ]
    return numbers_by_selection


def _of(kind: type[Any], metrics: Mapping[str, Metric]) -> dict[str, Any]:
    return {name: metric for name, metric in metrics.items() if isinstance(metric, kind)}


def _flagged(number: Number) -> Number:
    if np.isfinite(number.value):
        return number
    return replace(number, flags=(*number.flags, "undefined"))


def _of_clouds(
    metrics: dict[str, CloudMetric],
    layer: Layer,
    kept: NDArray[np.bool_],
    moments: Moments | None,
) -> Iterator[Number]:
    n_points, nothing = int(kept.sum()), float("nan")
    if not metrics:
        return
    if n_points < 2:
        for name, metric in metrics.items():
            replicates = [nothing] * layer.n_groups
            yield _flagged(Number(name, metric.version, nothing, replicates, n_points))
        return
    whole, axes, without = clouds(
        layer.points[kept],
        layer.groups[kept],
        layer.n_groups,
        layer.massive[kept],
        layer.epsilon,
        moments,
    )
    layer.axes[kept.tobytes()] = whole.eigenvalues, axes
    parts = [
        {n: m.compute(part) if part.n_points > 1 else nothing for n, m in metrics.items()}
        for part in without
    ]
    for name, metric in metrics.items():
        capped = metric.capped and n_points < layer.points.shape[1]
        flags: tuple[str, ...] = ("undersampled",) if capped else ()
        replicates = [part[name] for part in parts]
        value = metric.compute(whole)
        yield _flagged(Number(name, metric.version, value, replicates, n_points, flags=flags))


def _fits(
    layer: Layer, before: Layer | None, masks: Mapping[bytes, NDArray[np.bool_]]
) -> dict[bytes, tuple[linearity.Fit, list[linearity.Fit]]]:
    """Fits to the previous layer, by selection; similar selections share most of a fit."""
    fits: dict[bytes, tuple[linearity.Fit, list[linearity.Fit]]] = {}
    if before is None:
        return fits
    beside = linearity.Pairs(before.points, layer.points, layer.groups)
    for key in sorted(masks, key=lambda key: int(masks[key].sum())):
        core = masks[key]
        if key in fits or not core.any():
            continue
        if key not in before.axes:
            # Other tokens are massive in the previous layer.
            before.axes[key] = spectrum.eigh(Moments.of(before.points[core]).scatter)
        eigenvalues, axes = before.axes[key]
        more = {
            other: mask & ~core
            for other, mask in masks.items()
            if other not in fits and not (core & ~mask).any() and (eigenvalues > 0).all()
        }
        few = {other: more[other] for other in more if 0 < more[other].sum() < len(eigenvalues)}
        further = [beside.of(mask) for mask in few.values()]
        found = linearity.fits_with(beside.of(core), eigenvalues, axes, layer.n_groups, further)
        fits |= dict(zip([key, *few], found, strict=True))
    return fits


def _of_pairs(
    metrics: dict[str, PairMetric], fit: linearity.Fit, without: list[linearity.Fit]
) -> Iterator[Number]:
    # With twice as many tokens as coefficients, the residuals have as many degrees of freedom.
    flags = ("undersampled",) if fit.n_points < 2 * (fit.n_features + 1) else ()
    for name, metric in metrics.items():
        replicates = [metric.compute(replicate) for replicate in without]
        number = Number(name, metric.version, metric.compute(fit), replicates, fit.n_points)
        yield _flagged(replace(number, flags=flags))


@dataclass(frozen=True, eq=False)
class _Sample:
    """Different tokens of a selection, in the order of the permutation."""

    rows: NDArray[np.int64]
    n_duplicates: int


def _samples(
    layer: Layer, masks: Mapping[bytes, NDArray[np.bool_]], n_points: int | None, seed: int
) -> dict[bytes, _Sample]:
    """For every selection, the first N different rows in the order of the permutation."""
    permutation = np.random.default_rng(seed).permutation(len(layer.points))
    samples = {}
    for key, mask in masks.items():
        shuffled = permutation[mask[permutation]]
        contexts = None if layer.contexts is None else layer.contexts[shuffled]
        unique = neighbors.unique_rows(layer.points[shuffled], contexts)
        rows = shuffled[unique[:n_points]]
        samples[key] = _Sample(rows, len(shuffled) - len(unique))
    return samples


def _search(
    layer: Layer, pooled: NDArray[np.int64], metrics: Mapping[str, Metric]
) -> list[neighbors.NeighborLists]:
    """Neighbours within the union of all samples, which overlap almost entirely."""
    requested = [(max(m.k), m.between) for m in _of(NeighborMetric, metrics).values()]
    most = max(k for k, _ in requested)
    between = layer.documents[pooled] if any(between for _, between in requested) else None
    spare = SPARE if layer.n_groups > 1 else 0
    return neighbors.search(layer.points[pooled], most + spare, most, between)


def _pooled(samples: dict[bytes, _Sample]) -> NDArray[np.int64]:
    rows = [taken.rows for taken in samples.values()]
    return np.unique(np.concatenate(rows)) if rows else np.empty(0, dtype=np.int64)


def _of_neighbors(
    metrics: dict[str, NeighborMetric],
    layer: Layer,
    lists: list[neighbors.NeighborLists],
    pooled: NDArray[np.int64],
    drawn: _Sample,
    n_points: int | None,
) -> Iterator[Number]:
    """Every metric of nearest neighbours of a sample, with its replicates."""
    documents, groups = layer.documents[pooled], layer.groups[pooled]
    flags: tuple[str, ...] = (
        ("shortfall",) if n_points is not None and len(drawn.rows) < n_points else ()
    )
    flags += ("rounding",) if _is_rounded(layer, lists[0], np.isin(pooled, drawn.rows)) else ()
    # Metrics of the same neighbours share them, up to the largest k.
    views: dict[tuple[bool, int], list[str]] = {}
    for name, metric in metrics.items():
        views.setdefault((metric.between, metric.fraction), []).append(name)
    measured: dict[tuple[str, int], Number] = {}
    for (between, fraction), names in views.items():
        sampled = np.isin(pooled, drawn.rows[: max(1, len(drawn.rows) // fraction)])
        most = max(max(metrics[name].k) for name in names)
        whole, without = sample.neighbors(
            lists[between], most, sampled, documents, groups, layer.n_groups
        )
        requested = [(name, k) for name in names for k in metrics[name].k]
        parts = [
            {(name, k): metrics[name].compute(part.nearest(k)) for name, k in requested}
            for part in without
        ]
        for name, k in requested:
            metric, near = metrics[name], whole.nearest(k)
            value, n = metric.compute(near), int(sampled.sum())
            few = metric.is_dimension and value > 2 * np.log10(max(n, 1))
            measured[name, k] = Number(
                name,
                metric.version,
                value,
                [part[name, k] for part in parts],
                n,
                drawn.n_duplicates,
                k,
                _mean_finite(near.distances[:, -1]),
                metric.model_stderr(near) if metric.model_stderr else None,
                (*flags, "undersampled") if few else flags,
            )
    yield from (_flagged(measured[name, k]) for name in metrics for k in metrics[name].k)


def _is_rounded(layer: Layer, lists: neighbors.NeighborLists, sampled: NDArray[np.bool_]) -> bool:
    """Whether distances to nearest neighbours are at the resolution of the numbers."""
    if not sampled.any():
        return False
    nearest, _ = lists.nearest(1, sampled)
    epsilon = layer.epsilon or np.finfo(layer.points.dtype).eps
    resolution = epsilon * norms(lists.space.points[sampled])
    return bool((nearest[:, 0] < ROUNDING * resolution).mean() > ROUNDING_SHARE)


def _mean_finite(distances: NDArray[np.float64]) -> float | None:
    finite = distances[np.isfinite(distances)]
    return float(finite.mean()) if len(finite) else None
