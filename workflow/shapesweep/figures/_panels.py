"""Building blocks of figures: lines, bands, and axes of layers."""

import itertools
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from shapesweep.figures import WIDTH, Canvas
from shapesweep.figures._select import of_run, runs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
else:
    # `Any` avoids the import of matplotlib, as for `Canvas`.
    Axes = Any

#: The palette of Okabe and Ito. Colour-blind readers can tell its colours apart.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
FAMILIES = {"decoder": PALETTE[0], "encoder": PALETTE[1], "other": PALETTE[2]}
GRAY = "#7F7F7F"
#: Shares of three groups of tokens in the variance along the leading axis, with labels and colours.
LEADING_SHARES = {
    "leading_share_first": ("first tokens", PALETTE[1]),
    "leading_share_massive": ("other massive tokens", PALETTE[2]),
    "leading_share_bulk": ("all others", "black"),
}
#: If the name of a run has at most this many characters, its title shows the family on the same
#: line.
LONG = 12
#: Labels of an axis are these multiples of each power of ten: `NARROW_SUBS` if the upper limit of
#: the axis is at most `NARROW` times the lower limit, otherwise `SUBS`.
SUBS, NARROW, NARROW_SUBS = (1, 2, 5), 4, (1, 1.2, 1.5, 2, 3, 4, 6, 8)
#: A line with at most this many points has a marker at each point.
MARKED = 40


def grid(
    ylabels: Iterable[str],
    titles: Sequence[str],
    height: float,
    xlabel: str = "",
    heights: list[float] | None = None,
    **more: Any,
) -> tuple[Canvas, Any]:
    """Create a grid of panels, with one row per label and one column per title.

    The height of each row is `height` inches times its entry in `heights`.
    """
    from matplotlib import pyplot as plt

    ylabels = list(ylabels)
    heights = heights or [1] * len(ylabels)
    figure, axes = plt.subplots(
        len(ylabels),
        len(titles),
        figsize=(max(WIDTH, 1.6 * len(titles)), sum(heights) * height + 0.35),
        squeeze=False,
        height_ratios=heights,
        **more,
    )
    for ax, ylabel in zip(axes[:, 0], ylabels, strict=True):
        ax.set_ylabel(ylabel)
    for column, title in zip(axes.T, titles, strict=True):
        column[0].set_title(title)
        column[-1].set_xlabel(xlabel)
    for ax in axes.flat if xlabel == "layer" else ():
        integer_axis(ax)
    return figure, axes


def run_grid(
    data: pd.DataFrame, ylabels: Iterable[str], height: float, xlabel: str = "", **more: Any
) -> tuple[Canvas, Any, list[tuple[Any, pd.DataFrame]]]:
    """Create a grid with one column per run; also return each column with the data of its run."""
    titles, parts = [], []
    for suite, run, family in runs(data):
        between = " " if len(run) <= LONG else "\n"
        titles.append(run if run == family else f"{run}{between}({family})")
        parts.append(of_run(data, (suite, run, family)))
    figure, axes = grid(ylabels, titles, height, xlabel, **more)
    return figure, axes, list(zip(axes.T, parts, strict=True))


def key_below(figure: Canvas, ax: Axes, columns: int) -> None:
    """Draw one legend for all panels, below the panels."""
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(columns, len(labels)))


def integer_axis(ax: Axes) -> None:
    """Label at most six whole numbers of the horizontal axis, such as layers or steps."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))


def depth_line(ax: Axes, line: pd.DataFrame, color: str, label: str | None = None) -> None:
    """Draw a line over the layers, with a dotted end to the output of the final norm."""
    line = line.sort_values("layer")
    stack, after = line[line.layer_kind != "final_norm"], line[line.layer_kind == "final_norm"]
    ax.fill_between(stack.layer.astype(float), stack.low, stack.high, color=color, alpha=0.25, lw=0)
    ax.plot(stack.layer, stack.value, color=color, marker="o", ms=1.5, lw=0.9, label=label)
    if len(after):
        last = stack.iloc[-1]
        x = [last.layer, after.layer.iloc[0] + 0.6]
        ax.plot(x, [last.value, after.value.iloc[0]], ":", color=color, lw=0.7)
        ax.plot(x[1:], after.value, "o", mfc="white", color=color, ms=2.5, mew=0.6)


def unbroken(line: pd.DataFrame) -> list[pd.DataFrame]:
    """Split a line over training into segments, and drop the rows that have no step.

    A segment ends at a break: the next checkpoint does not continue the training of the segment.
    """
    line = line[line.step.notna()].sort_values("step")
    return [part for _, part in line.groupby("segment")] or [line]


def thin(ax: Axes, line: pd.DataFrame, color: Any, label: str | None = None, **more: Any) -> None:
    """Draw a line over training, without its confidence interval."""
    for number, part in enumerate(unbroken(line)):
        first_label = label if number == 0 else None
        ax.plot(part.step, part.value, color=color, label=first_label, **{"lw": 0.8, **more})


def band(ax: Axes, line: pd.DataFrame, color: str, label: str | None = None, **more: Any) -> None:
    """Draw a line over training with its interval as a band; dotted vertical lines mark breaks."""
    from matplotlib import rcParams

    usual = {"ms": rcParams["lines.markersize"], "lw": rcParams["lines.linewidth"]}
    for before, part in itertools.pairwise([None, *unbroken(line)]):
        if before is not None:
            middle = (float(before.step.iloc[-1]) + float(part.step.iloc[0])) / 2
            ax.axvline(middle, color=GRAY, lw=0.6, ls=(0, (1, 2)))
        first_label = label if before is None else None
        band_over(ax, part.step, part, color, first_label, **{**usual, **more})


def band_over(
    ax: Axes, x: Any, line: pd.DataFrame, color: Any, label: str | None = None, **more: Any
) -> None:
    """Draw a line at the horizontal positions `x`, with its confidence interval as a band."""
    x, low, high = (column.astype(float) for column in (x, line.low, line.high))
    ax.fill_between(x, low, high, color=color, alpha=0.2, lw=0)
    usual = {"marker": "o" if len(line) <= MARKED else "", "ms": 1.5, "lw": 0.9}
    ax.plot(x, line.value, color=color, label=label, **{**usual, **more})


def log_axis(ax: Axes) -> None:
    """Make the vertical axis logarithmic, and label a few plain numbers.

    Call this function after drawing, because it reads the range of the axis.
    """
    from matplotlib import ticker

    if ax.get_yscale() != "log":
        ax.set_yscale("log")
    low, high = ax.yaxis.get_view_interval()
    subs = SUBS if high > NARROW * low else NARROW_SUBS
    ax.yaxis.set_major_locator(ticker.LogLocator(subs=subs, numticks=8))
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    ax.yaxis.set_minor_formatter(ticker.NullFormatter())


def same_scale(axes: Iterable[Axes], bottom: float | None = 0.0) -> None:
    """Set one vertical range for all axes.

    The range starts at `bottom`. If `bottom` is None, it starts at the lowest limit of any axis.
    """
    axes = list(axes)
    limits = np.array([ax.get_ylim() for ax in axes])
    for ax in axes:
        ax.set_ylim(limits[:, 0].min() if bottom is None else bottom, limits[:, 1].max())


def depth_color(layer: int, n_layers: int) -> Any:
    """Return the colour of a layer on a scale of relative depth."""
    from matplotlib import colormaps

    return colormaps["cividis"](layer / n_layers)
