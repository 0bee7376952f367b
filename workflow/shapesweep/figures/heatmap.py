"""Heat maps of the anisotropy and the ID at every layer and checkpoint."""

from typing import Any

import numpy as np
import pandas as pd

from shapesweep.curves.tables import Curves
from shapesweep.figures import Canvas, Figure, note
from shapesweep.figures._panels import log_axis, run_grid
from shapesweep.figures._select import rows, subtitle, with_step
from shapesweep.figures._training import label_panels, short

#: Rows of panels: metric, selection, and label.
ROWS = (
    ("anisotropy", "no_first", "anisotropy"),
    ("id_twonn", "no_first", "TwoNN ID"),
    ("id_twonn", "one_per_document", "ID, one per doc"),
)
#: Maximum number of steps that are labelled.
LABELS = 6


def data(curves: Curves) -> pd.DataFrame:
    """Select three metrics of every layer, at all checkpoints with a step."""
    of_text = {"corpus": curves.corpus, "selection": "no_first"}
    found = rows(curves.profiles, metric=["anisotropy", "id_twonn"], **of_text)
    control = rows(curves.profiles, metric="id_twonn", **curves.control)
    found = with_step(pd.concat([found, control]))
    return found[found.layer_kind != "final_norm"]


def heatmap(shown: pd.DataFrame) -> Canvas:
    """Draw a panel per metric and run, with checkpoints as columns and layers as rows."""
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import MaxNLocator

    figure, axes, columns = run_grid(shown, ["layer"] * len(ROWS), 1.2)
    for row, (metric, selection, words) in zip(axes, ROWS, strict=True):
        known = shown[(shown.metric == metric) & (shown.selection == selection)]
        values = known.value.astype(float)
        values = values[np.isfinite(values) & (values > 0)]
        # IDs get a logarithmic scale, because the embedding has far higher IDs than the blocks.
        lowest, highest = (values.min(), values.max()) if len(values) else (1.0, 2.0)
        limits: dict[str, Any] = {"norm": LogNorm(lowest, highest)}
        if metric == "anisotropy":
            limits = {"vmin": 0, "vmax": 1}
        for ax, (_, part) in zip(row, columns, strict=True):
            mine = part[(part.metric == metric) & (part.selection == selection)]
            mine = mine.drop_duplicates(["layer", "step"])
            if not len(mine):
                ax.set_axis_off()
                continue
            cells = mine.pivot(index="layer", columns="step", values="value")
            # If a metric lacks a layer or a step, its cells are empty, so that equal positions are
            # equal layers and steps.
            layers, steps = range(int(part.layer.max()) + 1), np.sort(part.step.unique())
            cells = cells.reindex(index=layers, columns=steps)
            ax.imshow(cells.to_numpy(float), aspect="auto", origin="lower", cmap="magma", **limits)
            ticks = np.unique(np.linspace(0, cells.shape[1] - 1, LABELS).round().astype(int))
            ax.set_xticks(ticks, [short(cells.columns[i]) for i in ticks], fontsize=5)
            ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
            ax.grid(visible=False)
            segments = part.groupby("step").segment.first().to_numpy(int)
            for boundary in np.flatnonzero(np.diff(segments)):
                ax.axvline(boundary + 0.5, color="white", lw=1.2)
        if not row[0].images:
            continue
        bar = figure.colorbar(row[0].images[0], ax=row, aspect=14, pad=0.02)
        bar.set_label(words)
        if metric != "anisotropy":
            log_axis(bar.ax)
        bar.outline.set_linewidth(0.5)
    panels = [(column[-1], part) for column, part in columns]
    label_panels(figure, panels, "checkpoint ({})")
    note(figure, subtitle(shown, "first token left out; lower row: one token per document"))
    return figure


FIGURE = Figure(
    data=data,
    draw=heatmap,
    title="Depth by training",
    category="Over training",
    caption="Each row of cells is a layer, with the embedding at the bottom. A row is empty where "
    "a layer has too few distinct points. Each column of cells is a checkpoint; the columns are "
    "evenly spaced. The upper rows of panels show all tokens except the first, and the lowest row "
    "shows one token per document. A dome of the anisotropy is a bright band between darker edges. "
    "If the ID grows and then falls, columns in the middle of a panel are brighter than the "
    "columns at both ends.",
    needs="checkpoints with a step",
)
