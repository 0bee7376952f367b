"""The authors' numbers beside ours."""

import pandas as pd

from shapesweep.curves.comparison import counted
from shapesweep.curves.tables import Curves
from shapesweep.figures import Canvas, Figure, note
from shapesweep.figures._panels import GRAY, PALETTE, grid, layer_axis

METRICS = {"anisotropy": "anisotropy", "id_twonn_paper": "TwoNN ID\nthe paper's fit"}


def data(curves: Curves) -> pd.DataFrame:
    """All numbers of the authors, and ours for models that were measured."""
    # Without models of the paper there is nothing to compare.
    return curves.comparison[
        curves.comparison.ours.notna().any() & curves.comparison.theirs.notna()
    ]


def comparison(shown: pd.DataFrame) -> Canvas:
    """The authors' numbers with the tolerance in gray, ours in colour."""
    models = list(dict.fromkeys(shown.run))
    figure, axes = grid(len(METRICS), len(models), 1.3)
    for column, model in enumerate(models):
        for row, (metric, words) in enumerate(METRICS.items()):
            ax = axes[row, column]
            part = shown[(shown.run == model) & (shown.metric == metric)].sort_values("layer")
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
            layer_axis(ax)
            axes[row, 0].set_ylabel(words)
        run = shown[shown.run == model]
        words = "" if (run.verdict != "not run").any() else "\n(not run)"
        axes[0, column].set_title(f"{model}{words}")
        axes[-1, column].set_xlabel("layer")
    axes[0, 0].legend(loc="best")
    note(figure, f"all tokens; {counted(shown)}\nbars: tolerance, and 95 % over documents")
    return figure


FIGURE = Figure(
    data=data,
    draw=comparison,
    title="The authors' numbers beside ours",
    category="The paper's figures",
    caption="Numbers for two models from the stored outputs of the authors, with the tolerance "
    "for agreement, and our numbers for the same models if they were measured.",
    needs="a model of the paper",
)
