"""ID over training: does it still grow and then fall if all neighbours are in other documents?"""

from typing import Any

import pandas as pd

from shapesweep.curves.tables import Curves
from shapesweep.figures import Canvas, Figure, note
from shapesweep.figures._panels import (
    GRAY,
    PALETTE,
    Axes,
    band,
    depth_color,
    grid,
    same_scale,
    step_axis,
    thin,
)
from shapesweep.figures._select import INTERVALS, of_run, rows, runs, subtitle, with_step

WAYS = {"id_twonn": "all neighbours", "id_twonn_between": "between documents"}
METRICS = [*WAYS, "id_twonn_paper", "same_document_nn"]


def data(curves: Curves) -> pd.DataFrame:
    """Select the IDs of every block, the shares of neighbours in the same document, and losses."""
    lines = rows(curves.trajectories, metric=METRICS, corpus=curves.corpus, selection="no_first")
    lines = with_step(lines[lines.layers != "0"])
    if not len(lines):
        return lines
    peaks = rows(curves.phases, metric=WAYS, corpus=curves.corpus, selection="no_first")
    verdicts = peaks[["suite", "run", "metric", "layers", "peak_step", "peak_step_low"]]
    verdicts = verdicts.assign(peak_step_high=peaks.peak_step_high, verdict=peaks.verdict)
    lines = lines.merge(verdicts, on=["suite", "run", "metric", "layers"], how="left")
    evaluated = rows(curves.trajectories, metric="loss_eval", corpus=curves.corpus)
    logged = rows(curves.trajectories, metric="loss_log")
    return pd.concat([lines, with_step(evaluated), logged])


def id_training(shown: pd.DataFrame) -> Canvas:
    """Draw two rows per run: one with IDs, and one with same-document shares and losses."""
    known = runs(shown)
    heights = [1.5, 0.8] * len(known)
    ylabels = [f"{run}\nTwoNN ID" for _, run, _ in known]
    ylabels = [label for run in ylabels for label in (run, "neighbour in\nsame document")]
    figure, axes = grid(ylabels, list(WAYS.values()), 1.05, heights=heights, sharex="row")
    for number, run in enumerate(known):
        part, top, below = of_run(shown, run), axes[2 * number], axes[2 * number + 1]
        for ax, metric, color in zip(top, WAYS, ("black", PALETTE[0]), strict=True):
            _blocks(ax, part[part.metric == metric], color)
        paper = part[(part.metric == "id_twonn_paper") & (part.layers == "middle")]
        thin(top[0], paper, GRAY, "the paper's fit", ls="--")
        top[0].legend(loc="best")
        same_scale(top)
        same = part[(part.metric == "same_document_nn") & (part.layers == "middle")]
        band(below[0], same, "black")
        below[0].set_ylim(-0.03, 1.03)
        _losses(below[1], part)
        step_axis(below[0], same.step)
    figure.supxlabel("training step", fontsize=7)
    thin_lines = "thin: single blocks, dark (first) to light (last)"
    bands = f"bands: {INTERVALS}; gray: 95 % interval of a peak's step"
    note(figure, f"{subtitle(shown, 'first token left out', thin_lines)}\n{bands}")
    return figure


def _blocks(ax: Axes, lines: pd.DataFrame, color: str) -> None:
    """Draw lines for all blocks and the middle blocks, and shade the interval of a peak's step."""
    for layers, line in lines[lines.layers != "middle"].groupby("layers", sort=False):
        shade: Any = depth_color(int(str(layers)), int(line.n_layers.iloc[0]))
        thin(ax, line, shade, lw=0.5, alpha=0.8)
    middle = lines[lines.layers == "middle"]
    band(ax, middle, color, "middle blocks")
    step_axis(ax, middle.step)
    if len(middle) and middle.verdict.iloc[0] == "peak":
        low, high = middle.peak_step_low.iloc[0], middle.peak_step_high.iloc[0]
        ax.axvspan(float(low), float(high), color=GRAY, alpha=0.15, lw=0)


def _losses(ax: Axes, part: pd.DataFrame) -> None:
    """Draw the loss on the corpus and, if it was logged, the training loss."""
    evaluated, logged = (part[part.metric == f"loss_{source}"] for source in ("eval", "log"))
    if len(logged):
        thin(ax, logged, "#999999", "training", lw=0.7)
    if len(evaluated):
        band(ax, evaluated, "black", "on the corpus")
    if len(evaluated) or len(logged):
        ax.legend(loc="best")
    step_axis(ax, pd.concat([evaluated.step, logged.step]))
    ax.set_ylabel("loss (nats)")


FIGURE = Figure(
    data=data,
    draw=id_training,
    title="Two phases: ID over training",
    category="Over training",
    caption="Intrinsic dimension by TwoNN, with all neighbours (left) and with only neighbours "
    "in other documents (right). The lower rows show the share of tokens whose nearest "
    "neighbour is in the same document (left), and the loss (right). If the ID grows only in the "
    "left panel, the growth comes from trajectories within documents. A gray range is the 95 % "
    "interval of the step of a peak. It is drawn if the peak exceeds the noise of documents and of "
    "training.",
    needs="checkpoints with a step",
)
