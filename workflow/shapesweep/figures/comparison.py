"""Comparison of the numbers of the paper's authors with our numbers."""

import pandas as pd

from shapesweep.curves.comparison import counted
from shapesweep.curves.tables import Curves
from shapesweep.figures import Canvas, Figure, note
from shapesweep.figures._panels import GRAY, PALETTE, grid
from shapesweep.figures._select import INTERVALS

METRICS = {"anisotropy": "anisotropy", "id_twonn_paper": "TwoNN ID\nthe paper's fit"}
BARS = f"gray bars: tolerance; blue bars: {INTERVALS}"


def data(curves: Curves) -> pd.DataFrame:
    """Select all numbers of the authors, and our numbers for the models that we measured."""
    # If no model of the paper was measured, there is nothing to compare.
    return curves.comparison[
        curves.comparison.ours.notna().any() & curves.comparison.theirs.notna()
    ]


def comparison(shown: pd.DataFrame) -> Canvas:
    """Draw the authors' numbers with their tolerance in gray, and our numbers in colour."""
    models = dict(iter(shown.groupby("run", sort=False)))
    is_known = [(run.verdict != "not run").any() for run in models.values()]
    marks = ["" if known else "\n(not measured)" for known in is_known]
    titles = [f"{model}{mark}" for model, mark in zip(models, marks, strict=True)]
    figure, axes = grid(METRICS.values(), titles, 1.3, "layer")
    for column, run in zip(axes.T, models.values(), strict=True):
        for ax, metric in zip(column, METRICS, strict=True):
            part = run[run.metric == metric].sort_values("layer")
            layers = part.layer.astype(float)
            ax.errorbar(
                layers, part.theirs, part.tolerance, fmt="s", color=GRAY, ms=2.5, label="authors"
            )
            known = part[part.verdict != "not run"]
            if len(known):
                half = [known.ours - known.ours_low, known.ours_high - known.ours]
                x = known.layer.astype(float)
                ax.errorbar(x, known.ours, half, fmt="o", color=PALETTE[0], ms=2.5, label="ours")
            ax.set_ylim(bottom=0)
    axes[0, 0].legend(loc="best")
    note(figure, f"all tokens; {counted(shown)}\n{BARS}")
    return figure


FIGURE = Figure(
    data=data,
    draw=comparison,
    title="The authors' numbers compared with ours",
    category="The paper's figures",
    caption="The authors' numbers for two models, and our numbers for the same models. The gray "
    "bars show the tolerance within which our numbers count as agreeing with theirs. The authors' "
    "numbers come from the stored outputs of their notebooks. If a model was not measured, only "
    "the authors' numbers are shown.",
    needs="a model that the authors measured",
)
