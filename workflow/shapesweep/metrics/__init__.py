"""The metrics: one file each, named after the metric. `docs/how-to/add-a-metric.md` tells how.

A metric is a function of what it sees of a shard's selection: of all its tokens (a
`Cloud`), or of the nearest neighbours in a sample of N of them (`Neighbors`).
"""

from collections.abc import Callable
from dataclasses import dataclass

from shapesweep.estimators.cloud import Cloud, Neighbors
from shapesweep.registry import discover


@dataclass(frozen=True, kw_only=True)
class Metric:
    """What is true of every metric.

    Attributes
    ----------
    version : int
        Raise it when the numbers change: then, and only then, they are measured anew.
    definition, source, it_is_not : str
        For the reference: what it is, who defined it, and what it does not mean.
    """

    version: int
    definition: str
    source: str
    it_is_not: str


@dataclass(frozen=True, kw_only=True)
class CloudMetric(Metric):
    """A number of all tokens of a selection.

    Attributes
    ----------
    compute : callable
        From a `Cloud` to a float; NaN where the number is not defined.
    """

    compute: Callable[[Cloud], float]


@dataclass(frozen=True, kw_only=True)
class NeighborMetric(Metric):
    """A number of the k nearest neighbours of N different tokens of a selection.

    Attributes
    ----------
    compute : callable
        From `Neighbors` to a float; NaN where the number is not defined.
    k : int
        Neighbours that it sees; the `radius` of its rows is the mean distance to the k-th.
    between : bool
        Whether neighbours of the same document are excluded.
    """

    compute: Callable[[Neighbors], float]
    k: int
    between: bool = False


#: Every metric by its name.
METRICS: dict[str, Metric] = discover(__name__, Metric, "METRIC")
