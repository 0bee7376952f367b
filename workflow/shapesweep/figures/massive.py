"""Massive activations over training, for every layer."""

import pandas as pd

from shapesweep.curves.tables import Curves
from shapesweep.figures import Canvas, Figure, note
from shapesweep.figures._panels import depth_color, log_axis, run_grid, thin
from shapesweep.figures._select import rows, subtitle, with_step
from shapesweep.figures._training import training_axis
from shapesweep.storage.selections import MASSIVE

KEY = ["suite", "run", "revision", "layers"]
WORDS = {
    "max_norm / median_norm": "largest norm\n/ median norm",
    "activation_top1": "largest |activation|",
}


def data(curves: Curves) -> pd.DataFrame:
    """Select each layer's largest activation, and its largest norm divided by its median norm."""
    every = {"corpus": curves.corpus, "selection": "all"}
    names = ["activation_top1", "max_norm", "median_norm"]
    found = rows(curves.trajectories, metric=names, **every)
    found = with_step(found[found.layers != "middle"])
    medians = found[found.metric == "median_norm"][[*KEY, "value"]]
    ratios = found[found.metric == "max_norm"].merge(medians, on=KEY, suffixes=("", "_median"))
    ends = ["value", "low", "high"]
    ratios[ends] = ratios[ends].div(ratios.value_median, axis="index")
    ratios["metric"] = "max_norm / median_norm"
    return pd.concat([ratios, found[found.metric == "activation_top1"]])


def massive(shown: pd.DataFrame) -> Canvas:
    """Draw one line per layer; lines of deeper layers are lighter."""
    figure, _, columns = run_grid(shown, WORDS.values(), 1.3)
    for column, part in columns:
        column[0].axhline(MASSIVE, color="#999999", lw=0.6, ls="--")
        for ax, metric in zip(column, WORDS, strict=True):
            lines = part[part.metric == metric]
            for layers, line in lines.groupby("layers", sort=False):
                color = depth_color(int(str(layers)), int(line.n_layers.iloc[0]))
                thin(ax, line, color, marker="o", ms=1.5)
            training_axis(ax, part)
            log_axis(ax)
    head = subtitle(shown, "all tokens", "lines: layers, dark (first) to light (last)")
    note(figure, f"{head}\ndashed: {MASSIVE:g} times the median norm; tokens above it are massive")
    return figure


FIGURE = Figure(
    data=data,
    draw=massive,
    title="Massive activations over training",
    category="Sinks",
    caption="The upper row shows the largest norm of a token, divided by the median norm of the "
    "layer. The lower row shows the largest absolute activation. In middle layers of large models, "
    "some tokens have norms that are hundreds of times the median. These tokens then determine the "
    "anisotropy (Sun et al. 2024).",
    needs="checkpoints with a step",
)
