"""The dome along training: how high it is, and how much of it is the first token."""

import pandas as pd

from shapesweep.curves.tables import Curves
from shapesweep.figures import Canvas, Figure, note
from shapesweep.figures._panels import PALETTE, band, grid, key_below, step_axis, title
from shapesweep.figures._select import at_chosen, of_run, rows, runs, told, with_step

SELECTIONS = {"all": "all tokens", "no_first": "without the first"}
MARKS = {"dome": "^", "box": "s", "flat": "_", "other": "x"}
#: Checkpoints of a line that are marked by their shape, at most.
MARKED = 12


def data(curves: Curves) -> pd.DataFrame:
    """Shape and height of every checkpoint's anisotropy profile."""
    every = {"corpus": curves.corpus, "selection": list(SELECTIONS)}
    found = rows(curves.shapes, metric="anisotropy", **every)
    return with_step(found[found["shape"] != "undefined"])


def dome_training(shown: pd.DataFrame) -> Canvas:
    """Above heights, a mark for each shape; below the share of the height that is sinks."""
    known = runs(shown)
    figure, axes = grid(2, len(known), 1.2, heights=[1.3, 0.8], sharex="col", sharey="row")
    for column, run in enumerate(known):
        part = of_run(shown, run)
        top, below = axes[:, column]
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
        top.set_title(title(run[1], run[2]))
        below.set_xlabel("training step")
    axes[0, 0].set_ylabel("rise of the anisotropy\nabove both ends")
    axes[1, 0].set_ylabel("share of it\nthat is sinks")
    key_below(figure, axes[0, 0], 2)
    note(
        figure,
        told(shown, "△ dome, □ box, – flat, × other") + "\nbands: 95 % over documents",
    )
    return figure


FIGURE = Figure(
    data=data,
    draw=dome_training,
    title="The dome along training, and how much of it is sinks",
    category="Sinks",
    caption="Height of the anisotropy's profile: its highest inner layer above the higher of "
    "its ends. Below, of checkpoints with a dome or box, the share of that height which is gone "
    "without the first token: 0 where the dome is the bulk of the tokens, 1 where it is an "
    "attention sink.",
    needs="checkpoints with a step, of a model with inner layers",
)
