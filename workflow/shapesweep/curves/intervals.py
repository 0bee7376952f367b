"""Intervals over documents (from replicates), and over seeds (from runs with distinct seeds)."""

import re
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shapesweep.estimators import jackknife
from shapesweep.metrics import METRICS

#: Values of the column `over`: the source of variation that an interval describes.
DOCUMENTS, SEEDS = "documents", "seeds"
#: Columns that identify a run, and columns that identify a curve of a run.
RUN = ["suite", "run", "model", "seed", "architecture", "family", "n_layers"]
CURVE = ["corpus", "text_sha256", "pooling", "selection", "metric", "k"]
#: Columns that are added to the rows of single runs.
ADDED = ["model", "is_copy", "n_groups", "low", "high", "over"]
_SEED = re.compile(r"(?:[-_.]|(?<![a-z]))seed[-_.]?\d+(?![a-z\d])", re.IGNORECASE)


def with_names(frame: pd.DataFrame, copies: pd.DataFrame) -> pd.DataFrame:
    """Add the columns `model` (the name of the run without its seed) and `is_copy`."""
    # matplotlib's legends omit labels with a leading underscore.
    models = {run: _SEED.sub("", run).lstrip("-_.") or "model" for run in frame.run.unique()}
    copied = set(zip(copies.suite, copies.run, strict=True))
    is_copy = [key in copied for key in zip(frame.suite, frame.run, strict=True)]
    return frame.assign(
        model=frame.run.map(models),
        is_copy=np.array(is_copy, dtype=bool),
    )


def groups(replicates: pd.DataFrame) -> pd.DataFrame:
    """Count the jackknife groups of every run and corpus."""
    key = ["suite", "run", "corpus"]
    return replicates.groupby(key).group.nunique().rename("n_groups").reset_index()


def over_documents(frame: pd.DataFrame, n_groups: pd.DataFrame) -> pd.DataFrame:
    """Add intervals over documents, from the standard error and the number of groups.

    A number that rests on one group of documents has no interval.
    """
    counted = frame.merge(n_groups, on=["suite", "run", "corpus"], how="left")
    errors, groups = counted.stderr.to_numpy(float), counted.n_groups.to_numpy(float)
    errors = np.where(counted.flag.str.contains("one_group"), np.nan, errors)
    low, high = jackknife.interval(
        as_array(counted.value), errors, np.nan_to_num(groups, nan=2), *bounds(counted.metric)
    )
    return counted.assign(low=low, high=high, over=DOCUMENTS)


def bounds(metrics: "pd.Series[str]") -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the bounds of metrics, by name; infinite for metrics without bounds."""
    nothing = (-np.inf, np.inf)
    known = {name: metric.bounds or nothing for name, metric in METRICS.items()}
    low, high = (metrics.map({name: ends[i] for name, ends in known.items()}) for i in (0, 1))
    return low.fillna(-np.inf).to_numpy(float), high.fillna(np.inf).to_numpy(float)


def over_seeds(frame: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """Average the runs that differ only by their seed; their spread gives the interval.

    Copies of other runs are left out.

    Parameters
    ----------
    frame : pandas.DataFrame
        Rows of single runs.
    by : list of str
        Columns that identify a point of a curve.

    Returns
    -------
    pandas.DataFrame
        One row for every point at which all runs of a model were measured. `run` is the name of
        the model; `seed` and `revision` are null.
    """
    key = ["suite", "model", "architecture", "family", "n_layers", *CURVE, *by]
    known = frame[frame.value.notna() & frame.step.notna() & ~frame.is_copy.astype(bool)]
    n_seeds = known.groupby(["suite", "model"]).run.transform("nunique")
    known = known.assign(n_seeds=n_seeds)[n_seeds > 1]
    if not len(known):
        return frame.iloc[:0]
    shared = ["tokens", "stage", "n_documents", "document_length", "n_seeds"]
    means = (
        known.groupby(key, sort=False, dropna=False)
        .agg(
            value=("value", "mean"),
            spread=("value", "std"),
            n_runs=("run", "nunique"),
            n_points=("n_points", "min"),
            flag=("flag", joined_flags),
            **{name: (name, "first") for name in shared},
        )
        .reset_index()
    )
    # Drop points where a seed is missing, because the mean would jump there.
    means = means[means.n_runs == means.n_seeds]
    n_runs = means.n_runs.to_numpy(float)
    errors = means.spread.to_numpy(float) / np.sqrt(n_runs)
    low, high = jackknife.interval(means.value, errors, n_runs, *bounds(means.metric))
    means = means.assign(low=low, high=high, is_copy=False)
    return means.assign(run=means.model, seed=None, revision=None, over=SEEDS)


def joined(parts: list[pd.DataFrame], columns: list[str]) -> pd.DataFrame:
    """Concatenate the tables of all runs."""
    known = [part for part in parts if len(part)] or parts[:1]
    return pd.concat(known, ignore_index=True) if known else pd.DataFrame(columns=columns)


def joined_flags(flags: Any) -> str:
    """Join the flags of several rows, without duplicates."""
    return ",".join(sorted({f for flag_text in set(flags) for f in flag_text.split(",") if f}))


def as_array(column: "pd.Series[Any]") -> NDArray[np.float64]:
    """Convert a column of nullable numbers to float64, with NaN for null."""
    return column.to_numpy(dtype=np.float64, na_value=np.nan)
