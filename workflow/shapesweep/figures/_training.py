"""The axis of training in figures, on which checkpoints are at their steps or tokens."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from shapesweep.figures import Canvas
from shapesweep.figures._select import by_axis
from shapesweep.storage import axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
else:
    # `Any` avoids the import of matplotlib, as for `Canvas`.
    Axes = Any

#: Name of the colour map for training.
TRAINING = "viridis_r"
#: If an axis has at most this many powers of ten, each of them is labelled.
FEW_POWERS = 4


def training_axis(ax: Axes, shown: pd.DataFrame) -> None:
    """Set up a logarithmic axis of steps or tokens; if there are none, write a note instead.

    A panel in the last row also gets the label of the axis.
    """
    along, positions = axis.of_rows(shown), shown.step.dropna().astype(float)
    if not len(positions):
        ax.text(0.5, 0.5, "no training steps", ha="center", va="center", transform=ax.transAxes)
        ax.set_xticks([])
        return
    place = ax.get_subplotspec()
    if place is None or place.is_last_row():
        ax.set_xlabel(along.label)
    # The axis is linear below the first power of ten, so that the start of training can be shown.
    first = _first_power(along)
    ax.set_xscale("symlog", linthresh=first, linscale=0.4)
    top = max(positions.max(), first)
    powers = first * 10.0 ** np.arange(0, np.ceil(np.log10(top / first)) + 1)
    powers = powers[powers <= top]
    # If there are many powers of ten, label every second power, including the last.
    ticks = [0.0, *(powers if len(powers) <= FEW_POWERS else powers[::-1][::2][::-1])]
    ax.set_xticks(ticks, [short(t) for t in ticks])
    ax.set_xticks(powers, minor=True)
    ax.set_xlim(-0.15 * first, top * 1.3)


def label_panels(figure: Canvas, panels: Sequence[tuple[Any, pd.DataFrame]], words: str) -> None:
    """Label the axes of training below panels: once for all panels if their labels are equal.

    In the label `words`, the label of the axis replaces `{}`.
    """
    labels = [words.format(axis.of_rows(part).label) for _, part in panels]
    if len(set(labels)) == 1:
        figure.supxlabel(labels[0], fontsize=7)
    for (ax, _), label in zip(panels, labels, strict=True):
        ax.set_xlabel(label if len(set(labels)) > 1 else "")


def short(position: float) -> str:
    """Format a position as a label of an axis, such as 512, 8k or 1.5M.

    Billions, which are always tokens, are rounded to four digits. Other numbers are exact.
    """
    for unit, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        text = f"{position / unit:.4g}"
        if position >= unit and (unit >= 1e9 or float(text) * unit == position):
            return f"{text}{letter}"
    return f"{position:,.0f}"


def training_colors(figure: Canvas, axes: Any, shown: pd.DataFrame) -> Callable[[Any], Any]:
    """Add a colour bar of training, and return a function that maps a row to its colour.

    The scale is logarithmic. If there are fewer than two distinct positions, all colours are black,
    and no bar is added. Rows without a position are black. If the runs cannot share an axis, the
    colours of each run go from its start to its last checkpoint.
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    if shown.step.nunique() < 2:
        return lambda _: "black"
    parts = by_axis(shown)
    groups = parts if len(parts) == 1 else [run for _, run in shown.groupby(["suite", "run"])]
    scales = {
        run: (axis.of_rows(group), group.step.max())
        for group in groups
        for run in set(zip(group.suite, group.run, strict=True))
    }
    ticks, words = {"start": 0.0, "last": 1.0}, "training of each run"
    if len(parts) == 1:
        along, top = axis.of_rows(parts[0]), float(parts[0].step.max())
        marks = [0.0, *(_first_power(along) * 10.0 ** np.arange(9))]
        ticks = {short(mark): _share(along, mark, top) for mark in marks if mark <= top}
        words = along.label
    scale = ScalarMappable(Normalize(0, 1), TRAINING)
    bar = figure.colorbar(scale, ax=axes, aspect=40, pad=0.02, fraction=0.05)
    bar.set_ticks([*ticks.values()], labels=[*ticks])
    bar.set_label(words)
    bar.outline.set_linewidth(0.5)

    def color(row: Any) -> Any:
        along, top = scales[row.suite, row.run]
        position = row.tokens if along.on_tokens else row.step
        if pd.isna(position):
            return "black"
        return colormaps[TRAINING](_share(along, position, top))

    return color


def _first_power(along: axis.Axis) -> float:
    """Return the power of ten at which a logarithmic axis begins."""
    return float(10.0 ** np.floor(np.log10(along.unit)))


def _share(along: axis.Axis, position: float, top: float) -> float:
    """Return how far a position is along a logarithmic axis that ends at `top`, from 0 to 1."""
    return float(along.log(position) / along.log(top))
