"""Anisotropy over depth; it forms a dome if it is highest in the middle layers."""

import pandas as pd

from shapesweep.curves.tables import Curves
from shapesweep.figures import Canvas, Figure, note
from shapesweep.figures._panels import depth_line, run_grid
from shapesweep.figures._select import INTERVALS, at_chosen, rows, subtitle
from shapesweep.figures._training import training_colors

SELECTIONS = {"all": "all tokens", "no_first": "without the first token"}
#: Maximum number of lines in a panel.
CHECKPOINTS = 24


def data(curves: Curves) -> pd.DataFrame:
    """Select the anisotropy at every layer of some checkpoints, with and without first tokens."""
    every = {"corpus": curves.corpus, "selection": SELECTIONS}
    return at_chosen(rows(curves.profiles, metric="anisotropy", **every), CHECKPOINTS)


def dome(shown: pd.DataFrame) -> Canvas:
    """Draw the anisotropy over depth with and without first tokens, one line per checkpoint."""
    ylabels = [f"anisotropy\n{words}" for words in SELECTIONS.values()]
    figure, axes, columns = run_grid(shown, ylabels, 1.25, "layer", sharex="col", sharey=True)
    color = training_colors(figure, axes, shown)
    for column, part in columns:
        for ax, selection in zip(column, SELECTIONS, strict=True):
            for _, line in part[part.selection == selection].groupby("revision", sort=False):
                depth_line(ax, line, color(line.iloc[0]))
            ax.set_ylim(0, 1)
    note(figure, subtitle(shown, f"bands: {INTERVALS}"))
    return figure


FIGURE = Figure(
    data=data,
    draw=dome,
    title="The dome: anisotropy over depth",
    category="Over depth",
    caption="Share of the variance along the leading axis of the hidden states of each layer, "
    "with 95 % intervals over documents. Each line is a checkpoint (at most 24, evenly spaced "
    "on a logarithmic axis). A *dome* rises in the middle layers and falls again. The dotted end "
    "of a line is the output of the final norm. If the lower row is flat and the upper row is not, "
    "the first token causes the dome.",
)
