"""The curves: all checkpoints over depth and over training, with their uncertainty.

Takes in the joined tables; hands on what the figures draw. Averages and differences get
their errors from the replicates, which belong together: the same groups of documents were
left out everywhere.
"""

from typing import Any

import numpy as np
import pandas as pd

from shapesweep import tables
from shapesweep.checkpoint import family
from shapesweep.estimators import jackknife

#: Blocks whose average stands for the middle of a model: the middle third of its depth.
MIDDLE = (1 / 3, 2 / 3)
_RUN = ["suite", "run", "seed", "architecture", "family", "n_layers"]
_CURVE = ["corpus", "pooling", "selection", "metric", "k"]


def profiles(geometry: pd.DataFrame, replicates: pd.DataFrame) -> pd.DataFrame:
    """Every number over depth: `tables.PROFILES`.

    Parameters
    ----------
    geometry, replicates : pandas.DataFrame
        `tables.GEOMETRY` and `tables.REPLICATES`.

    Returns
    -------
    pandas.DataFrame
        `depth` is the layer divided by the number of blocks; low and high are the ends
        of a 95 % interval over documents.
    """
    made = geometry.copy()
    made["family"] = made.architecture.map(family)
    made["depth"] = made.layer / made.n_layers
    return _with_band(made, replicates)[tables.PROFILES.names]


def trajectories(
    geometry: pd.DataFrame, replicates: pd.DataFrame, losses: pd.DataFrame
) -> pd.DataFrame:
    """Every number over training, by layer and averaged over the middle: `tables.TRAJECTORIES`.

    Parameters
    ----------
    geometry, replicates, losses : pandas.DataFrame

    Returns
    -------
    pandas.DataFrame
        `layers` is a block's number, or `middle`; the losses come as the metrics
        `loss_eval` and `loss_log`.
    """
    single = profiles(geometry, replicates)
    single = single[single.layer_kind != "final_norm"].assign(layers=lambda t: t.layer.astype(str))
    parts = [single, _middle(geometry, replicates), _losses(geometry, replicates, losses)]
    empty = pd.DataFrame(columns=tables.TRAJECTORIES.names)
    return pd.concat([part[empty.columns] for part in parts if len(part)] or [empty])


def phases(geometry: pd.DataFrame, replicates: pd.DataFrame) -> pd.DataFrame:
    """Does a number rise and fall again along training? `tables.PHASES`.

    The peak is the highest checkpoint that is neither the first nor the last. Its
    prominence is min(peak - first, peak - last); it counts as a peak where its 95 %
    interval over documents lies above zero. That interval knows the noise of the
    documents, not that of the training: a repeated training might not show the peak.

    Parameters
    ----------
    geometry, replicates : pandas.DataFrame

    Returns
    -------
    pandas.DataFrame
        One row a (run, corpus, selection, metric, k), for the average of the middle blocks.
        `verdict` is `peak`, `no peak`, `too few checkpoints` or `undefined`.
    """
    middle = _middle(geometry, replicates)
    if not len(middle):
        return pd.DataFrame(columns=tables.PHASES.names)
    steps = middle[middle.step.notna()].sort_values("step")
    # What is null for a whole run (its seed, say) must not make groupby drop the run.
    found = steps.groupby([*_RUN, *_CURVE, "layers"], sort=False, dropna=False)
    rows = [{**dict(zip(found.keys, key, strict=True)), **_phase(part)} for key, part in found]
    return pd.DataFrame(rows, columns=tables.PHASES.names)


def _phase(part: pd.DataFrame) -> dict[str, Any]:
    values, steps = part.value.to_numpy(float), part.step.to_numpy(int)
    ends = {
        "n_checkpoints": len(part),
        "first_step": steps[0],
        "first": values[0],
        "last_step": steps[-1],
        "last": values[-1],
    }
    if len(part) < 3:
        return {**ends, "verdict": "too few checkpoints"}
    if not np.isfinite(values).all():
        return {**ends, "verdict": "undefined"}
    top = 1 + int(values[1:-1].argmax())
    without = np.stack(part.replicates.to_list(), axis=1)
    prominences = np.minimum(without[:, top] - without[:, 0], without[:, top] - without[:, -1])
    prominence = min(values[top] - values[0], values[top] - values[-1])
    half = float(jackknife.half_width(jackknife.stderr(prominences), len(prominences)))
    return {
        **ends,
        "peak_step": steps[top],
        "peak": values[top],
        "prominence": prominence,
        "half_width": half,
        "verdict": "peak" if prominence > half else "no peak",
    }


def _middle(geometry: pd.DataFrame, replicates: pd.DataFrame) -> pd.DataFrame:
    """The average over the middle blocks, with its replicates in a column of arrays."""
    depth = geometry.layer / geometry.n_layers
    inside = (depth >= MIDDLE[0]) & (depth <= MIDDLE[1]) & (geometry.layer_kind == "block")
    if not inside.any():
        return pd.DataFrame()
    key = ["suite", "run", "revision", *_CURVE]
    layers = geometry[inside]
    without = replicates.merge(
        layers[[*key, "layer", "layer_kind"]].drop_duplicates(), on=[*key, "layer", "layer_kind"]
    )
    by_group = _means(without, [*key, "group"]).sort_values("group", kind="stable")
    by_group = by_group.groupby(key, sort=False, dropna=False).value.agg(np.array)
    shared = ["seed", "architecture", "n_layers", "step", "tokens", "n_documents"]
    shared += ["document_length"]
    grouped = layers.groupby(key, sort=False, dropna=False)
    made = grouped.agg(
        **{name: (name, "first") for name in shared},
        n_points=("n_points", "min"),
        flag=(
            "flag",
            lambda v: ",".join(sorted({f for one in set(v) for f in one.split(",") if f})),
        ),
    ).reset_index()
    made = made.merge(_means(layers, key), on=key)
    made = made.merge(by_group.rename("replicates").reset_index(), on=key)
    made["family"], made["layers"] = made.architecture.map(family), "middle"
    half = made.replicates.map(lambda v: float(jackknife.half_width(jackknife.stderr(v), len(v))))
    made["low"], made["high"] = made.value - half, made.value + half
    return made


def _means(frame: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    """Mean of `value` by key; NaN where one is: an average of fewer is another quantity."""
    known = frame.assign(missing=frame.value.isna())
    found = known.groupby(key, sort=False, dropna=False).agg(
        value=("value", "mean"), missing=("missing", "any")
    )
    return found.value.where(~found.missing).reset_index()


def _losses(geometry: pd.DataFrame, replicates: pd.DataFrame, losses: pd.DataFrame) -> pd.DataFrame:
    runs = geometry.assign(family=geometry.architecture.map(family))
    by_corpus = ["pooling", "n_documents", "document_length"]
    shown = runs[["suite", "run", "corpus", *by_corpus]].drop_duplicates(["suite", "run", "corpus"])
    made = losses.merge(runs[_RUN].drop_duplicates(["suite", "run"]), on=["suite", "run"])
    # A log knows no corpus.
    made = made.merge(shown, on=["suite", "run", "corpus"], how="left")
    tokens = geometry[["suite", "run", "step", "tokens"]].drop_duplicates()
    made = made.merge(tokens, on=["suite", "run", "step"], how="left")
    made["metric"] = "loss_" + made.source
    made["selection"], made["layers"], made["flag"] = None, None, ""
    made["n_points"], made["k"] = None, None
    return _with_band(made, replicates)


def _with_band(frame: pd.DataFrame, replicates: pd.DataFrame) -> pd.DataFrame:
    """Add the 95 % interval that the standard error and the number of groups give."""
    key = ["suite", "run", "corpus"]
    n_groups = replicates.groupby(key).group.nunique().rename("n_groups").reset_index()
    counted = frame.merge(n_groups, on=key, how="left")
    errors, groups = counted.stderr.to_numpy(float), counted.n_groups.to_numpy(float)
    half = jackknife.half_width(errors, np.nan_to_num(groups, nan=2))
    return counted.assign(low=counted.value - half, high=counted.value + half)
