"""Define metrics, each in a file with the metric's name (see `docs/how-to/add-a-metric.md`).

Input: a `Cloud` (all tokens of a selection), `Neighbors` (the nearest neighbours of N sampled
tokens), or a `Fit` (the fit to the previous layer).
Output: a number.
Imported by: plan (versions), geometry, curves, report.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from shapesweep.estimators.cloud import Cloud
from shapesweep.estimators.linearity import Fit
from shapesweep.neighbors.sample import Neighbors
from shapesweep.plugins import discover

#: Suffix of a metric's control, which uses only neighbours in other documents.
BETWEEN = "_between"


@dataclass(frozen=True, kw_only=True)
class Metric:
    """Base class of all metrics.

    Attributes
    ----------
    version : int
        If a change of the code changes the metric's numbers, increase the version, so that the
        numbers are measured again.
    definition, source, it_is_not : str
        Texts for the reference documentation: what the metric is, who defined it, and what it is
        not.
    is_share : bool
        Whether the metric lies between 0 and 1 for every model size.
    sensitivity : bool
        Whether the metric is also measured with a lower and a higher bound on the norm of tokens
        that are not massive.
    derived : bool
        Whether the metric is a function of another metric. `shapesweep measure` computes derived
        metrics, but sweeps do not.
    dose : bool
        Whether the metric is also measured on shortened documents, because the effect of an
        attention sink depends on the number of tokens per document.
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
    """A metric that is computed from all tokens of a selection.

    Attributes
    ----------
    compute : callable
        Maps a `Cloud` to a float; NaN if the metric is not defined.
    capped : bool
        Whether the number of points is an upper limit of the metric. If so, the metric is flagged
        when there are fewer points than features.
    """

    compute: Callable[[Cloud], float]
    capped: bool = False


@dataclass(frozen=True, kw_only=True)
class PairMetric(Metric):
    """A metric that compares the tokens of a selection with the same tokens in the previous layer.

    Attributes
    ----------
    compute : callable
        Maps a `Fit` to a float; NaN if the metric is not defined.
    """

    compute: Callable[[Fit], float]


@dataclass(frozen=True, kw_only=True)
class NeighborMetric(Metric):
    """A metric that is computed from the k nearest neighbours of N distinct tokens.

    Attributes
    ----------
    compute : callable
        Maps `Neighbors` to a float; NaN if the metric is not defined.
    k : tuple of int
        Numbers of neighbours. The tables of results have one row for each k. In each row, the
        column `radius` contains the mean distance to the k-th neighbour.
    is_dimension : bool
        Whether the metric estimates a dimension. If N, the number of sampled tokens, is too small,
        the estimate is flagged.
    controlled : bool
        Whether the metric has a control, which uses only neighbours in other documents.
    between : bool
        Whether the metric is the control of another metric.
    of_documents : bool
        Whether the metric is only meaningful for points that belong to documents.
    adjustable : bool
        Whether the option `shapesweep measure --k` sets k for this metric.
    fraction : int
        The metric is computed from N/fraction of the N sampled tokens.
    model_stderr : callable or None
        Maps `Neighbors` to the standard error that follows from the estimator's likelihood.
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
    """Insert the control of each metric directly after the metric."""
    metrics = {}
    for name, metric in found.items():
        metrics[name] = metric
        if isinstance(metric, NeighborMetric) and metric.controlled:
            metrics[name + BETWEEN] = replace(
                metric,
                between=True,
                of_documents=True,
                sensitivity=False,
                definition=f"`{name}`, computed only from neighbours in other documents",
                source=f"{metric.source}; the restriction to other documents is ours",
                it_is_not=f"a correction of `{name}`: it estimates a different dimension, the "
                "dimension of the cloud without the trajectories of single documents",
            )
    return metrics


#: Every metric by its name.
ALL_METRICS: dict[str, Metric] = _with_controls(discover(__name__, Metric, "METRIC"))
#: Metrics that sweeps measure.
METRICS = {name: metric for name, metric in ALL_METRICS.items() if not metric.derived}
