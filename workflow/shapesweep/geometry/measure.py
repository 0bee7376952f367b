"""Measure all metrics of a layer's tokens, with standard errors and replicates.

All metrics of a cloud share one covariance and one neighbour search. Selections that contain
exactly the same tokens are measured only once.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shapesweep.estimators import linearity, spectrum
from shapesweep.estimators.cloud import Cloud, clouds
from shapesweep.estimators.moments import Moments
from shapesweep.geometry import samples
from shapesweep.geometry.layer import Layer, Number
from shapesweep.metrics import METRICS, CloudMetric, Metric, NeighborMetric, PairMetric

#: Random seed of the permutation from which the N points of every cloud are taken.
PERMUTATION_SEED = 0


def measure_layer(
    layer: Layer,
    n_points: int | None,
    metrics: Mapping[str, Metric] = METRICS,
    before: Layer | None = None,
    partial: Mapping[str, Iterable[str]] | None = None,
    seed: int = PERMUTATION_SEED,
) -> dict[str, list[Number]]:
    """Measure every metric for every selection and subsample of a layer.

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
        The numbers of every selection and subsample, by its name.
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
    nearest = _of(NeighborMetric, metrics)
    drawn = samples.draw_samples(layer, masks_of(NeighborMetric), n_points, seed)
    pooled = np.unique(np.concatenate([np.empty(0, np.int64), *(s.rows for s in drawn.values())]))
    lists = samples.search(layer, pooled, nearest) if len(pooled) else None
    known: dict[tuple[bytes, str], list[Number]] = {}
    for key, mask in masks.items():
        numbers = [*_of_clouds(_of(CloudMetric, chosen[key]), layer, mask, moments.get(key))]
        if key in fits:
            numbers += _of_pairs(_of(PairMetric, chosen[key]), *fits[key])
        if key in drawn and lists is not None:
            requested = _of(NeighborMetric, chosen[key])
            found = samples.of_sample(requested, layer, lists, pooled, drawn[key])
            numbers += samples.flagged(found, requested, n_points)
        for number in numbers:
            known.setdefault((key, number.metric), []).append(number)
    measured = {
        selection: [x for n in wanted[selection] for x in known.get((mask.tobytes(), n), [])]
        for selection, mask in layer.selections.items()
    }
    measured |= samples.of_subsamples(layer, nearest, n_points)
    return {selection: list(map(_marked, numbers)) for selection, numbers in measured.items()}


def _marked(number: Number) -> Number:
    """Flag a number that is not defined, or that rests on one group of documents."""
    flags = [] if np.isfinite(number.value) else ["undefined"]
    flags += [] if number.without_group is None else ["one_group"]
    return replace(number, flags=(*number.flags, *flags)) if flags else number


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
            None if layer.first is None else layer.first[kept],
            layer.spacing.of_rows(kept),
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
