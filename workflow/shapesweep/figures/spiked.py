"""ID and anisotropy of checkpoints before and in loss spikes."""

import pandas as pd

from shapesweep.curves.tables import Curves
from shapesweep.figures import Canvas, Figure, note
from shapesweep.figures._panels import GRAY, PALETTE, band_over, grid, integer_axis, key_below
from shapesweep.figures._select import INTERVALS
from shapesweep.figures._training import short
from shapesweep.storage import axis

#: Rows of panels: metric and label. Lines of each panel: corpus, selection, label and colour.
ROWS = {"id_twonn": "TwoNN ID", "anisotropy": "anisotropy"}
LINES = (
    ("text", "no_first", "without first tokens", PALETTE[0]),
    ("text", "all", "all tokens", PALETTE[2]),
    ("passages", "one_per_document", "one per document", PALETTE[1]),
)
#: Maximum number of runs that get panels.
PANELS = 4


def data(curves: Curves) -> pd.DataFrame:
    """Select the checkpoints of runs with spikes, and of the runs beside them."""
    return curves.spiked[curves.spiked.step.notna()]


def spiked(shown: pd.DataFrame) -> Canvas:
    """Draw each run over training, beside its reference; checkpoints in a spike are shaded."""
    runs = list(shown.groupby(["suite", "run"], sort=False))
    titles = [_title(run, part) for (_, run), part in runs[:PANELS]]
    figure, axes = grid(ROWS.values(), titles, 1.4, sharex="col")
    for column, (_, part) in zip(axes.T, runs, strict=False):
        for ax, metric in zip(column, ROWS, strict=True):
            for corpus, selection, words, color in LINES:
                line = part[(part.metric == metric) & (part.corpus == corpus)]
                line = line[line.selection == selection].sort_values("step")
                # An empty line is drawn as well, so that the legend is complete.
                band_over(ax, line.step, line, color, words)
                ax.plot(line.step.astype(float), line.reference_value, "--", color=color, lw=0.8)
            for step in _in_spike(part):
                ax.axvline(step, color=GRAY, alpha=0.25, lw=3)
            integer_axis(ax)
            ax.xaxis.set_major_formatter(lambda position, _: short(position))
        column[-1].set_xlabel(axis.of_rows(part).label)
    key_below(figure, axes[0, 0], 3)
    more = f"; {PANELS} of {len(runs)} runs" if len(runs) > PANELS else ""
    shaded = any(_in_spike(part) for _, part in runs[:PANELS])
    words = "\nshaded: the loss is in a spike" if shaded else ""
    note(figure, f"middle blocks{more}{words}\n{INTERVALS}")
    return figure


def _title(run: str, part: pd.DataFrame) -> str:
    reference = part.reference.dropna()
    return f"{run}\n(dashed: {reference.iloc[0]})" if len(reference) else run


def _in_spike(part: pd.DataFrame) -> list[float]:
    """Return the steps of checkpoints whose loss is known to be in a spike."""
    return sorted(part.step[(part.state == "in") & part.loss.notna()].astype(float).unique())


FIGURE = Figure(
    data=data,
    draw=spiked,
    title="Checkpoints before and in loss spikes",
    category="Loss explosions",
    caption="ID and anisotropy of the middle blocks of runs whose loss spikes. If a run was saved "
    "during a spike and the same repository contains a run without the spike, the dashed lines "
    "show this run at the same steps. If the loss is known from a log, checkpoints in the spike "
    "are shaded. These are descriptions and no score, because too few runs with spikes are "
    "published.",
    needs="runs with a loss spike (`snakemake spikes`)",
)
