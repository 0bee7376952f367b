"""Define metrics, each in a file with the metric's name (see `docs/how-to/add-a-metric.md`).

Input: a `Cloud` (all tokens of a selection), `Neighbors` (the nearest neighbours of N sampled
tokens), or a `Fit` (the fit to the previous layer).
Output: a number.
Imported by: plan (versions), geometry, curves, report.
"""

from collections.abc import Callable
from dataclasses import dataclass

from shapesweep.estimators.cloud import Cloud
from shapesweep.estimators.linearity import Fit
from shapesweep.neighbors.sample import Neighbors
from shapesweep.plugins import discover


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
    bounds : tuple of float or None
        The lowest and the highest possible value, for every model size. Intervals stay inside the
        bounds.
    sensitivity : bool
        Whether the metric is also measured with a lower and a higher bound on the norm of tokens
        that are not massive.
    derived : bool
        Whether the metric is a function of another metric. `shapesweep measure` computes derived
        metrics, but sweeps do not.
    of_all : bool
        Whether the metric is only measured for the selection of all tokens.
    dose : bool
        Whether the metric is also measured on shortened documents, because the effect of an
        attention sink depends on the number of tokens per document.
    """

    definition: str
    source: str
    it_is_not: str
    version: int = 1
    bounds: tuple[float, float] | None = None
    sensitivity: bool = False
    of_all: bool = False
    dose: bool = False
    derived: bool = False

    @property
    def is_share(self) -> bool:
        """Whether the metric lies between 0 and 1."""
        return self.bounds == (0, 1)


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
    limit : callable or None
        Maps N to the highest value for which the estimates of the dimension fit the points. Above
        the limit, all dimensions of the sample are flagged `poor_fit`.
    label : {"document", "token", "position"} or None
        The label of the points that the metric needs.
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
    limit: Callable[[int], float] | None = None
    label: str | None = None
    adjustable: bool = False
    fraction: int = 1
    model_stderr: Callable[[Neighbors], float] | None = None

    @property
    def of_subsamples(self) -> bool:
        """Whether the metric is measured on subsamples: an ID of all N tokens, or its fit."""
        return self.fraction == 1 and (self.is_dimension or self.limit is not None)


#: Every metric by its name.
ALL_METRICS: dict[str, Metric] = discover(__name__, Metric, "METRIC")
#: Metrics that sweeps measure.
METRICS = {name: metric for name, metric in ALL_METRICS.items() if not metric.derived}
