"""Convergence of profiles to the last profile of their run, and to the mean of other models."""

import itertools

import pandas as pd

from shapesweep.curves.tables import Curves
from shapesweep.figures import Canvas, Figure, note
from shapesweep.figures._panels import PALETTE, band, grid, key_below
from shapesweep.figures._select import INTERVALS, by_axis, of_run, rows, runs, subtitle, with_step
from shapesweep.figures._training import training_axis

METRICS = {"anisotropy": "anisotropy", "id_twonn": "TwoNN ID"}
TO = {"final": "to the run's last profile", "family": "to the mean of other models"}


def data(curves: Curves) -> pd.DataFrame:
    """Select the distances between every checkpoint's profile and its reference profiles."""
    every = {"corpus": curves.corpus, "selection": "all", "to": TO}
    found = with_step(rows(curves.distances, metric=METRICS, **every))
    return found[found.value.notna()]


def convergence(shown: pd.DataFrame) -> Canvas:
    """Draw one line per run, with one column of panels per reference profile and axis."""
    columns = {to: title for to, title in TO.items() if to in set(shown.to)}
    ylabels = [f"distance of\n{words} profiles" for words in METRICS.values()]
    places = [*itertools.product(columns, by_axis(shown))]
    titles = [columns[to] for to, _ in places]
    figure, axes = grid(ylabels, titles, 1.3, sharex="col", sharey="row")
    for ax, (metric, (to, group)) in zip(
        axes.flat, itertools.product(METRICS, places), strict=True
    ):
        part = group[(group.metric == metric) & (group.to == to)]
        for run, color in zip(runs(shown), PALETTE, strict=False):
            band(ax, of_run(part, run), color, run[1])
        training_axis(ax, group)
        ax.set_ylim(bottom=0)
    key_below(figure, axes[0, 0], 3)
    note(figure, subtitle(shown, "all tokens", f"bands: {INTERVALS}"))
    return figure


FIGURE = Figure(
    data=data,
    draw=convergence,
    title="Do profiles converge?",
    category="Over depth",
    caption="Distance between the profile of a checkpoint and a reference profile: the root mean "
    "square difference over depth. In the left column, the reference is the last profile of the "
    "same run. In the right column, it is the mean of the last profiles of all other models "
    "of the family (such as decoders). If no family has several models, there is no right column. "
    "If all decoders converge to the same dome, the distance in the right column falls to the "
    "distance between runs that differ only by their seed.",
    needs="a run with at least two checkpoints with a step",
)
