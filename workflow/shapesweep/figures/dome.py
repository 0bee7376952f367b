"""Anisotropy over depth: the dome."""

from matplotlib.figure import Figure as Canvas

from shapesweep.figures import Curves, Figure, note
from shapesweep.figures._panels import (
    depth_line,
    grid,
    layer_axis,
    step_bar,
    step_color,
    step_norm,
    title,
)

SELECTION_NAMES = {"all": "all tokens", "no_first": "without the first token"}


def dome(curves: Curves) -> Canvas:
    """Anisotropy over depth, one line a checkpoint: with and without the first token."""
    selections = [s for s in SELECTION_NAMES if s in set(curves.profiles.selection)]
    figure, axes = grid(len(selections), len(curves.runs), 1.25, sharex=True, sharey=True)
    corpus = curves.corpora[0]
    shown = curves.profiles.query("metric == 'anisotropy' and corpus == @corpus")
    norm = step_norm(shown.step)
    for column, (suite, run, family) in enumerate(curves.runs):
        for row, selection in enumerate(selections):
            ax = axes[row, column]
            part = shown.query("suite == @suite and run == @run and selection == @selection")
            for _, line in part.groupby("revision", sort=False):
                depth_line(ax, line, step_color(line.step.iloc[0], norm))
            ax.set_ylim(0, 1)
            layer_axis(ax)
            if row == 0:
                ax.set_title(title(run, family))
            if column == 0:
                ax.set_ylabel(f"anisotropy\n{SELECTION_NAMES[selection]}")
        axes[-1, column].set_xlabel("layer")
    if norm is not None:
        step_bar(figure, axes, norm)
    last = shown.iloc[0]
    note(figure, f"{corpus}, {last.n_documents} documents of {last.document_length} tokens")
    return figure


FIGURE = Figure(
    draw=dome,
    title="The dome: anisotropy over depth",
    category="Over depth",
    caption="Share of the variance along the leading axis of each layer's hidden states, one line "
    "a checkpoint, with 95 % intervals over documents. A *dome* rises in the middle layers and "
    "falls again. The dotted end is what the final norm makes of the last block's output. Where "
    "the lower row is flat and the upper is not, the dome is the first token's doing.",
)
