"""ID by scale and estimator."""

import pandas as pd

from shapesweep.curves.tables import Curves
from shapesweep.figures import Canvas, Figure, note
from shapesweep.figures._panels import (
    band_over,
    run_grid,
    same_scale,
    step_bar,
    step_color,
    step_norm,
)
from shapesweep.figures._select import at_chosen, rows, subtitle

WAYS = {"id_gride": "all neighbours", "id_gride_between": "between documents"}
#: Other estimators, and their numbers of neighbours.
OTHERS = {"id_twonn": 2, "id_mle": 20, "id_corrint": 20}
CHECKPOINTS = 5


def data(curves: Curves) -> pd.DataFrame:
    """IDs of the middle blocks at every scale, for a few checkpoints."""
    names = [*WAYS, *OTHERS, *(f"{name}_between" for name in OTHERS)]
    every = {"corpus": curves.corpus, "selection": "no_first", "layers": "middle"}
    return at_chosen(rows(curves.trajectories, metric=names, **every), CHECKPOINTS)


def scales(shown: pd.DataFrame) -> Canvas:
    """The ID by Gride over the number of neighbours; marks: other estimators."""
    figure, axes, columns = run_grid(shown, 2, 1.35, "neighbours k", sharex=True)
    norm = step_norm(shown.step)
    for column, part in columns:
        for row, (ax, metric) in enumerate(zip(column, WAYS, strict=True)):
            for _, line in part[part.metric == metric].groupby("revision", sort=False):
                color = step_color(line.step.iloc[0], norm)
                line = line.sort_values("k")
                band_over(ax, line.k, line, color)
            for (name, k), mark in zip(OTHERS.items(), "s^v", strict=True):
                requested = name if row == 0 else f"{name}_between"
                for point in part[part.metric == requested].itertuples():
                    color = step_color(point.step, norm)
                    ax.plot(k, point.value, mark, mfc="none", color=color, ms=3.5, mew=0.7)
            ax.set_xscale("log", base=2)
            ax.set_xticks([2, 4, 8, 16, 32, 64], ["2", "4", "8", "16", "32", "64"])
    for row, words in zip(axes, WAYS.values(), strict=True):
        row[0].set_ylabel(f"ID\n{words}")
        same_scale(row)
    if norm is not None:
        step_bar(figure, axes, norm)
    marks = "lines: Gride; □ TwoNN, △ MLE, ▽ correlation dimension"
    note(figure, subtitle(shown, "first token left out", "middle blocks") + f"\n{marks}")
    return figure


FIGURE = Figure(
    data=data,
    draw=scales,
    title="ID by scale and estimator",
    category="Controls",
    caption="Intrinsic dimension by Gride against the number of neighbours, for checkpoints over "
    "training. If a line is not level, the cloud has no scale-free dimension, and the estimate "
    "depends on the scale.",
)
