"""The tokens of a layer, and the numbers that are measured from them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from shapesweep.estimators import jackknife
from shapesweep.estimators.spacing import Spacing


@dataclass(frozen=True, eq=False)
class Layer:
    """The tokens of a layer.

    Attributes
    ----------
    points : ndarray, shape (n_tokens, n_features), float32 or float64
    labels : dict of ndarray of int, shape (n_tokens,)
        Document, token and position of every token, as far as they are known.
    groups : ndarray of int, shape (n_tokens,)
        Jackknife group of every token.
    contexts : ndarray of int, shape (n_tokens,), or None
        Tokens with equal contexts count as repeated, even if rounding makes their states differ.
    selections : dict of ndarray of bool
        Mask of the tokens in each selection, by the name of the selection.
    massive : ndarray of bool, shape (n_tokens,)
    first : ndarray of bool, shape (n_tokens,), or None
        Mask of the first tokens and the special tokens, which `no_first` leaves out; None if there
        are none.
    draws : dict of list of ndarray of int
        For every subsample, the rows of each draw in random order (`subsamples.draw`).
    axes : dict
        Eigenvalues and axes of every selection; the keys are the masks as bytes. `measure_layer`
        fills this attribute, and the fits of the next layer use it.
    """

    points: NDArray[np.floating]
    labels: Mapping[str, NDArray[np.integer]]
    groups: NDArray[np.integer]
    contexts: NDArray[np.integer] | None
    selections: Mapping[str, NDArray[np.bool_]]
    massive: NDArray[np.bool_]
    first: NDArray[np.bool_] | None = None
    draws: Mapping[str, list[NDArray[np.int64]]] = field(default_factory=dict)
    axes: dict[bytes, tuple[NDArray[np.float64], NDArray[np.float64]]] = field(default_factory=dict)

    @cached_property
    def spacing(self) -> Spacing:
        """Spacing of the points' values."""
        return Spacing.of(self.points)

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

    @cached_property
    def without_group(self) -> float | None:
        """The value without the group of documents that dominates the error, if there is one."""
        group = int(jackknife.dominant(self.replicates))
        return self.replicates[group] if group >= 0 else None

    @property
    def stderr(self) -> float:
        """Jackknife standard error over groups of documents."""
        return float(jackknife.stderr(self.replicates))
