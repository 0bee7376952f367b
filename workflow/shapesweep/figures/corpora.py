"""Comparison of text with shuffled and random tokens."""

import pandas as pd

from shapesweep.curves import tables
from shapesweep.curves.tables import Curves
from shapesweep.figures import Canvas, Figure, note
from shapesweep.figures._panels import (
    PALETTE,
    band,
    depth_line,
    key_below,
    layer_axis,
    run_grid,
    same_scale,
    step_axis,
)
from shapesweep.figures._select import INTERVALS, at_last, rows, subtitle

IDS = {
    "id_twonn": "TwoNN ID\nall neighbours",
    "id_twonn_between": "TwoNN ID\nbetween documents",
    "same_document_nn": "nearest neighbour\nin same document",
}


def data(curves: Curves) -> pd.DataFrame:
    """Select the anisotropy over depth at the last checkpoint, and the IDs of the middle blocks."""
    every = {"corpus": curves.corpora, "selection": "no_first"}
    profiles = at_last(rows(curves.profiles, metric="anisotropy", **every))
    lines = rows(curves.trajectories, metric=IDS, layers="middle", **every)
    return pd.concat([profiles, lines])


def corpora(shown: pd.DataFrame) -> Canvas:
    """Draw the anisotropy over depth and the IDs over training, with one line per corpus."""
    names = tables.corpora(shown)
    figure, axes, columns = run_grid(shown, ["anisotropy", *IDS.values()], 1.3, "training step")
    for column, part in columns:
        for corpus, color in zip(names, PALETTE, strict=False):
            mine = part[part.corpus == corpus]
            depth_line(column[0], mine[mine.metric == "anisotropy"], color, corpus)
            for ax, metric in zip(column[1:], IDS, strict=True):
                band(ax, mine[mine.metric == metric], color)
        for ax, metric in zip(column[1:], IDS, strict=True):
            step_axis(ax, part[part.metric == metric].step)
        last = part[part.metric == "anisotropy"].step.max()
        layer_axis(column[0])
        column[0].set_xlabel("layer" if pd.isna(last) else f"layer, at step {last:,}")
        column[3].set_ylim(-0.03, 1.03)
        same_scale(column[1:3])
    same_scale(axes[0])
    key_below(figure, axes[0, 0], len(names))
    head = subtitle(shown, "first token left out", "lower rows: middle blocks")
    note(figure, f"{head}\nbands: {INTERVALS}")
    return figure


FIGURE = Figure(
    data=data,
    draw=corpora,
    title="Controls: text compared with shuffled and random tokens",
    category="Controls",
    caption="The top row shows the anisotropy over depth at the last checkpoint. The lower rows "
    "show metrics of the middle blocks over training. Effects that also occur on random "
    "tokens do not depend on language; effects that also occur on shuffled tokens do not depend on "
    "word order.",
)
