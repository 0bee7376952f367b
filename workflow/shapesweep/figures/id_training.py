"""ID over training: the curve of the paper's claim, and its control with one token per document."""

from typing import Any

import pandas as pd

from shapesweep.curves.tables import Curves
from shapesweep.figures import Canvas, Figure, note
from shapesweep.figures._panels import (
    GRAY,
    PALETTE,
    Axes,
    band,
    depth_color,
    grid,
    thin,
)
from shapesweep.figures._select import INTERVALS, of_run, rows, runs, subtitle, with_step
from shapesweep.figures._training import label_panels, training_axis
from shapesweep.storage.selections import SUBSAMPLES

ROLES = {"paper": "the paper's curve", "control": "control"}
COLORS = {"paper": "black", "control": PALETTE[0]}
#: The curve that each tested curve is compared with: its `role`, and its label.
COMPARED = {
    "paper": ("paper's fit", "the paper's fit"),
    "control": ("few", "few documents, same N"),
}
#: Shares of nearest neighbours, with labels.
SHARES = {
    "same_document_nn": "document",
    "same_token_nn": "token",
    "same_position_nn": "position",
}
MOVES = {"rise": PALETTE[2], "fall": PALETTE[1]}


def data(curves: Curves) -> pd.DataFrame:
    """Select the tested curves with their rises and falls, their comparisons, shares and losses.

    The column `role` says what a row shows: `paper` and `control` are the tested curves, and
    `paper move` and `control move` are their rises and falls.
    """
    parts = []
    for role in ROLES:
        tested = rows(curves.phases[curves.phases.tested == role])
        if not len(tested):
            continue
        of = tested.iloc[0][["corpus", "selection", "metric"]].to_dict()
        lines = with_step(rows(curves.trajectories, **of))
        parts.append(lines[lines.layers != "0"].assign(role=role))
        moves = rows(curves.moves, **of, layers="middle")
        parts.append(moves.assign(role=f"{role} move"))
        middle = with_step(rows(curves.trajectories, corpus=of["corpus"], layers="middle"))
        if role == "control":
            few = rows(middle, selection=SUBSAMPLES.get(of["selection"], []), metric=of["metric"])
            parts.append(few.assign(role="few"))
        else:
            same = rows(middle, selection=of["selection"])
            parts.append(rows(same, metric="id_twonn_paper").assign(role="paper's fit"))
            parts.append(rows(same, metric=SHARES).assign(role="share"))
    if not any(len(part) for part in parts):
        return curves.trajectories.iloc[:0]
    evaluated = rows(curves.trajectories, metric="loss_eval", corpus=curves.corpus)
    logged = rows(curves.trajectories, metric="loss_log")
    return pd.concat([*parts, with_step(evaluated), logged])


def id_training(shown: pd.DataFrame) -> Canvas:
    """Draw two rows per run: one with IDs, and one with shares of neighbours and losses."""
    known = runs(shown)
    heights = [1.5, 0.9] * len(known)
    metrics = "/".join(dict.fromkeys(shown[shown.role.isin(list(ROLES))].metric))
    ylabels = [f"{run}\n{'TwoNN ID' if metrics == 'id_twonn' else metrics}" for _, run, _ in known]
    ylabels = [label for run in ylabels for label in (run, "neighbour has\nthe same …")]
    titles = [f"{words}{_counted(shown, role)}" for role, words in ROLES.items()]
    figure, axes = grid(ylabels, titles, 1.05, heights=heights, sharex="row")
    for number, run in enumerate(known):
        part, top, below = of_run(shown, run), axes[2 * number], axes[2 * number + 1]
        for ax, role in zip(top, ROLES, strict=True):
            _tested(ax, part, role)
        for (metric, words), color in zip(SHARES.items(), ("black", *PALETTE), strict=False):
            band(below[0], part[part.metric == metric], color, words)
        below[0].set_ylim(-0.03, 1.03)
        if number == 0:
            below[0].legend(loc="best")
        _losses(below[1], part)
        training_axis(below[0], part[part.role == "share"])
    rows_of = {run: of_run(shown, run) for run in known}
    panels = [(ax, rows_of[run]) for run, row in zip(known, axes[1::2], strict=True) for ax in row]
    label_panels(figure, panels, "{}")
    thin_lines = "thin: single blocks, dark (first) to light (last)"
    shades = f"bands: {INTERVALS}\nshades: rises (green) and falls (orange) beyond the noise"
    note(figure, f"{subtitle(shown[shown.role == 'paper'], thin_lines)}\n{shades}")
    return figure


def _counted(shown: pd.DataFrame, role: str) -> str:
    """Describe the tokens of a tested curve, for the title of its panels."""
    line = shown[(shown.role == role) & (shown.layers == "middle")]
    if not len(line):
        return ""
    row = line.iloc[0]
    words = row.selection.replace("_", " ")
    # Repeated points are removed, so runs may differ in N.
    sizes = sorted({int(line.n_points.min()), int(line.n_points.max())})
    return f"\n{row.corpus}, {words}\nN = {' to '.join(f'{n:,}' for n in sizes)}"


def _tested(ax: Axes, part: pd.DataFrame, role: str) -> None:
    """Draw a tested curve for all blocks and the middle blocks, and shade its rises and falls."""
    mine = part[part.role == role]
    if not len(mine):
        ax.text(0.5, 0.5, "not measured", ha="center", va="center", transform=ax.transAxes)
        return
    for layers, line in mine[mine.layers != "middle"].groupby("layers", sort=False):
        shade: Any = depth_color(int(str(layers)), int(line.n_layers.iloc[0]))
        thin(ax, line, shade, lw=0.5, alpha=0.8)
    middle = mine[mine.layers == "middle"]
    band(ax, middle, COLORS[role], "middle blocks")
    other, words = COMPARED[role]
    thin(ax, part[part.role == other], GRAY, words, ls="--")
    for move in part[part.role == f"{role} move"].itertuples():
        ends = float(move.from_step), float(move.to_step)
        ax.axvspan(*ends, color=MOVES[str(move.kind)], alpha=0.12, lw=0)
    training_axis(ax, middle)
    ax.set_ylim(bottom=0)
    ax.legend(loc="best")


def _losses(ax: Axes, part: pd.DataFrame) -> None:
    """Draw the loss on the corpus and, if it was logged, the training loss."""
    evaluated, logged = (part[part.metric == f"loss_{source}"] for source in ("eval", "log"))
    if len(logged):
        thin(ax, logged, "#999999", "training", lw=0.7)
    if len(evaluated):
        band(ax, evaluated, "black", "on the corpus")
    if len(evaluated) or len(logged):
        ax.legend(loc="best")
    training_axis(ax, pd.concat([evaluated, logged]))
    ax.set_ylabel("loss (nats)")


FIGURE = Figure(
    data=data,
    draw=id_training,
    title="Two phases: ID over training",
    category="Over training",
    caption="Intrinsic dimension by TwoNN of all tokens except the first (left), and of one token "
    "per document (right). The two IDs come from different numbers of points, so only their "
    "courses can be compared, and not their values. The dashed gray line on the right shows the ID "
    "of the same number of points from few documents. If it differs from the control, the ID "
    "depends on the paths of single documents. Green and orange ranges are rises and falls that "
    "exceed the noise of documents and of training. The paper claims a rise that is followed by a "
    "fall. The lower rows show the share of tokens whose nearest neighbour is in the same "
    "document, is the same token, or has the same position (left), and the loss (right).",
    needs="checkpoints with a step",
)
