"""Metrics: one file each, named after the metric (see `docs/how-to/add-a-metric.md`).

In: all tokens of a selection (`Cloud`), the nearest neighbours of N of them (`Neighbors`), or the
fit to the previous layer (`Fit`). Out: a number.
Imported by: plan (versions), geometry, curves, report.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from shapesweep.estimators.cloud import Cloud
from shapesweep.estimators.linearity import Fit
from shapesweep.neighbors.sample import Neighbors
from shapesweep.plugins import discover

#: Suffix of the control of a metric: only neighbours of other documents.
BETWEEN = "_between"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """Attributes of every metric.

    Attributes
    ----------
    version : int
        Raise it when the numbers change; only then are they measured again.
    definition, source, it_is_not : str
        For the reference: what it is, who defined it, and what it does not mean.
    is_share : bool
        Whether it lies between 0 and 1 for every model size.
    sensitivity : bool
        Whether it is also measured on selections with other bounds for massive tokens.
    derived : bool
        Whether it is a function of another metric: `shapesweep measure` computes it, sweeps do not.
    dose : bool
        Whether it is also measured on shortened documents, because the weight of a sink depends on
        the number of tokens per document.
    """

    definition: str
    source: str
    it_is_not: str
    version: int = 1
    is_share: bool = False
    sensitivity: bool = False
    dose: bool = False
    derived: bool = False


@dataclass(frozen=True, kw_only=True)
class CloudMetric(Metric):
    """A number of all tokens of a selection.

    Attributes
    ----------
    compute : callable
        From a `Cloud` to a float; NaN if it is not defined.
    capped : bool
        Whether it cannot exceed the number of points; flagged with fewer points than features.
    """

    compute: Callable[[Cloud], float]
    capped: bool = False


@dataclass(frozen=True, kw_only=True)
class PairMetric(Metric):
    """A number of all tokens of a selection and the same tokens in the previous layer.

    Attributes
    ----------
    compute : callable
        From a `Fit` to a float; NaN if it is not defined.
    """

    compute: Callable[[Fit], float]


@dataclass(frozen=True, kw_only=True)
class NeighborMetric(Metric):
    """A number of the k nearest neighbours of N different tokens of a selection.

    Attributes
    ----------
    compute : callable
        From `Neighbors` to a float; NaN if it is not defined.
    k : tuple of int
        Numbers of neighbours, with a row for each; the `radius` of a row is the mean distance to
        the k-th neighbour.
    is_dimension : bool
        Whether it estimates a dimension; flagged if N is too small for the estimate.
    controlled : bool
        Whether it is also measured with only neighbours of other documents.
    between : bool
        Whether it is such a control.
    of_documents : bool
        Whether it is only meaningful for points that belong to documents.
    adjustable : bool
        Whether `shapesweep measure --k` sets its k.
    fraction : int
        It uses one in this many of the N points.
    model_stderr : callable or None
        From `Neighbors` to the standard error from the likelihood of the estimator.
    """

    compute: Callable[[Neighbors], float]
    k: tuple[int, ...]
    is_dimension: bool = True
    controlled: bool = True
    between: bool = False
    of_documents: bool = False
    adjustable: bool = False
    fraction: int = 1
    model_stderr: Callable[[Neighbors], float] | None = None


def _with_controls(found: dict[str, Metric]) -> dict[str, Metric]:
    """Add the controls of metrics after them."""
    metrics = {}
    for name, metric in found.items():
        metrics[name] = metric
        if isinstance(metric, NeighborMetric) and metric.controlled:
            metrics[name + BETWEEN] = replace(
                metric,
                between=True,
                of_documents=True,
                sensitivity=False,
                definition=f"`{name}` with neighbours of the same document excluded",
                source=f"{metric.source}; the exclusion is ours",
                it_is_not=f"a correction of `{name}`: it is another question, asked of the "
                "cloud of documents",
            )
    return metrics


#: Every metric by its name.
ALL_METRICS: dict[str, Metric] = _with_controls(discover(__name__, Metric, "METRIC"))
#: Metrics that sweeps measure.
METRICS = {name: metric for name, metric in ALL_METRICS.items() if not metric.derived}
