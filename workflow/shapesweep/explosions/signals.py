"""Read the signals of a training run: one value of each signal for every probe of the run.

Time is counted in updates of the weights. A probe at step s measures the weights after s updates.
The loss and the gradient of step s belong to the weights after s - 1 updates. The value of a signal
at a given time uses only data that is known by then.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shapesweep.explosions import detector

#: The name of a signal: (metric, layer, k).
Name = tuple[str, int | None, int | None]


@dataclass(frozen=True)
class Family:
    """A family of similar signals, and the direction of change that may warn of an explosion.

    Attributes
    ----------
    name : str
    metrics : tuple of str
    direction : int
        Change that may warn of an explosion: 1 for an increase, -1 for a decrease, 0 for either.
    """

    name: str
    metrics: tuple[str, ...]
    direction: int


_ID = ("id_twonn", "id_gride", "id_mle")
#: Families of signals that may warn of an explosion. All families except the last come from the
#: literature, and were chosen before any data was seen.
FAMILIES = (
    Family("ID", _ID, 1),
    Family("anisotropy", ("anisotropy",), 0),
    Family("maximal norm", ("max_norm",), 1),
    Family("kurtosis", ("kurtosis",), 1),
    Family("spectral alignment", ("spectral_alignment",), 1),
    Family("attention entropy", ("attention_entropy",), -1),
    Family("parameter norm", ("parameter_norm",), 1),
    Family("gradient norm", ("gradient_norm",), 1),
    Family("loss", ("loss",), 1),
    # The literature does not claim that a falling ID warns of an explosion. The last family was
    # added after the ID fell in the runs of docs/explanation/explosions.md.
    Family("ID, falling", _ID, -1),
)
METRICS = {metric for family in FAMILIES for metric in family.metrics}
#: Metrics whose logarithm is used as the signal.
LOGARITHMIC = METRICS - {"anisotropy", "spectral_alignment", "attention_entropy", "loss"}


@dataclass(frozen=True, eq=False)
class Signals:
    """The signals of one run, up to the onset of its explosion if it has one.

    Attributes
    ----------
    run : str
    onset : float or None
        Time of the onset, counted in updates of the weights; None if the run is stable.
    moments : ndarray of float64, shape (n_moments,)
        Times of the values, counted in updates of the weights; ascending and evenly spaced.
    names : list of (str, int or None, int or None)
        Metric, layer and k.
    values : ndarray of float64, shape (n_moments, n_signals)
        Values of the signals, as logarithms for the metrics in `LOGARITHMIC`. A measured
        value that is not finite is stored as infinity, and a value that was not measured as NaN.
    interval : float
        Number of steps between two samples, or between two entries of the log, whichever is larger.
    """

    run: str
    onset: float | None
    moments: NDArray[np.float64]
    names: list[Name]
    values: NDArray[np.float64]
    interval: float

    def of(self, names: Sequence[Name]) -> "Signals":
        """Return a copy that contains only the signals `names`, in this order."""
        indices = [self.names.index(name) for name in names]
        return replace(self, names=list(names), values=self.values[:, indices])

    def toward(self, requested: Sequence[tuple[Name, int]]) -> NDArray[np.float64]:
        """Return how far each requested signal deviates in its requested direction.

        Parameters
        ----------
        requested : sequence of (tuple, int)
            Name of each signal, and the `direction` of its family.

        Returns
        -------
        ndarray of float64, shape (n_moments, n_requested)
            Positive values are deviations in the requested direction.
        """
        columns = []
        for name, way in requested:
            values = self.values[:, self.names.index(name)]
            z = detector.deviations(values)
            # An infinite value is a warning, regardless of the requested direction.
            columns.append(np.where(np.isinf(values), z, z * way if way else np.abs(z)))
        return np.stack(columns, axis=1)


def read(run: str, history: pd.DataFrame, onset: float | None) -> Signals | None:
    """Read the signals of a run from its history.

    Parameters
    ----------
    run : str
    history : pandas.DataFrame
        Rows of `schemas.HISTORY` for the run.
    onset : float or None
        Time of the onset, counted in updates of the weights; None if the run is stable.

    Returns
    -------
    Signals or None
        None if too few samples were recorded before the onset, or if their steps are uneven.
    """
    known = history[history.metric.isin(METRICS)]
    probed = known[known.source == "probe"]
    logged = known[known.source == "log"]
    # If the run was not probed, use the times of the log entries.
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
    # Drop signals without any finite value.
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
    """Average the values of a logged metric at every time of `grid`.

    The mean at a time of `grid` covers the log entries since the previous time of `grid`. If there
    are no log entries in this interval, the previous mean is repeated.
    """
    moments = logged.step.to_numpy(float) - 1
    indices = np.searchsorted(grid, moments)
    inside = indices < len(grid)
    sums, counts = np.zeros((2, len(grid)))
    np.add.at(sums, indices[inside], _finite(logged.value)[inside])
    np.add.at(counts, indices[inside], 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return pd.Series(sums / counts).ffill().to_numpy()


def _finite(values: "pd.Series[float]") -> NDArray[np.float64]:
    """Convert recorded numbers to float64, with infinity for values that are not finite."""
    found = values.to_numpy(dtype=float, na_value=np.nan)
    return np.where(np.isfinite(found), found, np.inf)


def _logarithm(values: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):
        # Zero has no logarithm; treat zeros as not measured.
        return np.where(values > 0, np.log(values), np.nan)


def _or_none(value: object) -> int | None:
    return None if pd.isna(value) else int(value)  # type: ignore[call-overload]
