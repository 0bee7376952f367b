"""ID of several models over training, on text and on random tokens, as in the paper."""

import itertools

import pandas as pd

from shapesweep.curves.tables import Curves, corpora
from shapesweep.figures import Canvas, Figure, note
from shapesweep.figures._panels import PALETTE, band, grid, key_below, same_scale
from shapesweep.figures._select import INTERVALS, by_axis, rows, subtitle, with_step
from shapesweep.figures._training import training_axis

#: Rows of panels: metric, selection, and label.
ROWS = (
    ("id_twonn_paper", "all", "TwoNN ID\nthe paper's fit"),
    ("id_twonn", "all", "TwoNN ID\nall tokens"),
    ("id_twonn", "one_per_document", "TwoNN ID\none per document"),
)


def data(curves: Curves) -> pd.DataFrame:
    """Select the ID of every model's middle blocks, as the mean over seeds if there are several."""
    shown = [c for c in (curves.corpus, "random") if c in curves.corpora]
    every = {"over": ["documents", "seeds"], "layers": "middle", "corpus": shown}
    both = with_step(
        pd.concat(
            [
                rows(curves.trajectories, metric=metric, selection=selection, **every)
                for metric, selection, _ in ROWS
            ]
        )
    )
    names = pd.Series(list(zip(both.suite, both.model, strict=True)), index=both.index)
    repeated = set(names[both.over == "seeds"])
    # Without a mean over seeds, a model is represented by its first run. Other runs of the model
    # are copies, or have no checkpoints in common with the first run.
    first = both.groupby(["suite", "model"]).run.transform("first")
    return both[(both.over == "seeds") | (~names.isin(repeated) & (both.run == first))]


def id_models(shown: pd.DataFrame) -> Canvas:
    """Draw one line per model, with one column per corpus and axis and one row per estimator."""
    places = [*itertools.product(corpora(shown), by_axis(shown))]
    every = list(dict.fromkeys(zip(shown.suite, shown.model, strict=True)))
    models = every[: len(PALETTE)]
    titles = [corpus for corpus, _ in places]
    figure, axes = grid([row[2] for row in ROWS], titles, 1.2, sharex="col")
    for row, (metric, selection, _) in zip(axes, ROWS, strict=True):
        for ax, (corpus, group) in zip(row, places, strict=True):
            mine = group[(group.metric == metric) & (group.selection == selection)]
            part = mine[mine.corpus == corpus]
            for (suite, model), color in zip(models, PALETTE, strict=False):
                band(ax, part[(part.suite == suite) & (part.model == model)], color, model)
            training_axis(ax, group)
        same_scale(row)
    key_below(figure, axes[0, 0], 3)
    seeds = f"bands: {INTERVALS}, or over seeds if there are several"
    more = f"{len(models)} of {len(every)} models; " if len(every) > len(models) else ""
    head = subtitle(shown, f"{more}middle blocks", drawn=None)
    note(figure, f"{head}\n{seeds}")
    return figure


FIGURE = Figure(
    data=data,
    draw=id_models,
    title="ID of several models over training, on text and on random tokens",
    category="The paper's figures",
    caption="Does the ID grow and then fall in every model, and also on random tokens? All rows "
    "show the ID by TwoNN, which is fitted to ratios of distances to neighbours. The upper row "
    "uses the fit of Razzhigaev et al. 2024 to only the lowest 20 % of the ratios. The middle row "
    "uses the fit to the lowest 90 %. The lower row uses the same fit as the middle row, but only "
    "one token per document. Its IDs come from far fewer points, so only the courses can be "
    "compared, and not the values.",
    needs="checkpoints with a step",
)
