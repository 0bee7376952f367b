"""Find the shape of a profile: dome, box or flat."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from shapesweep.curves.profile_stack import Stack
from shapesweep.estimators import jackknife
from shapesweep.estimators.shape import Rise, rise
from shapesweep.metrics import METRICS
from shapesweep.storage import schemas

#: Minimum height of a dome, as a fraction. For metrics that are shares, the height is a fraction of
#: the possible range; for all other metrics, it is a fraction of the profile's largest absolute
#: value. In the paper, the profiles of decoders rise by 0.8 or more, and the profiles of encoders
#: do not rise.
NAMED_RISE = 0.1
#: A dome is a box if its `Rise.plateau` exceeds this value, which is midway between the plateau of
#: a parabola (0.45) and the plateau of a rectangle (1).
BOX = 0.72


def shapes(stacks: list[Stack]) -> pd.DataFrame:
    """Determine the shape of every profile, with the columns of `schemas.SHAPES`.

    A profile is *flat* if its values differ by less than `NAMED_RISE`. It is a *dome* if an inner
    layer is at least `NAMED_RISE` above both ends, and the paired 95 % interval (over documents) of
    this height is above zero. A dome is a *box* if its width at nine tenths of the height is more
    than `BOX` times its width at half the height. A profile with a NaN or without inner layers is
    *undefined*. The shape of all remaining profiles is *other*.

    Parameters
    ----------
    stacks : list of Stack

    Returns
    -------
    pandas.DataFrame
        A height that rests on one group of documents has no interval, and its profile is neither a
        dome nor a box. `height_without_group` is the height without this group.
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
    for name in schemas.MEASURES:
        _add(columns, name, getattr(whole, name), getattr(parts, name))
    shape = _named(whole, columns["height_low"], scale)
    # A profile that is neither a dome nor a box has no centre and no edges.
    risen = np.isin(shape, ["dome", "box"])
    for name in columns:
        if not name.startswith("height"):
            columns[name] = np.where(risen, columns[name], np.nan)
    table = stack.keys.assign(shape=shape, **columns)
    return table.filter(schemas.SHAPES.names)


def _add(
    columns: dict[str, Any], name: str, value: NDArray[np.float64], without: NDArray[np.float64]
) -> None:
    groups = np.asarray(jackknife.dominant(without))
    half = np.where(groups >= 0, np.nan, jackknife.half_width_of(without))
    columns |= {name: value, f"{name}_low": value - half, f"{name}_high": value + half}
    if name == "height":
        left_out = np.take_along_axis(without, np.maximum(groups, 0)[None], axis=0)[0]
        columns["height_without_group"] = np.where(groups >= 0, left_out, np.nan)


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
