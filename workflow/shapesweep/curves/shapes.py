"""Shapes: is a profile a dome, a box, flat, or something else, and how much of it is sinks?"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shapesweep.curves import intervals
from shapesweep.curves.profile_stack import Stack
from shapesweep.estimators import jackknife
from shapesweep.estimators.shape import Rise, rise
from shapesweep.metrics import METRICS
from shapesweep.storage import schemas

#: A rise that deserves a name: a tenth of what the number can be, for a share; else of the
#: profile's highest value. The paper's decoders rise by 0.8 and more, its encoders by none.
NAMED_RISE = 0.1
#: A plateau as wide as this makes a box of a dome: midway between a parabola (0.45) and a box (1).
BOX = 0.72


def shapes(stacks: list[Stack]) -> pd.DataFrame:
    """The shape of every profile: `schemas.SHAPES`.

    A profile is *flat* where its values differ by less than `NAMED_RISE`; a *dome* where an inner
    layer lies at least that much above both ends and the 95 % interval of this height, over
    documents and paired, lies above zero; a *box* if besides nine tenths of the height are kept
    over more than `BOX` of the width at half height; else *other*.

    Parameters
    ----------
    stacks : list of Stack

    Returns
    -------
    pandas.DataFrame
        `sink_share`, of a dome or box of all tokens: the share of its height that is gone without
        the first token. Null where it is not defined.
    """
    tables = [_of(stack) for stack in stacks]
    return pd.concat(tables) if tables else pd.DataFrame(columns=schemas.SHAPES.names)


def _of(stack: Stack) -> pd.DataFrame:
    whole = rise(stack.values, stack.depths)
    parts = rise(stack.without, stack.depths)
    shares = stack.keys.metric.map(lambda name: name in METRICS and METRICS[name].is_share)
    highest = np.abs(stack.values).max(axis=1)
    scale = np.where(shares.to_numpy(bool), 1.0, highest) * NAMED_RISE
    columns: dict[str, Any] = {}
    for name in ("height", "centre", "left", "right", "plateau"):
        _add(columns, name, getattr(whole, name), getattr(parts, name))
    shape = _named(whole, columns["height_low"], scale)
    _add(columns, "sink_share", *_sinks(stack, whole, parts, shape))
    # Where nothing rises there is neither a centre nor an edge.
    risen = np.isin(shape, ["dome", "box"])
    for name in columns:
        if not name.startswith("height"):
            columns[name] = np.where(risen, columns[name], np.nan)
    table = stack.keys.assign(shape=shape, **columns)
    return table.filter(schemas.SHAPES.names)


def _add(
    columns: dict[str, Any], name: str, value: NDArray[np.float64], without: NDArray[np.float64]
) -> None:
    half = jackknife.half_width_of(without)
    columns |= {name: value, f"{name}_low": value - half, f"{name}_high": value + half}


def _named(
    whole: Rise, height_low: NDArray[np.float64], scale: NDArray[np.float64]
) -> NDArray[np.str_]:
    known = np.isfinite(whole.height)
    risen = (whole.height >= scale) & (height_low > 0)
    return np.select(
        [~known, whole.span < scale, risen & (whole.plateau > BOX), risen],
        ["undefined", "flat", "box", "dome"],
        "other",
    )


def _sinks(
    stack: Stack, whole: Rise, parts: Rise, shape: NDArray[np.str_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The share of the height of `all` that is gone in `no_first`, with its replicates."""
    match = ["revision", *intervals.CURVE]
    table = stack.keys[match].assign(row=np.arange(len(stack.keys)))
    every = table[(table.selection == "all") & np.isin(shape, ["dome", "box"])]
    bulk = table[table.selection == "no_first"]
    pairs = every.merge(bulk, on=[n for n in match if n != "selection"], suffixes=("", "_bulk"))
    rows, others = pairs.row.to_numpy(int), pairs.row_bulk.to_numpy(int)
    share = np.full(whole.height.shape, np.nan)
    without = np.full(parts.height.shape, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        share[rows] = 1 - np.maximum(whole.height[others], 0) / whole.height[rows]
        without[:, rows] = 1 - np.maximum(parts.height[:, others], 0) / parts.height[:, rows]
    return share, without
