"""The figures: what a person looks at, drawn from the curves' tables and nothing else.

Takes in `<results>/curves/`; hands on `<figure>.svg`, `.pdf` and `.png`. Every figure
is a function of the curves; `FIGURES` lists them.
"""

import textwrap
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd

from shapesweep import tables
from shapesweep.errors import ShapesweepError

mpl.use("Agg")
from matplotlib import pyplot as plt

#: One column of a journal page, in inches.
WIDTH = 3.4
#: Okabe and Ito's colours, which colour-blind readers tell apart.
CORPUS_COLORS = {"text": "#0072B2", "random": "#D55E00", "shuffled": "#009E73"}
ANYWHERE, BETWEEN, PAPER = "#CC79A7", "#0072B2", "#7F7F7F"
STEPS = mpl.colormaps["viridis_r"]
DEPTHS = mpl.colormaps["cividis"]
SELECTION_NAMES = {"all": "all tokens", "no_first": "without the first token"}


@dataclass(frozen=True)
class Curves:
    """What the figures draw: the tables of `<results>/curves/`."""

    profiles: pd.DataFrame
    trajectories: pd.DataFrame
    missing: pd.DataFrame

    @property
    def runs(self):
        """(suite, run, family) in the order of the tables, decoders first."""
        runs = self.profiles[["suite", "run", "family"]].drop_duplicates()
        return sorted(runs.itertuples(index=False, name=None), key=lambda run: run[2])


def draw(name, curves, out):
    """Draw a figure.

    Parameters
    ----------
    name : str
        Of `FIGURES`.
    curves : path-like
        Folder of the curves' tables.
    out : path-like
        Folder for `<name>.svg`, `.pdf` and `.png`.
    """
    if name not in FIGURES:
        raise ShapesweepError(f"there is no figure {name!r}; there are {', '.join(FIGURES)}")
    curves, out = Path(curves), Path(out)
    data = Curves(
        tables.read(curves / "profiles.parquet", tables.PROFILES),
        tables.read(curves / "trajectories.parquet", tables.TRAJECTORIES),
        tables.read(curves / "missing.parquet", tables.FAILURES),
    )
    out.mkdir(parents=True, exist_ok=True)
    style = resources.files("shapesweep") / "shapesweep.mplstyle"
    with resources.as_file(style) as path, plt.style.context(path):
        figure = FIGURES[name](data) if len(data.profiles) else _nothing()
        _name_missing(figure, data.missing)
        for extension in ("svg", "pdf", "png"):
            # Without a date the same curves give the same file.
            undated = {"png": {}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
            figure.savefig(out / f"{name}.{extension}", metadata=undated[extension])
        plt.close(figure)


def dome(curves):
    """Anisotropy over depth, one line a checkpoint: the dome, with and without the first token."""
    selections = [s for s in SELECTION_NAMES if s in set(curves.profiles.selection)]
    figure, axes = _grid(len(selections), len(curves.runs), 1.25, sharex=True, sharey=True)
    corpus = _first_corpus(curves)
    shown = curves.profiles.query("metric == 'anisotropy' and corpus == @corpus")
    norm = _step_norm(shown.step)
    for column, (suite, run, family) in enumerate(curves.runs):
        for row, selection in enumerate(selections):
            ax = axes[row, column]
            part = shown.query("suite == @suite and run == @run and selection == @selection")
            for _, line in part.groupby("revision", sort=False):
                _depth_line(ax, line, _step_color(line.step.iloc[0], norm))
            ax.set_ylim(0, 1)
            _layer_axis(ax)
            if row == 0:
                ax.set_title(_title(run, family))
            if column == 0:
                ax.set_ylabel(f"anisotropy\n{SELECTION_NAMES[selection]}")
        axes[-1, column].set_xlabel("layer")
    if norm is not None:
        _step_bar(figure, axes, norm)
    last = shown.iloc[0]
    _caption(figure, f"{corpus}, {last.n_documents} documents of {last.document_length} tokens")
    return figure


def id_training(curves):
    """ID over training, from any neighbour and between documents, with the loss below."""
    figure, axes = _grid(
        2 * len(curves.runs), 2, 1.05, heights=[1.5, 0.8] * len(curves.runs), sharex="row"
    )
    corpus = _first_corpus(curves)
    shown = curves.trajectories.query("corpus == @corpus and selection == 'no_first'")
    ways = [
        ("id_twonn", "all neighbours"),
        ("id_twonn_between", "between documents"),
    ]
    for place, (suite, run, family) in enumerate(curves.runs):
        part = shown.query("suite == @suite and run == @run")
        top = [axes[2 * place, 0], axes[2 * place, 1]]
        for ax, (metric, words) in zip(top, ways, strict=True):
            lines = part[part.metric == metric]
            n_layers = int(lines.n_layers.max())
            for layers, line in lines[lines.layers != "middle"].groupby("layers", sort=False):
                if layers != "0":
                    color = DEPTHS(int(layers) / n_layers)
                    ax.plot(line.step, line.value, color=color, lw=0.5, alpha=0.8)
            middle = lines[lines.layers == "middle"]
            _band(ax, middle, "black" if metric == "id_twonn" else BETWEEN, "middle blocks")
            ax.set_title(words if place == 0 else "")
            _step_axis(ax, middle.step)
        paper = part.query("metric == 'id_twonn_paper' and layers == 'middle'")
        top[0].plot(paper.step, paper.value, "--", color=PAPER, lw=0.8, label="the paper's fit")
        top[0].legend(loc="best")
        _same_scale(top)
        top[0].set_ylabel(f"{run}\nTwoNN ID")
        _losses(axes[2 * place + 1], curves, suite, run, corpus)
        n_points = part[part.metric == "id_twonn"].n_points.max()
    figure.supxlabel("training step", fontsize=7)
    _caption(
        figure,
        f"{corpus}, N = {n_points:,}, first token left out; thin: single blocks,\n"
        "dark to light with depth; bands: 95 % over documents",
    )
    return figure


def corpora(curves):
    """Text beside its shuffled tokens and random ones: the dome at the end, the ID on the way."""
    figure, axes = _grid(4, len(curves.runs), 1.3)
    ids = [
        ("id_twonn", "TwoNN ID\nall neighbours"),
        ("id_twonn_between", "TwoNN ID\nbetween documents"),
        ("same_document_nn", "nearest neighbour\nin same document"),
    ]
    for column, (suite, run, family) in enumerate(curves.runs):
        profiles = curves.profiles.query(
            "suite == @suite and run == @run and metric == 'anisotropy' and selection == 'no_first'"
        )
        lines = curves.trajectories.query(
            "suite == @suite and run == @run and layers == 'middle' and selection == 'no_first'"
        )
        last = profiles.step.max()
        profiles = profiles[profiles.step == last] if pd.notna(last) else profiles
        for corpus in dict.fromkeys(profiles.corpus):
            color = CORPUS_COLORS[corpus]
            _depth_line(axes[0, column], profiles[profiles.corpus == corpus], color, corpus)
            for row, (metric, _) in enumerate(ids, start=1):
                part = lines.query("corpus == @corpus and metric == @metric")
                _band(axes[row, column], part, color)
        for row, (metric, words) in enumerate(ids, start=1):
            _step_axis(axes[row, column], lines[lines.metric == metric].step)
            if column == 0:
                axes[row, 0].set_ylabel(words)
        axes[0, column].set_title(_title(run, family))
        _layer_axis(axes[0, column])
        axes[0, column].set_xlabel("layer" if pd.isna(last) else f"layer, at step {last:,}")
        axes[3, column].set_ylim(-0.03, 1.03)
        axes[3, column].set_xlabel("training step")
        _same_scale(axes[1:3, column])
    _same_scale(axes[0])
    axes[0, 0].set_ylabel("anisotropy")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    n_points = curves.trajectories.query("metric == 'id_twonn'").n_points.max()
    _caption(
        figure,
        f"N = {n_points:,}, first token left out; ID of the middle blocks;\n"
        "bands: 95 % over documents",
    )
    return figure


#: Every figure by its name; the workflow draws them all.
FIGURES = {"dome": dome, "id_training": id_training, "corpora": corpora}


def _grid(rows, columns, height, heights=None, **sharing):
    return plt.subplots(
        rows,
        columns,
        figsize=(max(WIDTH, 1.6 * columns), sum(heights or [1] * rows) * height + 0.35),
        squeeze=False,
        gridspec_kw={"height_ratios": heights},
        **sharing,
    )


def _title(run, family):
    return run if run == family else f"{run} ({family})"


def _layer_axis(ax):
    ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(integer=True, nbins=5))


def _first_corpus(curves):
    present = list(dict.fromkeys(curves.profiles.corpus))
    return "text" if "text" in present else present[0]


def _depth_line(ax, line, color, label=None):
    """Embedding and blocks as one line; behind it, dotted, what the final norm makes of it."""
    line = line.sort_values("layer")
    stack, after = line[line.layer_kind != "final_norm"], line[line.layer_kind == "final_norm"]
    ax.fill_between(stack.layer.astype(float), stack.low, stack.high, color=color, alpha=0.25, lw=0)
    ax.plot(stack.layer, stack.value, color=color, marker="o", ms=1.5, lw=0.9, label=label)
    if len(after):
        last = stack.iloc[-1]
        x = [last.layer, after.layer.iloc[0] + 0.6]
        ax.plot(x, [last.value, after.value.iloc[0]], ":", color=color, lw=0.7)
        ax.plot(x[1:], after.value, "o", mfc="white", color=color, ms=2.5, mew=0.6)


def _band(ax, line, color, label=None):
    line = line[line.step.notna()].sort_values("step")
    steps = line.step.astype(float)
    ax.fill_between(steps, line.low, line.high, color=color, alpha=0.2, lw=0)
    ax.plot(steps, line.value, color=color, marker="o", label=label)


def _losses(axes, curves, suite, run, corpus):
    shown = curves.trajectories.query("suite == @suite and run == @run")
    evaluated = shown.query("metric == 'loss_eval' and corpus == @corpus").sort_values("step")
    logged = shown.query("metric == 'loss_log'").sort_values("step")
    for ax in axes:
        if len(logged):
            ax.plot(logged.step, logged.value, color="#999999", lw=0.7, label="training")
        _band(ax, evaluated, "black", "on the corpus")
        _step_axis(ax, pd.concat([evaluated.step, logged.step]))
    if len(evaluated) or len(logged):
        axes[0].legend(loc="best")
        _same_scale(axes, bottom=None)
    axes[0].set_ylabel("loss (nats)")


def _step_axis(ax, steps):
    steps = steps.dropna().astype(float)
    if not len(steps):
        ax.text(0.5, 0.5, "no training steps", ha="center", va="center", transform=ax.transAxes)
        ax.set_xticks([])
        return
    # Linear below one step, so that the checkpoint before training has its place.
    ax.set_xscale("symlog", linthresh=1, linscale=0.4)
    top = steps.max()
    powers = 10.0 ** np.arange(0, np.ceil(np.log10(max(top, 1))) + 1)
    ticks = [0.0, *(p for p in powers if p <= top)]
    ax.set_xticks(ticks, [f"{t:,.0f}" for t in ticks])
    ax.set_xlim(-0.15, max(top, 1) * 1.3)


def _same_scale(axes, bottom=0.0):
    limits = np.array([ax.get_ylim() for ax in axes])
    for ax in axes:
        ax.set_ylim(limits[:, 0].min() if bottom is None else bottom, limits[:, 1].max())


def _step_norm(steps):
    steps = steps.dropna()
    return mpl.colors.Normalize(0, np.log1p(float(steps.max()))) if steps.nunique() > 1 else None


def _step_color(step, norm):
    return "black" if norm is None or pd.isna(step) else STEPS(norm(np.log1p(float(step))))


def _step_bar(figure, axes, norm):
    mappable = mpl.cm.ScalarMappable(norm, STEPS)
    bar = figure.colorbar(mappable, ax=axes, aspect=40, pad=0.02, fraction=0.05)
    powers = [0, *(10**p for p in range(9))]
    ticks = [p for p in powers if np.log1p(p) <= norm.vmax]
    bar.set_ticks(np.log1p(ticks), labels=[f"{t:,}" for t in ticks])
    bar.set_label("training step")
    bar.outline.set_linewidth(0.5)


def _caption(figure, text):
    figure.suptitle(text, fontsize=6, color="#555555")


def _name_missing(figure, missing):
    if not len(missing):
        return
    names = [f"{row.run}/{row.revision}" for row in missing.itertuples()]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    above = f"{figure.get_suptitle()}\n" if figure.get_suptitle() else ""
    text = textwrap.fill(f"not measured: {', '.join(names[:3])}{more}", width=64)
    _caption(figure, above + text)


def _nothing():
    figure, ax = plt.subplots(figsize=(WIDTH, 1.5))
    ax.text(0.5, 0.5, "no checkpoint could be measured", ha="center", transform=ax.transAxes)
    ax.axis("off")
    return figure
