"""Comparison of encoders and decoders: anisotropy before and after centring, as in the paper."""

import pandas as pd

from shapesweep.curves.tables import Curves
from shapesweep.figures import Canvas, Figure, note
from shapesweep.figures._panels import FAMILIES, band_over, grid
from shapesweep.figures._select import INTERVALS, PANELS, at_last, rows, subtitle

WAYS = {"anisotropy_uncentred": "before centring", "anisotropy": "after centring"}


def data(curves: Curves) -> pd.DataFrame:
    """Select the anisotropy before and after centring at the last checkpoint of every run."""
    every = {"corpus": curves.corpus, "selection": "all", "family": ["decoder", "encoder"]}
    return at_last(rows(curves.profiles, metric=WAYS, **every))


def families(shown: pd.DataFrame) -> Canvas:
    """Draw one line per run, with encoders on the left and decoders on the right."""
    ylabels = [f"anisotropy\n{words}" for words in WAYS.values()]
    titles, xlabel = ["encoders", "decoders"], "relative depth"
    figure, axes = grid(ylabels, titles, 1.3, xlabel, sharex=True, sharey=True)
    for column, family in zip(axes.T, ["encoder", "decoder"], strict=True):
        for ax, metric in zip(column, WAYS, strict=True):
            part = shown[(shown.family == family) & (shown.metric == metric)]
            for (_, run), line in part.groupby(["suite", "run"], sort=False):
                line = line.sort_values(["layer", "layer_kind"])
                # The output of the final norm replaces the last block, as in `hidden_states`.
                line = line.drop_duplicates("layer", keep="last")
                band_over(ax, line.depth, line, FAMILIES[family], str(run))
            ax.set_ylim(0, 1.02)
            if not len(part):
                ax.text(0.5, 0.5, f"no {family}", ha="center", transform=ax.transAxes)
        if 1 < shown[shown.family == family].run.nunique() <= PANELS:
            column[0].legend(loc="best")
    more = ["all tokens, last checkpoints", f"bands: {INTERVALS}"]
    note(figure, subtitle(shown, *more, drawn=None))
    return figure


FIGURE = Figure(
    data=data,
    draw=families,
    title="Encoders compared with decoders",
    category="The paper's figures",
    caption="Anisotropy over relative depth at the last checkpoint of every run. Without centring "
    "(upper row), the anisotropy is high if all tokens lie in a cone away from the origin. After "
    "centring (lower row), it is high if the tokens are stretched along one line. The figure "
    "follows Razzhigaev et al. 2024.",
)
