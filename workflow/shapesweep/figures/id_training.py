"""ID over training: do the two phases stay when neighbours come from other documents?"""

from typing import Any

import pandas as pd
from matplotlib.figure import Figure as Canvas

from shapesweep.figures import Curves, Figure, note
from shapesweep.figures._panels import DEPTHS, PALETTE, band, grid, same_scale, step_axis

PAPER = "#7F7F7F"


def id_training(curves: Curves) -> Canvas:
    """ID over training, from any neighbour and between documents, with the loss below."""
    figure, axes = grid(
        2 * len(curves.runs), 2, 1.05, heights=[1.5, 0.8] * len(curves.runs), sharex="row"
    )
    corpus = curves.corpora[0]
    shown = curves.trajectories.query("corpus == @corpus and selection == 'no_first'")
    ways = [
        ("id_twonn", "all neighbours"),
        ("id_twonn_between", "between documents"),
    ]
    for place, (suite, run, family) in enumerate(curves.runs):
        part = shown.query("suite == @suite and run == @run")
        top = [axes[2 * place, 0], axes[2 * place, 1]]
        for ax, (metric, words) in zip(top, ways, strict=True):
            lines = part[part.metric == metric]
            n_layers = lines.n_layers.max()
            for layers, line in lines[lines.layers != "middle"].groupby("layers", sort=False):
                if layers != "0":
                    color = DEPTHS(int(str(layers)) / n_layers)
                    ax.plot(line.step, line.value, color=color, lw=0.5, alpha=0.8)
            middle = lines[lines.layers == "middle"]
            band(ax, middle, "black" if metric == "id_twonn" else PALETTE[0], "middle blocks")
            ax.set_title(words if place == 0 else "")
            step_axis(ax, middle.step)
        paper = part.query("metric == 'id_twonn_paper' and layers == 'middle'")
        top[0].plot(paper.step, paper.value, "--", color=PAPER, lw=0.8, label="the paper's fit")
        top[0].legend(loc="best")
        same_scale(top)
        top[0].set_ylabel(f"{run}\nTwoNN ID")
        losses(axes[2 * place + 1], curves, suite, run, corpus)
        n_points = part[part.metric == "id_twonn"].n_points.max()
    figure.supxlabel("training step", fontsize=7)
    note(
        figure,
        f"{corpus}, N = {n_points:,}, first token left out; thin: single blocks,\n"
        "dark to light with depth; bands: 95 % over documents",
    )
    return figure


def losses(axes: Any, curves: Curves, suite: str, run: str, corpus: str) -> None:
    """The loss on the corpus and, where one was logged, in training."""
    shown = curves.trajectories.query("suite == @suite and run == @run")
    evaluated = shown.query("metric == 'loss_eval' and corpus == @corpus").sort_values("step")
    logged = shown.query("metric == 'loss_log'").sort_values("step")
    for ax in axes:
        if len(logged):
            ax.plot(logged.step, logged.value, color="#999999", lw=0.7, label="training")
        band(ax, evaluated, "black", "on the corpus")
        step_axis(ax, pd.concat([evaluated.step, logged.step]))
    if len(evaluated) or len(logged):
        axes[0].legend(loc="best")
        same_scale(axes, bottom=None)
    axes[0].set_ylabel("loss (nats)")


FIGURE = Figure(
    draw=id_training,
    title="Two phases: ID over training",
    category="Over training",
    caption="TwoNN's intrinsic dimension with neighbours from anywhere (left) and from other "
    "documents only (right), the loss below. Growth that is there on the left alone is that of "
    "single documents' trajectories. Bands: 95 % over documents; they do not know how much two "
    "trainings differ.",
)
