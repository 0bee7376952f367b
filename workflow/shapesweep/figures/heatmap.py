"""Anisotropy and ID of every layer and checkpoint as heat maps."""

from typing import Any

import numpy as np
import pandas as pd

from shapesweep.curves.tables import Curves
from shapesweep.figures import Canvas, Figure, note
from shapesweep.figures._panels import grid, plain_log, short, title
from shapesweep.figures._select import of_run, rows, runs, subtitle

METRICS = {"anisotropy": "anisotropy", "id_twonn": "TwoNN ID", "id_twonn_between": "between docs"}
#: Maximum number of steps that are labelled.
LABELS = 6


def data(curves: Curves) -> pd.DataFrame:
    """Three metrics of every layer and checkpoint with a step."""
    every = {"corpus": curves.corpus, "selection": "no_first"}
    found = rows(curves.profiles, metric=list(METRICS), **every)
    return found[(found.layer_kind != "final_norm") & found.step.notna()]


def heatmap(shown: pd.DataFrame) -> Canvas:
    """Columns are runs, rows are metrics; each column of cells is a checkpoint, layers upwards."""
    from matplotlib.colors import LogNorm

    known = runs(shown)
    figure, axes = grid(len(METRICS), len(known), 1.2)
    for row, (metric, words) in enumerate(METRICS.items()):
        values = shown[shown.metric == metric].value.astype(float)
        values = values[np.isfinite(values) & (values > 0)]
        # IDs differ by factors, and those of the embedding are far above the rest.
        lowest, highest = (values.min(), values.max()) if len(values) else (1.0, 2.0)
        limits: dict[str, Any] = {"norm": LogNorm(lowest, highest)}
        if metric == "anisotropy":
            limits = {"vmin": 0, "vmax": 1}
        for column, run in enumerate(known):
            ax, part = axes[row, column], of_run(shown, run)
            mine = part[part.metric == metric].drop_duplicates(["layer", "step"])
            cells = mine.pivot(index="layer", columns="step", values="value")
            if not cells.size:
                ax.set_axis_off()
                continue
            ax.imshow(cells.to_numpy(float), aspect="auto", origin="lower", cmap="magma", **limits)
            ticks = np.unique(np.linspace(0, cells.shape[1] - 1, LABELS).round().astype(int))
            ax.set_xticks(ticks, [short(cells.columns[i]) for i in ticks], fontsize=5)
            ax.grid(visible=False)
            segments = mine.groupby("step").segment.first().to_numpy(int)
            for boundary in np.flatnonzero(np.diff(segments)):
                ax.axvline(boundary + 0.5, color="white", lw=1.2)
            if row == 0:
                ax.set_title(title(run[1], run[2]))
        axes[row, 0].set_ylabel("layer")
        if not axes[row, 0].images:
            continue
        bar = figure.colorbar(axes[row, 0].images[0], ax=axes[row], aspect=14, pad=0.02)
        bar.set_label(words)
        if metric != "anisotropy":
            plain_log(bar.ax.yaxis)
        bar.outline.set_linewidth(0.5)
    figure.supxlabel("checkpoint, by its step", fontsize=7)
    note(figure, subtitle(shown, "first token left out"))
    return figure


FIGURE = Figure(
    data=data,
    draw=heatmap,
    title="Depth by training",
    category="Over training",
    caption="Layers upwards, checkpoints to the right, evenly spaced. A dome is a bright band "
    "between darker edges; two phases are columns that are brighter than those at both ends.",
    needs="checkpoints with a step",
)
