"""Anisotropy with and without sinks, their shares, and the effect of the document length."""

import pandas as pd

from shapesweep.curves.tables import Curves
from shapesweep.figures import Canvas, Figure, note
from shapesweep.figures._panels import (
    GRAY,
    LEADING_SHARES,
    PALETTE,
    Axes,
    band_over,
    depth_color,
    integer_axis,
    key_below,
    run_grid,
)
from shapesweep.figures._select import at_last, rows, subtitle
from shapesweep.storage.selections import LENGTHS

MEASURED = {
    "all": "all tokens",
    "no_first": "without first tokens",
    "no_other_massive": "without other massive tokens",
}
PREDICTED = "predicted from massive tokens"
LOWER = "lower row: layers, dark (first) to light (last)\nsolid: measured; dashed: predicted"


def data(curves: Curves) -> pd.DataFrame:
    """Select anisotropies and shares at the last checkpoint, and anisotropies by length."""
    names = ["anisotropy", "massive_share", *LEADING_SHARES]
    selections = [*MEASURED, *LENGTHS]
    found = rows(curves.profiles, metric=names, corpus=curves.corpus, selection=selections)
    found = found[(found.selection != "no_first") | (found.metric == "anisotropy")]
    return at_last(found[found.layer_kind != "final_norm"])


def sinks(shown: pd.DataFrame) -> Canvas:
    """Draw anisotropies and shares by depth, and anisotropies by document length (bottom)."""
    ylabels = ["anisotropy", "share of the\nleading variance", "anisotropy"]
    figure, axes, columns = run_grid(shown, ylabels, 1.3)
    for (top, between, below), part in columns:
        whole = part[part.selection.isin(MEASURED)].sort_values("layer")
        for (selection, words), color in zip(MEASURED.items(), PALETTE, strict=False):
            line = whole[(whole.selection == selection) & (whole.metric == "anisotropy")]
            band_over(top, line.layer, line, color, words)
        line = whole[(whole.selection == "all") & (whole.metric == "massive_share")]
        top.plot(line.layer, line.value, "--", color="black", lw=0.9, label=PREDICTED)
        for metric, (words, color) in LEADING_SHARES.items():
            line = whole[whole.metric == metric]
            band_over(between, line.layer, line, color, words)
        for ax in (top, between):
            ax.set_ylim(-0.02, 1.02)
            integer_axis(ax)
            ax.set_xlabel("layer")
        _lengths(below, part)
    key_below(figure, axes[0, 0], 2)
    axes[1, -1].legend(loc="center")
    head = subtitle(shown[shown.selection == "all"], "last checkpoints")
    note(figure, f"{head}\n{LOWER}")
    return figure


def _lengths(ax: Axes, part: pd.DataFrame) -> None:
    swept = part[part.selection.isin([*LENGTHS, "all"])]
    if not part.selection.isin(LENGTHS).any():
        is_short = len(part) and part.family.iloc[0] == "decoder"
        words = "documents too short\nto be cut" if is_short else "only for causal\nmodels"
        ax.text(0.5, 0.5, words, ha="center", va="center", transform=ax.transAxes, color=GRAY)
        ax.set_xticks([])
        return
    for layer, lines in swept.groupby("layer"):
        color = depth_color(int(str(layer)), int(lines.n_layers.iloc[0]))
        lines = lines.sort_values("document_length")
        for metric, style in (("anisotropy", "-"), ("massive_share", "--")):
            line = lines[lines.metric == metric]
            ax.plot(line.document_length.astype(float), line.value, style, color=color, lw=0.8)
    lengths = sorted(swept.document_length.unique())
    ax.set_xscale("log", base=2)
    ax.set_xticks(lengths, [str(length) for length in lengths])
    ax.set_ylim(-0.02, 1.02)
    ax.set_xlabel("document length (tokens)")


FIGURE = Figure(
    data=data,
    draw=sinks,
    title="Sinks: anisotropy with and without them, and their shares",
    category="Sinks",
    caption="The upper row shows the anisotropy of all tokens, without first tokens, and without "
    "other massive tokens, at the last checkpoint. Massive tokens have norms above five times the "
    "median. It also shows the predicted anisotropy: the share of the variance that massive tokens "
    "explain on their own. The middle row shows which tokens make up the variance along the "
    "leading axis of all tokens; these shares are exact, and add up to 1. The lower row shows the "
    "measured and the predicted anisotropy for documents that are cut to shorter lengths. If each "
    "document has one massive token, the predicted anisotropy falls as the documents become "
    "longer.",
)
