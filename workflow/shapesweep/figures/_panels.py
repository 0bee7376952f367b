"""Building blocks of figures: axes of layers and steps, lines, and bands."""

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from shapesweep.figures import WIDTH, Canvas
from shapesweep.figures._select import of_run, runs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.colors import Normalize
else:
    # As `Canvas`: matplotlib is imported only while a figure is drawn.
    Axes = Axis = Normalize = Any

#: Colours of Okabe and Ito, which colour-blind readers can distinguish.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
Sharing = bool | Literal["none", "all", "row", "col"]
#: Name of the colour map of steps.
STEPS = "viridis_r"
FAMILIES = {"decoder": PALETTE[0], "encoder": PALETTE[1], "other": PALETTE[2]}
GRAY = "#7F7F7F"
#: The longest name of a run with its family on the same line.
LONG = 12
#: Maximum number of powers of ten that are all labelled.
FEW_POWERS = 4
#: Labelled multiples within a decade, usually and for an axis that spans at most this factor.
SUBS, NARROW, NARROW_SUBS = (1, 2, 5), 4, (1, 1.2, 1.5, 2, 3, 4, 6, 8)
#: Maximum number of points of a line with markers.
MARKED = 40


def grid(
    rows: int,
    columns: int,
    height: float,
    heights: list[float] | None = None,
    sharex: Sharing = False,
    sharey: Sharing = False,
) -> tuple[Canvas, Any]:
    """Create a grid of panels; rows are `height` inches times their entry of `heights`."""
    from matplotlib import pyplot as plt

    return plt.subplots(
        rows,
        columns,
        figsize=(max(WIDTH, 1.6 * columns), sum(heights or [1] * rows) * height + 0.35),
        squeeze=False,
        gridspec_kw={"height_ratios": heights},
        sharex=sharex,
        sharey=sharey,
    )


def run_grid(
    data: pd.DataFrame, rows: int, height: float, xlabel: str, **more: Any
) -> tuple[Canvas, Any, list[tuple[Any, pd.DataFrame]]]:
    """Create a grid with a column per run; also return each column with the rows of its run."""
    known = runs(data)
    figure, axes = grid(rows, len(known), height, **more)
    for column, run in zip(axes.T, known, strict=True):
        column[0].set_title(title(run[1], run[2]))
        column[-1].set_xlabel(xlabel)
    return figure, axes, [(c, of_run(data, run)) for c, run in zip(axes.T, known, strict=True)]


def title(run: str, family: str) -> str:
    """The title of the panels of a run."""
    between = " " if len(run) <= LONG else "\n"
    return run if run == family else f"{run}{between}({family})"


def key_below(figure: Canvas, ax: Axes, columns: int) -> None:
    """A legend for all panels, below them."""
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(columns, len(labels)))


def layer_axis(ax: Axes) -> None:
    """Label few enough layers to be readable."""
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))


def depth_line(ax: Axes, line: pd.DataFrame, color: str, label: str | None = None) -> None:
    """A line over the embedding and the blocks; dotted: output of the final norm."""
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
    """The segments of a line over training, without rows that have no step.

    A segment ends where the weights of neighbours are discontinuous.
    """
    line = line[line.step.notna()].sort_values("step")
    return [part for _, part in line.groupby("segment")] or [line]


def thin(ax: Axes, line: pd.DataFrame, color: Any, label: str | None = None, **more: Any) -> None:
    """A line over training without an interval."""
    for number, part in enumerate(unbroken(line)):
        first_label = label if number == 0 else None
        ax.plot(part.step, part.value, color=color, label=first_label, **{"lw": 0.8, **more})


def band(ax: Axes, line: pd.DataFrame, color: str, label: str | None = None, **more: Any) -> None:
    """A line over training with its interval, and dotted lines at breaks."""
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
    """A line with its interval over a given axis."""
    x, low, high = (column.astype(float) for column in (x, line.low, line.high))
    ax.fill_between(x, low, high, color=color, alpha=0.2, lw=0)
    usual = {"marker": "o" if len(line) <= MARKED else "", "ms": 1.5, "lw": 0.9}
    ax.plot(x, line.value, color=color, label=label, **{**usual, **more})


def step_axis(ax: Axes, steps: pd.Series) -> None:
    """An axis of training steps, logarithmic from 1; a note if there are no steps."""
    steps = steps.dropna().astype(float)
    if not len(steps):
        ax.text(0.5, 0.5, "no training steps", ha="center", va="center", transform=ax.transAxes)
        ax.set_xticks([])
        return
    # Linear below 1, so that step 0 can be shown.
    ax.set_xscale("symlog", linthresh=1, linscale=0.4)
    top = steps.max()
    powers = 10.0 ** np.arange(0, np.ceil(np.log10(max(top, 1))) + 1)
    powers = powers[powers <= top]
    # With many powers, label every second, including the last.
    ticks = [0.0, *(powers if len(powers) <= FEW_POWERS else powers[::-1][::2][::-1])]
    ax.set_xticks(ticks, [short(t) for t in ticks])
    ax.set_xticks(powers, minor=True)
    ax.set_xlim(-0.15, max(top, 1) * 1.3)


def short(step: float) -> str:
    """A step as a label of an axis: 512, 8k, 1.5M."""
    for unit, letter in ((1e6, "M"), (1e3, "k")):
        text = f"{step / unit:.4g}"
        if step >= unit and float(text) * unit == step:
            return f"{text}{letter}"
    return f"{step:,.0f}"


def plain_log(axis: Axis) -> None:
    """Label a logarithmic axis with a few plain numbers; call it after drawing."""
    from matplotlib import ticker

    low, high = axis.get_view_interval()
    subs = SUBS if high > NARROW * low else NARROW_SUBS
    axis.set_major_locator(ticker.LogLocator(subs=subs, numticks=8))
    axis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(ticker.NullFormatter())


def same_scale(axes: Iterable[Axes], bottom: float | None = 0.0) -> None:
    """Give axes the same range, from `bottom` or from the lowest limit."""
    axes = list(axes)
    limits = np.array([ax.get_ylim() for ax in axes])
    for ax in axes:
        ax.set_ylim(limits[:, 0].min() if bottom is None else bottom, limits[:, 1].max())


def step_norm(steps: pd.Series) -> Normalize | None:
    """A colour scale of log(1 + step); None for fewer than two steps."""
    from matplotlib.colors import Normalize

    steps = steps.dropna()
    return Normalize(0, np.log1p(float(steps.max()))) if steps.nunique() > 1 else None


def step_color(step: int, norm: Normalize | None) -> Any:
    """The colour of a step on the scale of `step_norm`."""
    from matplotlib import colormaps

    if norm is None or pd.isna(step):
        return "black"
    return colormaps[STEPS](norm(np.log1p(float(step))))


def depth_color(layer: int, n_layers: int) -> Any:
    """The colour of a layer on a scale of relative depth."""
    from matplotlib import colormaps

    return colormaps["cividis"](layer / n_layers)


def step_bar(figure: Canvas, axes: Any, norm: Normalize) -> None:
    """The colour bar of steps."""
    from matplotlib.cm import ScalarMappable

    mappable = ScalarMappable(norm, STEPS)
    bar = figure.colorbar(mappable, ax=axes, aspect=40, pad=0.02, fraction=0.05)
    powers = [0, *(10**p for p in range(9))]
    ticks = [p for p in powers if np.log1p(p) <= norm.vmax]
    bar.set_ticks(np.log1p(ticks).tolist(), labels=[short(t) for t in ticks])
    bar.set_label("training step")
    bar.outline.set_linewidth(0.5)
