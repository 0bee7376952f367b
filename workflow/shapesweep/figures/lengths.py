"""Anisotropy and ID of the variants of a text, by document length."""

import pandas as pd

from shapesweep.corpora import CorpusLabel
from shapesweep.curves.tables import Curves, corpora
from shapesweep.figures import Canvas, Figure, note
from shapesweep.figures._panels import PALETTE, band_over, key_below, run_grid
from shapesweep.figures._select import INTERVALS, at_last, rows

#: Lines of the upper row: metric, selection, and label.
LINES = (
    ("anisotropy", "all", "all tokens"),
    ("anisotropy", "no_first", "without first tokens"),
    ("massive_share", "all", "predicted from massive tokens"),
)


def data(curves: Curves) -> pd.DataFrame:
    """Select numbers of the middle blocks at the last checkpoint, on documents of each length."""
    usual = curves.corpus
    labels = [CorpusLabel.parse(name) for name in corpora(curves.profiles)]
    names = [str(label) for label in labels if (label.kind, label.sample) == (usual, 1)]
    found = rows(
        curves.trajectories,
        corpus=names,
        metric=["anisotropy", "massive_share", "id_twonn"],
        selection=["all", "no_first"],
        layers="middle",
    )
    # Variants with another text are left out.
    found = found[found.text_sha256.isin(found[found.corpus == usual].text_sha256)]
    # Of corpora with equal lengths, the first is drawn, which is the corpus without a variant.
    first = found.drop_duplicates("document_length").corpus
    found = at_last(found[found.corpus.isin(first)])
    return found if found.document_length.nunique() > 1 else found.iloc[:0]


def lengths(shown: pd.DataFrame) -> Canvas:
    """Draw the anisotropy and the TwoNN ID against the document length, with a column per run."""
    figure, axes, columns = run_grid(
        shown, ["anisotropy", "TwoNN ID"], 1.4, "document length (tokens)"
    )
    for (top, below), part in columns:
        part = part.sort_values("document_length", kind="stable")
        for (metric, selection, words), color in zip(LINES, PALETTE, strict=False):
            line = part[(part.metric == metric) & (part.selection == selection)]
            style = {"ls": "--"} if metric == "massive_share" else {}
            band_over(top, line.document_length, line, color, words, **style)
        line = part[(part.metric == "id_twonn") & (part.selection == "no_first")]
        band_over(below, line.document_length, line, PALETTE[1])
        ticks = sorted(part.document_length.unique())
        for ax in (top, below):
            ax.set_xscale("log", base=2)
            ax.set_xticks(ticks, [str(length) for length in ticks])
        top.set_ylim(-0.02, 1.02)
        below.set_ylim(bottom=0)
    key_below(figure, axes[0, 0], 2)
    note(figure, f"middle blocks, last checkpoints; lower row: without first tokens\n{INTERVALS}")
    return figure


FIGURE = Figure(
    data=data,
    draw=lengths,
    title="Anisotropy and ID by document length",
    category="Sinks",
    caption="The upper row shows the anisotropy of the middle blocks on documents of different "
    "lengths, of all tokens and without first tokens, and the anisotropy that the massive tokens "
    "predict. If each document has one massive token, its share falls as the documents become "
    "longer. The lower row shows the TwoNN ID without first tokens. Unlike the figure `sinks`, the "
    "documents are read at these lengths, and are not cut afterwards.",
    needs="several document lengths (`corpus.variants`)",
)
