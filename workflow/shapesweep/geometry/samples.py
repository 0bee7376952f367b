"""Measure nearest-neighbour metrics of samples of tokens, with replicates and flags.

A sample contains N distinct tokens. The samples of all selections share one neighbour search.
Subsamples are searched separately, because they contain far fewer tokens.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shapesweep import neighbors
from shapesweep.estimators.moments import blocks
from shapesweep.geometry.layer import Layer, Number
from shapesweep.metrics import NeighborMetric
from shapesweep.neighbors import sample
from shapesweep.storage.selections import LEAST, SUBSAMPLES

#: Number of neighbours that are found in addition to the largest k of all metrics, so that enough
#: neighbours remain when a group of documents is left out.
SPARE = 32
#: A distance is at the resolution of the values if it is below `ROUNDING` times the spacing of
#: floats. Such a distance is mostly rounding error, because a state is a sum of many rounded terms.
#: In small language models, 99 % of the states have errors of less than 12 spacings, in float32 and
#: in bfloat16.
ROUNDING = 32
#: A distance is also at the resolution of the values if it is below `STEPS` times the step of a
#: grid. Values on a grid are rounded only once. Rounding adds step²/6 per feature to a squared
#: distance, which is 1 % of the square of `STEPS` steps per feature.
STEPS = 4
#: Maximum share of points whose nearest neighbour is at the resolution of the values.
ROUNDING_SHARE = 0.01


@dataclass(frozen=True)
class Sample:
    """Distinct tokens, in random order.

    Attributes
    ----------
    rows : ndarray of int, shape (n_points,)
        Rows of the layer.
    n_duplicates : int
        Number of repeated points that were removed.
    """

    rows: NDArray[np.int64]
    n_duplicates: int


def draw_samples(
    layer: Layer, masks: Mapping[bytes, NDArray[np.bool_]], n_points: int | None, seed: int
) -> dict[bytes, Sample]:
    """For every selection, return the first N distinct rows in the order of the permutation."""
    permutation = np.random.default_rng(seed).permutation(len(layer.points))
    found = {key: _distinct(layer, permutation[mask[permutation]]) for key, mask in masks.items()}
    return {key: replace(each, rows=each.rows[:n_points]) for key, each in found.items()}


def search(
    layer: Layer, pooled: NDArray[np.int64], metrics: Mapping[str, NeighborMetric]
) -> neighbors.NeighborLists:
    """Find neighbours once, in the union of all samples, because the samples overlap strongly."""
    most = max(k for metric in metrics.values() for k in metric.k)
    spare = SPARE if layer.n_groups > 1 else 0
    return neighbors.search(layer.points[pooled], most + spare, most)


def of_sample(
    metrics: Mapping[str, NeighborMetric],
    layer: Layer,
    lists: neighbors.NeighborLists,
    pooled: NDArray[np.int64],
    drawn: Sample,
) -> list[Number]:
    """Return all nearest-neighbour metrics of a sample, each with its replicates.

    Parameters
    ----------
    metrics : mapping of str to NeighborMetric
    layer : Layer
    lists : NeighborLists
        Neighbours of the points in `pooled`.
    pooled : ndarray of int
        Rows of the layer, ascending; they include the rows of the sample.
    drawn : Sample
    """
    labels = {name: values[pooled] for name, values in layer.labels.items()}
    groups = layer.groups[pooled]
    flags = ("rounding",) if _is_rounded(layer, lists, pooled, np.isin(pooled, drawn.rows)) else ()
    found: dict[str, list[Number]] = {}
    # Metrics of the same points share one list of neighbours.
    for fraction in dict.fromkeys(metric.fraction for metric in metrics.values()):
        requested = {name: m for name, m in metrics.items() if m.fraction == fraction}
        sampled = np.isin(pooled, drawn.rows[: max(1, len(drawn.rows) // fraction)])
        whole, without = sample.neighbors(
            lists,
            max(k for metric in requested.values() for k in metric.k),
            sampled,
            labels,
            groups,
            layer.n_groups,
        )
        parts = [_computed(requested, part) for part in without]
        values = _computed(requested, whole)
        near: dict[int, sample.Neighbors] = {}
        for name, k in values:
            near[k] = near[k] if k in near else whole.nearest(k)
            distances = near[k].distances[:, -1]
            finite = distances[np.isfinite(distances)]
            model_stderr = requested[name].model_stderr
            number = Number(
                name,
                values[name, k],
                [part[name, k] for part in parts],
                int(sampled.sum()),
                drawn.n_duplicates,
                k,
                float(finite.mean()) if len(finite) else None,
                model_stderr(near[k]) if model_stderr else None,
                flags,
            )
            found.setdefault(name, []).append(number)
    return [number for name in metrics for number in found[name]]


def _computed(
    metrics: Mapping[str, NeighborMetric], neighbors: sample.Neighbors
) -> dict[tuple[str, int], float]:
    """Compute every metric for each of its numbers of neighbours."""
    near = {k: neighbors.nearest(k) for metric in metrics.values() for k in metric.k}
    return {
        (name, k): metric.compute(near[k]) for name, metric in metrics.items() for k in metric.k
    }


def flagged(
    numbers: Sequence[Number], metrics: Mapping[str, NeighborMetric], n_points: int | None = None
) -> Iterator[Number]:
    """Add flags to the numbers of a sample.

    - `shortfall`: the sample has fewer than `n_points` points.
    - `undersampled`: the dimension is too high for the number of points.
    - `poor_fit`: an effect size exceeds its limit or is undefined, so all dimensions of the sample
      are doubtful.
    """
    poor = any(
        (limit := metrics[number.metric].limit)
        # An effect size is undefined for points on a lattice, for example.
        and not number.value <= limit(number.n_points)
        # With too few points, an effect size is not defined for any cloud.
        and number.n_points > (number.k or 0)
        for number in numbers
    )
    short = n_points is not None and max((n.n_points for n in numbers), default=0) < n_points
    for number in numbers:
        flags = [*(["shortfall"] if short else []), *number.flags]
        if metrics[number.metric].is_dimension:
            few = number.value > 2 * np.log10(max(number.n_points, 1))
            flags += ["undersampled"] if few else []
            flags += ["poor_fit"] if poor else []
        yield replace(number, flags=tuple(flags))


def of_subsamples(
    layer: Layer, metrics: Mapping[str, NeighborMetric], most: int | None
) -> dict[str, list[Number]]:
    """Measure pairs of subsamples with the same number of points; average over the draws.

    Parameters
    ----------
    layer : Layer
    metrics : mapping of str to NeighborMetric
    most : int or None
        Maximum number of points.

    Returns
    -------
    dict of list of Number
        The numbers of every subsample, by its name. A pair is absent if it has too few distinct
        points.
    """
    metrics = {name: metric for name, metric in metrics.items() if metric.of_subsamples}
    found: dict[str, list[Number]] = {}
    for pair in SUBSAMPLES.items():
        drawn = {
            name: [_distinct(layer, rows) for rows in layer.draws.get(name, [])] for name in pair
        }
        sizes = [len(each.rows) for draws in drawn.values() for each in draws]
        n_points = min([*sizes, most or sys.maxsize])
        if not (metrics and all(drawn.values())) or n_points < LEAST[pair[0]]:
            continue
        for name, draws in drawn.items():
            numbers = []
            for each in draws:
                cut = replace(each, rows=each.rows[:n_points])
                pooled = np.sort(cut.rows)
                lists = search(layer, pooled, metrics)
                numbers.append(of_sample(metrics, layer, lists, pooled, cut))
            means = [_mean(same) for same in zip(*numbers, strict=True)]
            found[name] = list(flagged(means, metrics))
    return found


def _distinct(layer: Layer, rows: NDArray[np.int64]) -> Sample:
    """Return a sample of some rows without repeated points."""
    contexts = None if layer.contexts is None else layer.contexts[rows]
    unique = neighbors.unique_rows(layer.points[rows], contexts)
    return Sample(rows[unique], len(rows) - len(unique))


def _mean(draws: Sequence[Number]) -> Number:
    """Average the same number of several draws, and its replicates."""

    def mean(name: str) -> float | None:
        values = [getattr(number, name) for number in draws]
        return None if None in values else float(np.mean(values))

    return replace(
        draws[0],
        value=float(np.mean([number.value for number in draws])),
        replicates=np.mean([number.replicates for number in draws], axis=0).tolist(),
        n_duplicates=max(number.n_duplicates for number in draws),
        radius=mean("radius"),
        model_stderr=mean("model_stderr"),
        flags=tuple(dict.fromkeys(flag for number in draws for flag in number.flags)),
    )


def _is_rounded(
    layer: Layer,
    lists: neighbors.NeighborLists,
    pooled: NDArray[np.int64],
    sampled: NDArray[np.bool_],
) -> bool:
    """Whether too many nearest-neighbour distances are at the resolution of the values."""
    if not sampled.any():
        return False
    nearest, indices = (table[:, 0] for table in lists.nearest(1, sampled))
    rows, others, scale = pooled[sampled], pooled[indices], lists.space.scale
    bounds = layer.spacing.of_rows(rows).bounds(layer.points[rows], ROUNDING, STEPS)
    near, n_rounded = np.flatnonzero(nearest < bounds), 0
    for part in blocks(len(near)):
        own, other = rows[near[part]], others[near[part]]
        points = layer.points[own]
        limits = layer.spacing.of_rows(own).limits(points, ROUNDING, STEPS) / scale
        # Features in which both points are equal do not change the distance.
        limits[points == layer.points[other]] = 0
        squares = np.einsum("ij,ij->i", limits, limits)
        n_rounded += int((nearest[near[part]] / scale < np.sqrt(squares)).sum())
    return n_rounded > ROUNDING_SHARE * len(rows)
