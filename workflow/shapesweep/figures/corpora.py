"""Comparison of text with shuffled and random tokens."""

import pandas as pd

from shapesweep.curves import tables
from shapesweep.curves.tables import Curves
from shapesweep.figures import Canvas, Figure, note
from shapesweep.figures._panels import (
    PALETTE,
    band,
    depth_line,
    integer_axis,
    key_below,
    run_grid,
    same_scale,
)
from shapesweep.figures._select import INTERVALS, at_last, rows, subtitle
from shapesweep.figures._training import training_axis
from shapesweep.storage import axis

#: Lower rows of panels: metric, selection, and label.
ROWS = (
    ("id_twonn", "no_first", "TwoNN ID\nall tokens"),
    ("id_twonn", "one_per_document", "TwoNN ID\none per document"),
    ("same_document_nn", "no_first", "nearest neighbour\nin same document"),
)


def data(curves: Curves) -> pd.DataFrame:
    """Select the anisotropy over depth at the last checkpoint, and the IDs of the middle blocks."""
    every = {"corpus": curves.corpora}
    profiles = at_last(rows(curves.profiles, metric="anisotropy", selection="no_first", **every))
    lines = [
        rows(curves.trajectories, metric=metric, selection=selection, layers="middle", **every)
        for metric, selection, _ in ROWS
    ]
    return pd.concat([profiles, *lines])


def corpora(shown: pd.DataFrame) -> Canvas:
    """Draw the anisotropy over depth and the IDs over training, with one line per corpus."""
    names = tables.corpora(shown)
    figure, axes, columns = run_grid(shown, ["anisotropy", *(row[2] for row in ROWS)], 1.3)
    for column, part in columns:
        for corpus, color in zip(names, PALETTE, strict=False):
            mine = part[part.corpus == corpus]
            depth_line(column[0], mine[mine.metric == "anisotropy"], color, corpus)
            for ax, (metric, selection, _) in zip(column[1:], ROWS, strict=True):
                band(ax, mine[(mine.metric == metric) & (mine.selection == selection)], color)
        for ax in column[1:]:
            training_axis(ax, part[part.metric == "id_twonn"])
        last = part[part.metric == "anisotropy"].step.max()
        integer_axis(column[0])
        where = "" if pd.isna(last) else f", at {axis.of_rows(part).at(last)}"
        column[0].set_xlabel(f"layer{where}")
        column[3].set_ylim(-0.03, 1.03)
    same_scale(axes[0])
    key_below(figure, axes[0, 0], len(names))
    head = subtitle(shown, "lower rows: middle blocks")
    note(figure, f"{head}\nbands: {INTERVALS}")
    return figure


FIGURE = Figure(
    data=data,
    draw=corpora,
    title="Controls: text compared with shuffled and random tokens",
    category="Controls",
    caption="The top row shows the anisotropy over depth at the last checkpoint. The lower rows "
    "show metrics of the middle blocks over training: the ID of all tokens except the first, the "
    "ID of one token per document (from fewer points), and the share of tokens whose nearest "
    "neighbour is in the same document. Effects that also occur on random tokens do not depend on "
    "language; effects that also occur on shuffled tokens do not depend on word order.",
)
