"""Compute every metric during training, for each layer and averaged over the middle blocks."""

import numpy as np
import pandas as pd

from shapesweep.curves import intervals
from shapesweep.estimators import jackknife
from shapesweep.storage import schemas

#: Relative depths between which a block counts as a middle block.
MIDDLE = (1 / 3, 2 / 3)


def trajectories(
    single: pd.DataFrame,
    n_groups: pd.DataFrame,
    losses: pd.DataFrame,
    middle: pd.DataFrame,
) -> pd.DataFrame:
    """Compute the table `schemas.TRAJECTORIES`: every metric during training.

    Parameters
    ----------
    single : pandas.DataFrame
        `schemas.GEOMETRY` with the columns `intervals.ADDED`.
    n_groups : pandas.DataFrame
        Result of `intervals.groups`.
    losses : pandas.DataFrame
        `schemas.LOSSES`.
    middle : pandas.DataFrame
        Result of `middles`.

    Returns
    -------
    pandas.DataFrame
        `layers` is the index of a layer, or `middle` for the average of the middle blocks. Losses
        are included as the metrics `loss_eval` and `loss_log`.
    """
    layers = single[single.layer_kind != "final_norm"].assign(layers=lambda t: t.layer.astype(str))
    names = schemas.TRAJECTORIES.names
    parts = [layers, middle, _losses(single, n_groups, losses)]
    known = [part.filter([*names, "is_copy"]) for part in parts if len(part)]
    table = pd.concat(known or [pd.DataFrame(columns=[*names, "is_copy"])])
    seeds = intervals.over_seeds(table, ["layers", "step"])
    return (pd.concat([table, seeds]) if len(seeds) else table).filter(names)


def middles(single: pd.DataFrame, replicates: pd.DataFrame) -> pd.DataFrame:
    """Average every metric over the middle blocks, and collect the replicates of each average.

    Parameters
    ----------
    single : pandas.DataFrame
        `schemas.GEOMETRY` with the columns `intervals.ADDED`.
    replicates : pandas.DataFrame
        `schemas.REPLICATES`.

    Returns
    -------
    pandas.DataFrame
        The columns of `schemas.TRAJECTORIES`, `is_copy`, and a column `replicates` of arrays. If
        the value of any middle block is NaN, the average is NaN, because an average over fewer
        blocks would not be comparable.
    """
    depth = single.layer / single.n_layers
    layers = single[(depth >= MIDDLE[0]) & (depth <= MIDDLE[1]) & (single.layer_kind == "block")]
    if not len(layers):
        return pd.DataFrame(columns=[*schemas.TRAJECTORIES.names, "is_copy", "replicates"])
    key = ["suite", "run", "revision", *intervals.CURVE]
    without = replicates.merge(
        layers[[*key, "layer", "layer_kind"]].drop_duplicates(), on=[*key, "layer", "layer_kind"]
    )
    by_group = _means(without, [*key, "group"]).sort_values("group", kind="stable")
    by_group = by_group.groupby(key, sort=False, dropna=False).value.agg(np.array)
    shared = ["seed", "architecture", "n_layers", "step", "tokens", "stage", "n_documents"]
    shared += ["document_length", "family", "model", "is_copy"]
    middle = layers.groupby(key, sort=False, dropna=False).agg(
        **{name: (name, "first") for name in shared},
        n_points=("n_points", "min"),
        flag=("flag", intervals.joined_flags),
    )
    middle = middle.reset_index().merge(_means(layers, key), on=key)
    middle = middle.merge(by_group.rename("replicates").reset_index(), on=key)
    return _with_intervals(middle).assign(layers="middle", over=intervals.DOCUMENTS)


def _with_intervals(middle: pd.DataFrame) -> pd.DataFrame:
    """Add the intervals of averages, and the averages without a dominant group of documents."""
    groups = middle.replicates.map(lambda v: int(jackknife.dominant(v)))
    pairs = zip(middle.replicates, groups, strict=True)
    without = np.array([v[group] if group >= 0 else np.nan for v, group in pairs])
    errors = middle.replicates.map(lambda v: float(jackknife.stderr(v))).to_numpy(float)
    low, high = jackknife.interval(
        intervals.as_array(middle.value),
        np.where(groups >= 0, np.nan, errors),
        middle.replicates.map(len).to_numpy(),
        *intervals.bounds(middle.metric),
    )
    # A single block may rest on one group although the average does not.
    flags = middle.flag.str.split(",").map(lambda names: [n for n in names if n != "one_group"])
    marks = [
        [*names, "one_group"] if g >= 0 else names for names, g in zip(flags, groups, strict=True)
    ]
    flag = [",".join(filter(None, names)) for names in marks]
    return middle.assign(low=low, high=high, without_group=without, flag=flag)


def _means(frame: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """Return the mean of `value` for every key; NaN if any value is NaN."""
    return frame.groupby(key, sort=False, dropna=False).value.mean(skipna=False).reset_index()


def _losses(runs: pd.DataFrame, n_groups: pd.DataFrame, losses: pd.DataFrame) -> pd.DataFrame:
    by_corpus = ["pooling", "n_documents", "document_length"]
    shown = runs[["suite", "run", "corpus", *by_corpus]].drop_duplicates(["suite", "run", "corpus"])
    of_run = runs[[*intervals.RUN, "is_copy"]].drop_duplicates(["suite", "run"])
    table = losses.merge(of_run, on=["suite", "run"])
    # Logged losses have no corpus.
    table = table.merge(shown, on=["suite", "run", "corpus"], how="left")
    of_step = runs[["suite", "run", "step", "tokens", "stage"]].drop_duplicates()
    table = table.merge(of_step, on=["suite", "run", "step"], how="left")
    table = table.assign(metric="loss_" + table.source, flag="")
    table[["selection", "layers", "n_points", "k"]] = None
    return intervals.over_documents(table, n_groups)
