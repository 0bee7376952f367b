"""The signals of one training, side by side on the moments at which it was probed.

A moment is told by the number of updates that the weights have had: a probe at step s has seen the
weights after s updates; the loss and the gradient of step s are those of the weights before it,
after s - 1. What is not known at a moment is not used there.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shapesweep.explosions import detector

#: (metric, layer, k): one signal.
Name = tuple[str, int | None, int | None]


@dataclass(frozen=True)
class Family:
    """Signals that say the same in several ways or layers, and what they are held to say.

    Attributes
    ----------
    name : str
    metrics : tuple of str
    direction : int
        1 where growth is said to warn, -1 where a fall is, 0 where nothing was said: both count.
    """

    name: str
    metrics: tuple[str, ...]
    direction: int


_ID = ("id_twonn", "id_gride", "id_mle")
#: What is held to announce an explosion, as others have said it before any data were looked at.
FAMILIES = (
    Family("ID", _ID, 1),
    Family("ID between documents", tuple(f"{name}_between" for name in _ID), 1),
    Family("anisotropy", ("anisotropy",), 0),
    Family("maximal norm", ("max_norm",), 1),
    Family("kurtosis", ("kurtosis",), 1),
    Family("spectral alignment", ("spectral_alignment",), 1),
    Family("attention entropy", ("attention_entropy",), -1),
    Family("parameter norm", ("parameter_norm",), 1),
    Family("gradient norm", ("gradient_norm",), 1),
    Family("loss", ("loss",), 1),
    # Nobody has said so: it was added once the embedded runs had shown it.
    Family("ID, falling", _ID, -1),
)
METRICS = {metric for family in FAMILIES for metric in family.metrics}
#: What is looked at by its ratios.
LOGARITHMIC = METRICS - {"anisotropy", "spectral_alignment", "attention_entropy", "loss"}


@dataclass(frozen=True, eq=False)
class Signals:
    """The signals of one run up to its onset.

    Attributes
    ----------
    run : str
    onset : float or None
        Updates of the weights whose loss is the onset.
    moments : ndarray of float64, shape (n_moments,)
        Updates of the weights, ascending and evenly spaced.
    names : list of (str, int or None, int or None)
        Metric, layer and k.
    values : ndarray of float64, shape (n_moments, n_signals)
        Logarithms of what is looked at by its ratios; infinite of what was not finite, NaN of what
        was not measured.
    interval : float
        Steps between two moments, or between two entries of the log where those are more.
    """

    run: str
    onset: float | None
    moments: NDArray[np.float64]
    names: list[Name]
    values: NDArray[np.float64]
    interval: float

    def of(self, names: Sequence[Name]) -> "Signals":
        """The same with some of its signals, in that order."""
        indices = [self.names.index(name) for name in names]
        return replace(self, names=list(names), values=self.values[:, indices])

    def toward(self, asked: Sequence[tuple[Name, int]]) -> NDArray[np.float64]:
        """How far each moment deviates, in a signal's direction, shape (n_moments, n_asked)."""
        columns = []
        for name, way in asked:
            values = self.values[:, self.names.index(name)]
            z = detector.deviations(values)
            # What is not finite any more is a warning whichever way it went.
            columns.append(np.where(np.isinf(values), z, z * way if way else np.abs(z)))
        return np.stack(columns, axis=1)


def read(run: str, history: pd.DataFrame, onset: float | None) -> Signals | None:
    """The signals of a run.

    Parameters
    ----------
    run : str
    history : pandas.DataFrame
        Its rows of `schemas.HISTORY`.
    onset : float or None
        Updates of the weights whose loss is its onset.

    Returns
    -------
    Signals or None
        None where too little was recorded before its onset, or at uneven steps.
    """
    known = history[history.metric.isin(METRICS)]
    probed = known[known.source == "probe"]
    logged = known[known.source == "log"]
    # Where nothing was probed, moments are those of the log.
    steps = probed.step if len(probed) else logged.step - 1
    grid = np.unique(steps.to_numpy(float))
    grid = grid[grid <= (np.inf if onset is None else onset)]
    if len(grid) <= detector.WINDOW or len(np.unique(np.diff(grid))) > 1:
        return None
    columns: dict[Name, NDArray[np.float64]] = {}
    for (metric, layer, k), part in probed.groupby(["metric", "layer", "k"], dropna=False):
        by_step = pd.Series(_finite(part.value), part.step.to_numpy(float))
        by_step = by_step[~by_step.index.duplicated(keep="last")].reindex(grid)
        columns[str(metric), _or_none(layer), _or_none(k)] = by_step.to_numpy()
    for metric, part in logged.groupby("metric"):
        columns[str(metric), None, None] = _means(part, grid)
    # What a model does not have is no signal.
    columns = {name: column for name, column in columns.items() if np.isfinite(column).any()}
    values = [_logarithm(v) if name[0] in LOGARITHMIC else v for name, v in columns.items()]
    between = np.diff(np.unique(logged.step.to_numpy(float)))
    return Signals(
        run,
        onset,
        grid,
        list(columns),
        np.stack(values, axis=1) if values else np.zeros((len(grid), 0)),
        max(float(np.diff(grid)[0]), float(np.median(between)) if len(between) else 1.0),
    )


def _means(logged: pd.DataFrame, grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of what was logged since the moment before, the mean; where nothing was, what was before."""
    moments = logged.step.to_numpy(float) - 1
    indices = np.searchsorted(grid, moments)
    inside = indices < len(grid)
    sums, counts = np.zeros((2, len(grid)))
    np.add.at(sums, indices[inside], _finite(logged.value)[inside])
    np.add.at(counts, indices[inside], 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return pd.Series(sums / counts).ffill().to_numpy()


def _finite(values: "pd.Series[float]") -> NDArray[np.float64]:
    """Recorded numbers; what was recorded and is not finite is infinite."""
    found = values.to_numpy(dtype=float, na_value=np.nan)
    return np.where(np.isfinite(found), found, np.inf)


def _logarithm(values: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):
        # Of zero there is no ratio: it was not measured.
        return np.where(values > 0, np.log(values), np.nan)


def _or_none(value: object) -> int | None:
    return None if pd.isna(value) else int(value)  # type: ignore[call-overload]
