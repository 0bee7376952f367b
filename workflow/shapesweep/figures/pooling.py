"""Comparison of the last tokens of many passages with all tokens of a few documents."""

import pandas as pd

from shapesweep.curves.tables import Curves
from shapesweep.figures import Canvas, Figure, note
from shapesweep.figures._panels import PALETTE, depth_line, log_axis, run_grid, same_scale
from shapesweep.figures._select import at_chosen, rows, subtitle

METRICS = {"id_twonn": "TwoNN ID", "anisotropy": "anisotropy"}
#: Metrics that estimate the ID from all points, from half of them, and from a quarter of them. For
#: all tokens, the figure shows the ID whose number of points is closest to the number of passages.
SIZES = ["id_twonn", "id_twonn_half", "id_twonn_quarter"]
CHECKPOINTS = 2


def data(curves: Curves) -> pd.DataFrame:
    """Select profiles of all tokens and of last tokens, at the first and the last checkpoint."""
    every = {"corpus": [curves.corpus, "last"], "selection": "no_first"}
    found = rows(curves.profiles, metric=["anisotropy", *SIZES], **every)
    last = found[found.corpus == "last"]
    if not len(last):
        return found.iloc[:0]
    text = found[(found.corpus != "last") & found.metric.isin(SIZES)]
    n_points = last[last.metric == "id_twonn"].n_points.max()
    sizes = text.groupby("metric").n_points.max()
    # The ID depends on the number of points, so compare IDs from similar numbers of points.
    like = (sizes - n_points).abs().astype(float).idxmin() if len(sizes) else "id_twonn"
    kept = (found.metric == "anisotropy") | (
        found.metric == found.corpus.map(lambda name: "id_twonn" if name == "last" else like)
    )
    return at_chosen(found[kept], CHECKPOINTS)


def pooling(shown: pd.DataFrame) -> Canvas:
    """Draw a column per run and a row per metric, with dashed lines for the first checkpoint."""
    figure, axes, columns = run_grid(shown, METRICS.values(), 1.2, "layer")
    names = [name for name in dict.fromkeys(shown.corpus) if name != "last"]
    colors = {**dict.fromkeys(names, PALETTE[0]), "last": PALETTE[1]}
    words = {**dict.fromkeys(names, "all tokens"), "last": "last tokens"}
    for column, part in columns:
        for ax, metric in zip(column, METRICS, strict=True):
            lines = part[part.metric.str.startswith(metric)]
            last = lines.step.max()
            for (corpus, _), line in lines.groupby(["corpus", "revision"], sort=False):
                if pd.isna(last) or line.step.iloc[0] == last:
                    depth_line(ax, line, colors[corpus], words[corpus])
                else:
                    stack = line[line.layer_kind != "final_norm"].sort_values("layer")
                    ax.plot(stack.layer, stack.value, "--", color=colors[corpus], lw=0.7)
            if metric == "id_twonn":
                # The axis is logarithmic: the embedding has a far higher ID than the blocks.
                log_axis(ax)
    same_scale(axes[0], bottom=None)
    same_scale(axes[1])
    axes[0, 0].legend(loc="best")
    lengths = shown[shown.corpus == "last"].iloc[0]
    passages = f"last tokens: {lengths.n_documents} passages of {lengths.document_length} tokens"
    head = subtitle(shown[shown.corpus != "last"], passages)
    note(figure, f"{head}\ndashed: first checkpoint; other lines: last checkpoint")
    return figure


FIGURE = Figure(
    data=data,
    draw=pooling,
    title="Last tokens compared with all tokens",
    category="Controls",
    caption="With all tokens, many points come from the same document and lie on its path. "
    "With the last tokens of many passages, every point comes from a different passage, as in "
    "Cheng et al. 2025 and Lee et al. 2025. Both IDs are computed from about the same number of "
    "points.",
    needs="the corpus `last`",
)
