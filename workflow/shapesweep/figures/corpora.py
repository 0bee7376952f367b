"""Text beside shuffled and random tokens."""

import pandas as pd

from shapesweep.curves import tables
from shapesweep.curves.tables import Curves
from shapesweep.figures import Canvas, Figure, note
from shapesweep.figures._panels import (
    PALETTE,
    band,
    depth_line,
    grid,
    key_below,
    layer_axis,
    same_scale,
    step_axis,
    title,
)
from shapesweep.figures._select import at_last, of_run, rows, runs, subtitle

IDS = {
    "id_twonn": "TwoNN ID\nall neighbours",
    "id_twonn_between": "TwoNN ID\nbetween documents",
    "same_document_nn": "nearest neighbour\nin same document",
}


def data(curves: Curves) -> pd.DataFrame:
    """Anisotropy of the last checkpoint over depth, and IDs of the middle blocks over training."""
    every = {"corpus": curves.corpora, "selection": "no_first"}
    profiles = at_last(rows(curves.profiles, metric="anisotropy", **every))
    lines = rows(curves.trajectories, metric=list(IDS), layers="middle", **every)
    return pd.concat([profiles, lines])


def corpora(shown: pd.DataFrame) -> Canvas:
    """The dome of the last checkpoint, and the IDs over training, by corpus."""
    known, names = runs(shown), tables.corpora(shown)
    figure, axes = grid(4, len(known), 1.3)
    for column, run in enumerate(known):
        part = of_run(shown, run)
        profiles = part[part.metric == "anisotropy"]
        for corpus, color in zip(names, PALETTE, strict=False):
            mine = part[part.corpus == corpus]
            depth_line(axes[0, column], mine[mine.metric == "anisotropy"], color, corpus)
            for row, metric in enumerate(IDS, start=1):
                band(axes[row, column], mine[mine.metric == metric], color)
        for row, (metric, words) in enumerate(IDS.items(), start=1):
            step_axis(axes[row, column], part[part.metric == metric].step)
            axes[row, 0].set_ylabel(words)
        last = profiles.step.max()
        axes[0, column].set_title(title(run[1], run[2]))
        layer_axis(axes[0, column])
        axes[0, column].set_xlabel("layer" if pd.isna(last) else f"layer, at step {last:,}")
        axes[3, column].set_ylim(-0.03, 1.03)
        axes[3, column].set_xlabel("training step")
        same_scale(axes[1:3, column])
    same_scale(axes[0])
    axes[0, 0].set_ylabel("anisotropy")
    key_below(figure, axes[0, 0], len(names))
    more = ["first token left out", "ID of the middle blocks", "bands: 95 % over documents"]
    note(figure, subtitle(shown, *more))
    return figure


FIGURE = Figure(
    data=data,
    draw=corpora,
    title="Controls: text beside shuffled and random tokens",
    category="Controls",
    caption="Top: anisotropy over depth at the last checkpoint. Below: the middle blocks over "
    "training. Effects that also occur on random tokens do not depend on language; effects that "
    "also occur on shuffled tokens do not depend on word order.",
)
