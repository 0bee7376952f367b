"""Height of the dome over training, and the shares of sinks in the leading variance."""

from typing import Any

import pandas as pd

from shapesweep.curves.tables import Curves
from shapesweep.figures import Canvas, Figure, note
from shapesweep.figures._panels import LEADING_SHARES, PALETTE, band, key_below, run_grid
from shapesweep.figures._select import INTERVALS, at_chosen, rows, subtitle, with_step
from shapesweep.figures._training import training_axis

SELECTIONS = {"all": "all tokens", "no_first": "without the first token"}
MARKS = {"dome": "^", "box": "s", "flat": "_", "other": "x"}
#: Maximum number of checkpoints of a line whose shape is marked.
MARKED = 12


def data(curves: Curves) -> pd.DataFrame:
    """Select the shape of the anisotropy profile of every checkpoint, and the shares of sinks."""
    every = {"corpus": curves.corpus, "selection": SELECTIONS}
    found = rows(curves.shapes, metric="anisotropy", **every)
    found = with_step(found[found["shape"] != "undefined"])
    shares = rows(curves.trajectories, metric=LEADING_SHARES, corpus=curves.corpus, layers="middle")
    return pd.concat([found, with_step(shares)]) if len(found) else found


def dome_training(shown: pd.DataFrame) -> Canvas:
    """Draw heights and shapes in the upper row, and the shares of sinks in the lower row."""
    ylabels = ["rise of the anisotropy\nabove both ends", "share of the\nleading variance"]
    shared: dict[str, Any] = {"heights": [1.3, 0.9], "sharex": "col", "sharey": "row"}
    figure, axes, columns = run_grid(shown, ylabels, 1.2, **shared)
    for (top, below), part in columns:
        for (selection, words), color in zip(SELECTIONS.items(), PALETTE, strict=False):
            line = part[(part.metric == "anisotropy") & (part.selection == selection)]
            heights = line.assign(value=line.height, low=line.height_low, high=line.height_high)
            band(top, heights, color, words, marker="")
            marked = at_chosen(heights, MARKED)
            for shape, mark in MARKS.items():
                mine = marked[marked["shape"] == shape]
                top.plot(mine.step, mine.value, mark, color=color, ms=4, mew=0.8)
        for metric, (words, color) in LEADING_SHARES.items():
            band(below, part[part.metric == metric], color, words)
        below.set_ylim(-0.03, 1.03)
        training_axis(below, part)
    axes[1, -1].legend(loc="center")
    key_below(figure, axes[0, 0], 2)
    marks = "△ dome, □ box, – flat, × other; lower row: middle blocks, all tokens"
    note(figure, f"{subtitle(shown, marks)}\nbands: {INTERVALS}")
    return figure


FIGURE = Figure(
    data=data,
    draw=dome_training,
    title="The dome over training, and the shares of sinks",
    category="Sinks",
    caption="The upper row shows the height of the anisotropy profile: how far the highest value "
    "of the inner layers lies above the higher of the values at the two ends, with all tokens and "
    "without the first token. The lower row shows which tokens make up the variance along the "
    "leading axis of all tokens: first tokens, other massive tokens (with norms above five times "
    "the median), and all other tokens. The three shares are exact, and add up to 1.",
    needs="checkpoints with a step, from a model with inner layers",
)
