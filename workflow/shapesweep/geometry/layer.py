"""Measure all metrics of a layer's tokens, with standard errors and replicates.

All metrics of a cloud share one covariance and one neighbour search. Selections that contain
exactly the same tokens are measured only once.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shapesweep import neighbors
from shapesweep.estimators import jackknife, linearity, spectrum
from shapesweep.estimators.cloud import Cloud, clouds
from shapesweep.estimators.moments import Moments, norms
from shapesweep.metrics import METRICS, CloudMetric, Metric, NeighborMetric, PairMetric
from shapesweep.neighbors import sample

#: Number of neighbours that are found in addition to the largest k of all metrics, so that enough
#: neighbours remain when a group of documents is left out.
SPARE = 32
#: A distance of fewer than `ROUNDING` units in the last place is mostly rounding error, because a
#: state is a sum of many rounded terms. A layer is flagged if the distance to the nearest neighbour
#: is mostly rounding error for more than `ROUNDING_SHARE` of its points.
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
        Jackknife group of every token.
    contexts : ndarray of int, shape (n_tokens,), or None
        Tokens with equal contexts count as repeated, even if rounding makes their states differ.
    selections : dict of ndarray of bool
        Mask of the tokens in each selection, by the name of the selection.
    massive : ndarray of bool, shape (n_tokens,)
    epsilon : float or None
        Relative spacing of the original numbers if it is coarser than that of the dtype, else None.
    axes : dict
        Eigenvalues and axes of every selection; the keys are the masks as bytes. `measure_layer`
        fills this attribute, and the fits of the next layer use it.
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
        """Number of groups of documents."""
        return int(self.groups.max(initial=0)) + 1


@dataclass(frozen=True)
class Number:
    """The value of a metric for a selection, with its standard error.

    Attributes
    ----------
    metric : str
    value : float
    replicates : list of float
        One value for each group of documents, measured without this group.
    n_points, n_duplicates : int
        Number of points that were used, and number of repeated points that were removed.
    k : int or None
        Number of neighbours.
    radius : float or None
        Mean distance to the k-th neighbour.
    model_stderr : float or None
        Standard error from the likelihood of the estimator.
    flags : tuple of str
    """

    metric: str
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
        """Jackknife standard error over groups of documents."""
        return float(jackknife.stderr(self.replicates))


def measure_layer(
    layer: Layer,
    n_points: int | None,
    metrics: Mapping[str, Metric] = METRICS,
    before: Layer | None = None,
    partial: Mapping[str, Iterable[str]] | None = None,
    seed: int = PERMUTATION_SEED,
) -> dict[str, list[Number]]:
    """Measure every metric for every selection of a layer.

    Parameters
    ----------
    layer : Layer
    n_points : int or None
        Number N of distinct points from which IDs are estimated; None for all distinct points.
    metrics : mapping of str to Metric
    before : Layer, optional
        The previous layer, already measured. Metrics of pairs of layers need this argument.
    partial : mapping of str to iterable of str, optional
        For selections on which only some metrics are measured: the names of these metrics.
    seed : int
        Random seed of the permutation from which the N points are taken.

    Returns
    -------
    dict of list of Number
        The numbers of every selection, by the selection's name.

    """
    few = {selection: set(names) for selection, names in (partial or {}).items()}
    wanted = {
        selection: {n: m for n, m in metrics.items() if n in few.get(selection, metrics)}
        for selection in layer.selections
    }
    masks = {mask.tobytes(): mask for mask in layer.selections.values()}
    chosen: dict[bytes, dict[str, Metric]] = {key: {} for key in masks}
    for selection, mask in layer.selections.items():
        chosen[mask.tobytes()] |= wanted[selection]

    def masks_of(kind: type[Metric]) -> dict[bytes, NDArray[np.bool_]]:
        """Return the masks of the selections on which metrics of this kind are measured."""
        return {key: mask for key, mask in masks.items() if _of(kind, chosen[key])}

    many = {key: mask for key, mask in masks_of(CloudMetric).items() if mask.sum() > 1}
    moments = dict(zip(many, Moments.of_each(layer.points, list(many.values())), strict=True))
    fits = _fits(layer, before, masks_of(PairMetric))
    samples = _samples(layer, masks_of(NeighborMetric), n_points, seed)
    pooled = np.unique(np.concatenate([np.empty(0, np.int64), *(s.rows for s in samples.values())]))
    lists = _search(layer, pooled, metrics) if len(pooled) else []
    known: dict[tuple[bytes, str], list[Number]] = {}
    for key, mask in masks.items():
        numbers = [*_of_clouds(_of(CloudMetric, chosen[key]), layer, mask, moments.get(key))]
        if key in fits:
            numbers += _of_pairs(_of(PairMetric, chosen[key]), *fits[key])
        if key in samples:
            requested = _of(NeighborMetric, chosen[key])
            numbers += _of_neighbors(requested, layer, lists, pooled, samples[key], n_points)
        for number in numbers:
            if not np.isfinite(number.value):
                number = replace(number, flags=(*number.flags, "undefined"))
            known.setdefault((key, number.metric), []).append(number)
    return {
        selection: [x for n in wanted[selection] for x in known.get((mask.tobytes(), n), [])]
        for selection, mask in layer.selections.items()
    }


def _of(kind: type[Any], metrics: Mapping[str, Metric]) -> dict[str, Any]:
    return {name: metric for name, metric in metrics.items() if isinstance(metric, kind)}


def _of_clouds(
    metrics: dict[str, CloudMetric], layer: Layer, kept: NDArray[np.bool_], moments: Moments | None
) -> Iterator[Number]:
    whole: Cloud | None = None
    without: Iterable[Cloud | None] = [None] * layer.n_groups
    if moments is not None:
        whole, axes, without = clouds(
            layer.points[kept],
            layer.groups[kept],
            layer.n_groups,
            layer.massive[kept],
            layer.epsilon,
            moments,
        )
        layer.axes[kept.tobytes()] = whole.eigenvalues, axes

    def value(metric: CloudMetric, cloud: Cloud | None) -> float:
        return metric.compute(cloud) if cloud and cloud.n_points > 1 else float("nan")

    n_points = int(kept.sum())
    parts = [{name: value(metric, part) for name, metric in metrics.items()} for part in without]
    for name, metric in metrics.items():
        capped = metric.capped and 1 < n_points < layer.points.shape[1]
        flags = ("undersampled",) if capped else ()
        replicates = [part[name] for part in parts]
        yield Number(name, value(metric, whole), replicates, n_points, flags=flags)


def _fits(
    layer: Layer, before: Layer | None, masks: Mapping[bytes, NDArray[np.bool_]]
) -> dict[bytes, tuple[linearity.Fit, list[linearity.Fit]]]:
    """For every selection, fit the layer to the previous layer.

    Similar selections share most of the computation.
    """
    fits: dict[bytes, tuple[linearity.Fit, list[linearity.Fit]]] = {}
    if before is None:
        return fits
    beside = linearity.Pairs(before.points, layer.points, layer.groups)
    for key in sorted(masks, key=lambda key: int(masks[key].sum())):
        core = masks[key]
        if key in fits or not core.any():
            continue
        if key not in before.axes:
            # If other tokens are massive in the previous layer, it has no axes for this mask.
            before.axes[key] = spectrum.eigh(Moments.of(before.points[core]).scatter)
        eigenvalues, axes = before.axes[key]
        larger = {
            other: mask
            for other, mask in masks.items()
            if other not in fits
            and (eigenvalues > 0).all()
            and not (core & ~mask).any()
            and 0 < (mask & ~core).sum() < len(eigenvalues)
        }
        further = [beside.of(mask & ~core) for mask in larger.values()]
        found = linearity.fits_with(beside.of(core), eigenvalues, axes, layer.n_groups, further)
        fits |= dict(zip([key, *larger], found, strict=True))
    return fits


def _of_pairs(
    metrics: dict[str, PairMetric], fit: linearity.Fit, without: list[linearity.Fit]
) -> Iterator[Number]:
    # With twice as many tokens as coefficients, the residuals have as many degrees of freedom as
    # the fit.
    flags = ("undersampled",) if fit.n_points < 2 * (fit.n_features + 1) else ()
    for name, metric in metrics.items():
        replicates = [metric.compute(each) for each in without]
        yield Number(name, metric.compute(fit), replicates, fit.n_points, flags=flags)


class _Sample(NamedTuple):
    """Distinct tokens of a selection, in the order of the permutation."""

    rows: NDArray[np.int64]
    n_duplicates: int


def _samples(
    layer: Layer, masks: Mapping[bytes, NDArray[np.bool_]], n_points: int | None, seed: int
) -> dict[bytes, _Sample]:
    """For every selection, return the first N distinct rows in the order of the permutation."""
    permutation = np.random.default_rng(seed).permutation(len(layer.points))
    samples = {}
    for key, mask in masks.items():
        shuffled = permutation[mask[permutation]]
        contexts = None if layer.contexts is None else layer.contexts[shuffled]
        unique = neighbors.unique_rows(layer.points[shuffled], contexts)
        samples[key] = _Sample(shuffled[unique[:n_points]], len(shuffled) - len(unique))
    return samples


def _search(
    layer: Layer, pooled: NDArray[np.int64], metrics: Mapping[str, Metric]
) -> list[neighbors.NeighborLists]:
    """Find neighbours once, in the union of all samples, because the samples overlap strongly."""
    requested = _of(NeighborMetric, metrics).values()
    most = max(k for metric in requested for k in metric.k)
    between = layer.documents[pooled] if any(metric.between for metric in requested) else None
    spare = SPARE if layer.n_groups > 1 else 0
    return neighbors.search(layer.points[pooled], most + spare, most, between)


def _of_neighbors(
    metrics: dict[str, NeighborMetric],
    layer: Layer,
    lists: list[neighbors.NeighborLists],
    pooled: NDArray[np.int64],
    drawn: _Sample,
    n_points: int | None,
) -> Iterator[Number]:
    """Yield all nearest-neighbour metrics of a sample, each with its replicates."""
    documents, groups = layer.documents[pooled], layer.groups[pooled]
    flags = ["shortfall"] if n_points is not None and len(drawn.rows) < n_points else []
    flags += ["rounding"] if _is_rounded(layer, lists[0], np.isin(pooled, drawn.rows)) else []
    # Metrics of the same points and the same kind of neighbours share one list of neighbours.
    views: dict[tuple[bool, int], list[tuple[str, int]]] = {}
    for name, metric in metrics.items():
        views.setdefault((metric.between, metric.fraction), []).extend((name, k) for k in metric.k)
    for (between, fraction), requested in views.items():
        sampled = np.isin(pooled, drawn.rows[: max(1, len(drawn.rows) // fraction)])
        most, n = max(k for _, k in requested), int(sampled.sum())
        whole, without = sample.neighbors(
            lists[between], most, sampled, documents, groups, layer.n_groups
        )
        parts = [
            {(name, k): metrics[name].compute(part.nearest(k)) for name, k in requested}
            for part in without
        ]
        for name, k in requested:
            metric, near = metrics[name], whole.nearest(k)
            value, distances = metric.compute(near), near.distances[:, -1]
            finite = distances[np.isfinite(distances)]
            few = metric.is_dimension and value > 2 * np.log10(max(n, 1))
            yield Number(
                name,
                value,
                [part[name, k] for part in parts],
                n,
                drawn.n_duplicates,
                k,
                float(finite.mean()) if len(finite) else None,
                metric.model_stderr(near) if metric.model_stderr else None,
                (*flags, "undersampled") if few else tuple(flags),
            )


def _is_rounded(layer: Layer, lists: neighbors.NeighborLists, sampled: NDArray[np.bool_]) -> bool:
    """Whether too many nearest-neighbour distances are dominated by rounding."""
    if not sampled.any():
        return False
    nearest, _ = lists.nearest(1, sampled)
    epsilon = layer.epsilon or np.finfo(layer.points.dtype).eps
    resolution = epsilon * norms(lists.space.points[sampled])
    return bool((nearest[:, 0] < ROUNDING * resolution).mean() > ROUNDING_SHARE)
