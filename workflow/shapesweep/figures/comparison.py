"""Comparison of the authors' numbers with our numbers."""

import pandas as pd

from shapesweep.curves.comparison import counted
from shapesweep.curves.tables import Curves
from shapesweep.figures import Canvas, Figure, note
from shapesweep.figures._panels import GRAY, PALETTE, grid

METRICS = {"anisotropy": "anisotropy", "id_twonn_paper": "TwoNN ID\nthe paper's fit"}


def data(curves: Curves) -> pd.DataFrame:
    """Select all numbers of the authors, and our numbers for models that were measured."""
    # If no model of the paper was measured, there is nothing to compare.
    return curves.comparison[
        curves.comparison.ours.notna().any() & curves.comparison.theirs.notna()
    ]


def comparison(shown: pd.DataFrame) -> Canvas:
    """Draw the authors' numbers with their tolerance in gray, and our numbers in colour."""
    models = dict(iter(shown.groupby("run", sort=False)))
    is_known = [(run.verdict != "not run").any() for run in models.values()]
    titles = [m if known else f"{m}\n(not run)" for m, known in zip(models, is_known, strict=True)]
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
    note(figure, f"all tokens; {counted(shown)}\nbars: tolerance, and 95 % over documents")
    return figure


FIGURE = Figure(
    data=data,
    draw=comparison,
    title="The authors' numbers compared with ours",
    category="The paper's figures",
    caption="Numbers for two models from the stored outputs of the authors, with the tolerance "
    "for agreement, and our numbers for the same models if they were measured.",
    needs="a model that the authors measured",
)
