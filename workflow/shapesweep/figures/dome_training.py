"""Height of the dome over training, and the share of this height that is due to the first token."""

import pandas as pd

from shapesweep.curves.tables import Curves
from shapesweep.figures import Canvas, Figure, note
from shapesweep.figures._panels import PALETTE, band, key_below, run_grid, step_axis
from shapesweep.figures._select import INTERVALS, at_chosen, rows, subtitle, with_step

SELECTIONS = {"all": "all tokens", "no_first": "without the first token"}
MARKS = {"dome": "^", "box": "s", "flat": "_", "other": "x"}
#: Maximum number of checkpoints of a line whose shape is marked.
MARKED = 12


def data(curves: Curves) -> pd.DataFrame:
    """Select the shape and height of the anisotropy profile of every checkpoint."""
    every = {"corpus": curves.corpus, "selection": SELECTIONS}
    found = rows(curves.shapes, metric="anisotropy", **every)
    return with_step(found[found["shape"] != "undefined"])


def dome_training(shown: pd.DataFrame) -> Canvas:
    """Draw heights and shapes in the upper row, and the shares due to sinks in the lower row."""
    ylabels = ["rise of the anisotropy\nabove both ends", "share due to\nthe first token"]
    shared = {"heights": [1.3, 0.8], "sharex": "col", "sharey": "row"}
    figure, axes, columns = run_grid(shown, ylabels, 1.2, "training step", **shared)
    for (top, below), part in columns:
        for (selection, words), color in zip(SELECTIONS.items(), PALETTE, strict=False):
            line = part[part.selection == selection]
            heights = line.assign(value=line.height, low=line.height_low, high=line.height_high)
            band(top, heights, color, words, marker="")
            marked = at_chosen(heights, MARKED)
            for shape, mark in MARKS.items():
                mine = marked[marked["shape"] == shape]
                top.plot(mine.step, mine.value, mark, color=color, ms=4, mew=0.8)
        sinks = part[(part.selection == "all") & part.sink_share.notna()]
        share = {"value": sinks.sink_share, "low": sinks.sink_share_low}
        band(below, sinks.assign(**share, high=sinks.sink_share_high), "black")
        below.set_ylim(-0.15, 1.05)
        step_axis(below, part.step)
    key_below(figure, axes[0, 0], 2)
    marks = "△ dome, □ box, – flat, × other"
    note(figure, f"{subtitle(shown, marks)}\nbands: {INTERVALS}")
    return figure


FIGURE = Figure(
    data=data,
    draw=dome_training,
    title="The dome over training, and the share due to sinks",
    category="Sinks",
    caption="The upper row shows the height of the anisotropy profile: how far the highest value "
    "of the inner layers lies above the higher of the values at the two ends. For checkpoints with "
    "a dome or box, the lower row shows the share of this height that disappears without the first "
    "token. The share is 0 if the other tokens cause the dome, and 1 if the first token, an "
    "attention sink, causes it.",
    needs="checkpoints with a step, from a model with inner layers",
)
