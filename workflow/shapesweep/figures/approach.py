"""Signals in the steps before a loss explosion, and at the same steps in stable runs."""

import pandas as pd

from shapesweep.curves.tables import Curves
from shapesweep.explosions.scoring import HORIZON, LEAST
from shapesweep.figures import Canvas, Figure, note
from shapesweep.figures._panels import GRAY, PALETTE, band_over, grid, key_below, log_axis

#: Signals in the order of their panels.
METRICS = {
    "id_twonn": "TwoNN ID",
    "id_mle": "MLE ID",
    "anisotropy": "anisotropy",
    "max_norm": "maximal norm",
    "gradient_norm": "gradient norm",
    "loss": "loss, nats",
}
COLORS = {"unstable": PALETTE[1], "stable": GRAY}
WORDS = {"unstable": "runs that explode", "stable": "stable runs at the same times"}


def data(curves: Curves) -> pd.DataFrame:
    """Select signals of the first scored suite.

    Signals of layers are selected only for the middle one of the probed layers.
    """
    found = curves.approaches[curves.approaches.metric.isin(METRICS)]
    if not len(found):
        return found
    found = found[found.suite == found.suite.iloc[0]]
    layers = sorted(found.layer.dropna().unique())
    middle = layers[len(layers) // 2] if layers else None
    return found[found.layer.isna() | (found.layer == middle)]


def approach(shown: pd.DataFrame) -> Canvas:
    """Draw each signal relative to its median in the first half of the horizon."""
    figure, axes = grid([""] * 3, [""] * 2, 1.15, "steps from the onset", sharex=True)
    for ax, (metric, words) in zip(axes.ravel(), METRICS.items(), strict=True):
        part = shown[(shown.metric == metric) & (shown.n_runs > 1)]
        for kind, color in COLORS.items():
            line = part[part.kind == kind].sort_values("lead")
            ends = {n: line[n] + line.relative for n in ("value", "low", "high")}
            band_over(ax, -line.lead, line.assign(**ends), color, WORDS[kind], marker="")
        relative = bool(len(part) and part.relative.iloc[0])
        ax.set_ylabel(f"{words}\n(ratio)" if relative else f"{words}\n(difference)")
        ax.axhline(float(relative), color="black", lw=0.4)
        if relative:
            log_axis(ax)
    key_below(figure, axes[0, 0], 2)
    layer = shown.layer.dropna()
    where = f"layer {int(layer.iloc[0])}; " if len(layer) else ""
    head = f"{where}relative to the median from {HORIZON} to {HORIZON // 2} steps before the onset"
    note(figure, f"{head}\nlines: medians over runs; bands: 95 % intervals")
    return figure


FIGURE = Figure(
    data=data,
    draw=approach,
    title="Signals before a loss explosion",
    category="Loss explosions",
    caption=f"Signals in the {HORIZON} steps before the loss explodes. Each signal is shown "
    "as a ratio to its median in the first half of these steps, or as a difference from this "
    "median. One line shows the median over runs that explode. The other line shows the median "
    "over stable runs at the same steps, that is, how the signals change at this stage of training "
    "without an explosion.",
    needs=f"{LEAST} probed runs whose loss exploded and {LEAST} probed runs whose loss did not "
    "explode (`snakemake spikes`)",
)
