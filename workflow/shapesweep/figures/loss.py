"""Anisotropy and ID as a function of the loss."""

import pandas as pd

from shapesweep.curves.tables import Curves
from shapesweep.figures import Canvas, Figure, note
from shapesweep.figures._panels import GRAY, run_grid, unbroken
from shapesweep.figures._select import INTERVALS, rows, subtitle
from shapesweep.figures._training import training_colors

#: Rows of panels: metric, whether the control is shown, and label.
ROWS = (
    ("anisotropy", False, "anisotropy"),
    ("id_twonn", False, "TwoNN ID\nall tokens"),
    ("id_twonn", True, "TwoNN ID\none per document"),
)


def data(curves: Curves) -> pd.DataFrame:
    """Select the loss of every checkpoint, and metrics of its middle blocks on the same corpus."""
    of_text = {"corpus": curves.corpus, "selection": "no_first", "layers": "middle"}
    found = rows(curves.trajectories, metric=["anisotropy", "id_twonn"], **of_text)
    control = rows(curves.trajectories, metric="id_twonn", layers="middle", **curves.control)
    found = pd.concat([found, control])
    losses = rows(curves.trajectories, metric="loss_eval", corpus=curves.corpus)
    losses = losses[["suite", "run", "revision", "value", "low", "high"]].rename(
        columns={"value": "loss", "low": "loss_low", "high": "loss_high"}
    )
    return found.merge(losses, on=["suite", "run", "revision"])


def loss(shown: pd.DataFrame) -> Canvas:
    """Draw one point per checkpoint, and connect the points in the order of training."""
    figure, axes, columns = run_grid(
        shown, [row[2] for row in ROWS], 1.2, "loss (nats)", sharex="col"
    )
    color = training_colors(figure, axes, shown)
    for column, part in columns:
        for ax, (metric, is_control, _) in zip(column, ROWS, strict=True):
            of_control = part.selection == "one_per_document"
            line = part[(part.metric == metric) & (of_control == is_control)]
            for joined in unbroken(line):
                ax.plot(joined.loss, joined.value, color=GRAY, lw=0.6)
            for point in line.itertuples():
                height = [[point.value - point.low], [point.high - point.value]]
                style = {"fmt": "o", "color": color(point), "ms": 3, "elinewidth": 0.6}
                ax.errorbar(point.loss, point.value, height, **style)
        column[-1].invert_xaxis()
    note(figure, subtitle(shown, "first token left out", "middle blocks") + f"\nbars: {INTERVALS}")
    return figure


FIGURE = Figure(
    data=data,
    draw=loss,
    title="Anisotropy and ID against the loss",
    category="Over training",
    caption="Each point is a checkpoint. It shows a metric of the middle blocks against the loss "
    "on the corpus. The loss decreases to the right. If a metric changes while the loss stays "
    "constant, the metric is not a function of the loss.",
    needs="losses that are measured on the corpus",
)
