"""ID as a function of the scale, by several estimators."""

import pandas as pd

from shapesweep.curves.tables import Curves
from shapesweep.figures import Canvas, Figure, note
from shapesweep.figures._panels import band_over, run_grid, same_scale
from shapesweep.figures._select import at_chosen, rows, subtitle
from shapesweep.figures._training import training_colors

ROWS = {"no_first": "all tokens", "one_per_document": "one per document"}
#: Estimators other than Gride, each with its number of neighbours.
OTHERS = {"id_twonn": 2, "id_mle": 20, "id_corrint": 20}
CHECKPOINTS = 5


def data(curves: Curves) -> pd.DataFrame:
    """Select the IDs of the middle blocks at every scale, for a few checkpoints."""
    every = {"metric": ["id_gride", *OTHERS], "layers": "middle"}
    of_text = {"corpus": curves.corpus, "selection": "no_first"}
    ways = [rows(curves.trajectories, **every, **of) for of in (of_text, curves.control)]
    return at_chosen(pd.concat(ways), CHECKPOINTS)


def scales(shown: pd.DataFrame) -> Canvas:
    """Draw the ID by Gride against the number of neighbours, and marks for other estimators."""
    ylabels = [f"ID\n{words}" for words in ROWS.values()]
    figure, axes, columns = run_grid(shown, ylabels, 1.35, "neighbours k", sharex=True)
    color = training_colors(figure, axes, shown)
    for column, part in columns:
        for ax, selection in zip(column, ROWS, strict=True):
            mine = part[part.selection == selection]
            for _, line in mine[mine.metric == "id_gride"].groupby("revision", sort=False):
                line = line.sort_values("k")
                band_over(ax, line.k, line, color(line.iloc[0]))
            for (name, k), mark in zip(OTHERS.items(), "s^v", strict=True):
                style = {"mfc": "none", "ms": 3.5, "mew": 0.7}
                for point in mine[mine.metric == name].itertuples():
                    ax.plot(k, point.value, mark, color=color(point), **style)
            ax.set_xscale("log", base=2)
            ax.set_xticks([2, 4, 8, 16, 32, 64], ["2", "4", "8", "16", "32", "64"])
    for row in axes:
        same_scale(row)
    marks = "lines: Gride; □ TwoNN, △ MLE, ▽ correlation dimension"
    note(figure, f"{subtitle(shown, 'middle blocks')}\n{marks}")
    return figure


FIGURE = Figure(
    data=data,
    draw=scales,
    title="ID by scale and estimator",
    category="Controls",
    caption="Intrinsic dimension by Gride against the number of neighbours, for at most five "
    "checkpoints of each run. If a line is not level, the cloud has no scale-free dimension, and "
    "the estimate depends on the scale. The upper row uses all tokens except the first. The lower "
    "row uses one token per document, and therefore fewer points.",
)
