"""Comparison of dimension budgets with estimates of the dimension."""

import pandas as pd

from shapesweep.curves.tables import Curves
from shapesweep.figures import Canvas, Figure, note
from shapesweep.figures._panels import GRAY, PALETTE, band_over, key_below, log_axis, run_grid
from shapesweep.figures._select import INTERVALS, rows, subtitle

BESIDE = {
    "id_twonn": "TwoNN ID",
    "participation_ratio": "participation ratio",
    "effective_rank": "effective rank",
}


def data(curves: Curves) -> pd.DataFrame:
    """Select the dimension budgets, and estimates of the dimension for the same checkpoints."""
    budgets = curves.budgets
    # Select only the corpora on which the budgets were measured.
    every = {"corpus": budgets.corpus.unique(), "selection": "no_first"}
    beside = rows(curves.profiles, metric=BESIDE, **every)
    beside = beside[beside.layer_kind != "final_norm"]
    chosen = budgets[["suite", "run", "revision"]].drop_duplicates()
    models = curves.profiles[["suite", "run", "family", "model"]].drop_duplicates()
    table = budgets.merge(models, on=["suite", "run"]).assign(metric="budget")
    table = table.rename(columns={"k": "value", "k_low": "low", "k_high": "high"})
    return pd.concat([table, beside.merge(chosen, on=["suite", "run", "revision"])])


def budget(shown: pd.DataFrame) -> Canvas:
    """Draw one panel per run; it shows the last checkpoint that has a budget."""
    figure, axes, columns = run_grid(shown, ["dimensions"], 2.0, "layer", sharey=True)
    for (ax,), part in columns:
        last = part[part.metric == "budget"].step.max()
        part = part if pd.isna(last) else part[part.step == last]
        part = part.sort_values("layer")
        mine = part[part.metric == "budget"]
        band_over(ax, mine.layer, mine, "black", "needed by the model")
        for (metric, words), color in zip(BESIDE.items(), PALETTE, strict=False):
            line = part[part.metric == metric]
            band_over(ax, line.layer, line, color, words)
        ax.axhline(int(mine.n_features.iloc[0]), color=GRAY, lw=0.6, ls="--")
        log_axis(ax)
    key_below(figure, axes[0, 0], 2)
    rise = shown[shown.metric == "budget"].threshold.iloc[0]
    words = f"black: axes needed so that the loss rises by at most {rise:.0%}"
    marks = f"dashed: width of the model; bands: {INTERVALS}"
    note(figure, f"{subtitle(shown)}\n{words}\n{marks}")
    return figure


FIGURE = Figure(
    data=data,
    draw=budget,
    title="The dimension budget",
    category="Beyond the paper",
    caption="The hidden states of one layer are projected onto their leading principal axes. The "
    "black line shows how many axes are needed so that the loss of the model increases by at most "
    "the percentage above the panels. The axes are fitted to documents other than those on which "
    "the loss is computed, and the first token is not projected. The figure also shows the ID, the "
    "participation ratio and the effective rank.",
    needs="dimension budgets (`budget.checkpoints`)",
)
