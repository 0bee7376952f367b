"""The metrics: one file each, named after the metric. `docs/how-to/add-a-metric.md` tells how.

A metric is a function of what it sees of a layer's selection: of all its tokens (a `Cloud`), of the
nearest neighbours in a sample of N of them (`Neighbors`), or of all its tokens beside the same ones
a layer before (a `Fit`).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from shapesweep.estimators.cloud import Cloud
from shapesweep.estimators.linearity import Fit
from shapesweep.neighbors.sample import Neighbors
from shapesweep.plugins import discover

#: What the name of a metric's control ends with: the same with neighbours of other documents alone.
BETWEEN = "_between"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What is true of every metric.

    Attributes
    ----------
    version : int
        Raise it when the numbers change: then, and only then, they are measured anew.
    definition, source, it_is_not : str
        For the reference: what it is, who defined it, and what it does not mean.
    is_share : bool
        Whether it lies between 0 and 1 whatever the model's size: a tenth is a tenth of it.
    sensitivity : bool
        Whether it is measured on the selections that other bounds of massive tokens give, too.
    derived : bool
        Whether it is a function of another metric: `shapesweep measure` computes it, sweeps do not.
    dose : bool
        Whether it is measured on documents cut shorter, too: how much a sink weighs is a matter of
        how many tokens there are to each.
    """

    version: int
    definition: str
    source: str
    it_is_not: str
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
        From a `Cloud` to a float; NaN where the number is not defined.
    capped : bool
        Whether it cannot exceed the number of points: flagged where there are fewer than features.
    """

    compute: Callable[[Cloud], float]
    capped: bool = False


@dataclass(frozen=True, kw_only=True)
class PairMetric(Metric):
    """A number of all tokens of a selection beside the same ones a layer before.

    Attributes
    ----------
    compute : callable
        From a `Fit` to a float; NaN where the number is not defined.
    """

    compute: Callable[[Fit], float]


@dataclass(frozen=True, kw_only=True)
class NeighborMetric(Metric):
    """A number of the k nearest neighbours of N different tokens of a selection.

    Attributes
    ----------
    compute : callable
        From `Neighbors` to a float; NaN where the number is not defined.
    k : tuple of int
        Neighbours that it sees, a row for each; the `radius` of a row is the mean distance to the
        k-th.
    is_dimension : bool
        Whether it estimates a dimension: flagged where N is too small for what it reads.
    controlled : bool
        Whether it is measured with neighbours of other documents alone, too.
    between : bool
        Whether it is that control.
    of_documents : bool
        Whether it means nothing of points that belong to no documents.
    adjustable : bool
        Whether `shapesweep measure --k` sets its k.
    fraction : int
        It sees one in so many of the N points.
    model_stderr : callable or None
        From `Neighbors` to the standard error that the estimator's own likelihood gives.
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
    """Every metric, and behind each that has a control, that."""
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
#: Those that sweeps measure.
METRICS = {name: metric for name, metric in ALL_METRICS.items() if not metric.derived}
