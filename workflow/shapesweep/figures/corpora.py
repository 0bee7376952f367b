"""Text beside its shuffled tokens and random ones: what of it is language?"""

import pandas as pd
from matplotlib.figure import Figure as Canvas

from shapesweep.figures import Curves, Figure, note
from shapesweep.figures._panels import (
    PALETTE,
    band,
    depth_line,
    grid,
    layer_axis,
    same_scale,
    step_axis,
    title,
)


def corpora(curves: Curves) -> Canvas:
    """Text beside its shuffled tokens and random ones: the dome at the end, the ID on the way."""
    figure, axes = grid(4, len(curves.runs), 1.3)
    ids = [
        ("id_twonn", "TwoNN ID\nall neighbours"),
        ("id_twonn_between", "TwoNN ID\nbetween documents"),
        ("same_document_nn", "nearest neighbour\nin same document"),
    ]
    for column, (suite, run, family) in enumerate(curves.runs):
        profiles = curves.profiles.query(
            "suite == @suite and run == @run and metric == 'anisotropy' and selection == 'no_first'"
        )
        lines = curves.trajectories.query(
            "suite == @suite and run == @run and layers == 'middle' and selection == 'no_first'"
        )
        last = profiles.step.max()
        profiles = profiles[profiles.step == last] if pd.notna(last) else profiles
        for place, corpus in enumerate(curves.corpora):
            color = PALETTE[place % len(PALETTE)]
            depth_line(axes[0, column], profiles[profiles.corpus == corpus], color, corpus)
            for row, (metric, _) in enumerate(ids, start=1):
                part = lines.query("corpus == @corpus and metric == @metric")
                band(axes[row, column], part, color)
        for row, (metric, words) in enumerate(ids, start=1):
            step_axis(axes[row, column], lines[lines.metric == metric].step)
            if column == 0:
                axes[row, 0].set_ylabel(words)
        axes[0, column].set_title(title(run, family))
        layer_axis(axes[0, column])
        axes[0, column].set_xlabel("layer" if pd.isna(last) else f"layer, at step {last:,}")
        axes[3, column].set_ylim(-0.03, 1.03)
        axes[3, column].set_xlabel("training step")
        same_scale(axes[1:3, column])
    same_scale(axes[0])
    axes[0, 0].set_ylabel("anisotropy")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    n_points = curves.trajectories.query("metric == 'id_twonn'").n_points.max()
    note(
        figure,
        f"N = {n_points:,}, first token left out; ID of the middle blocks;\n"
        "bands: 95 % over documents",
    )
    return figure


FIGURE = Figure(
    draw=corpora,
    title="Controls: text beside shuffled and random tokens",
    category="Controls",
    caption="Top: anisotropy over depth at the last checkpoint. Below: the middle blocks along "
    "training. What random tokens show too is not language's doing; what shuffled tokens show too "
    "needs no order.",
)
