"""One token at a random position of each of many short documents."""

from shapesweep.corpora import CorpusKind

CORPUS = CorpusKind(
    make=lambda material: material.documents,
    pooling="passages",
    definition="tokens at random positions after the first in about 1,200 distinct short documents "
    "(`corpus.passages`), and all tokens of as few of these documents as supply the same number",
    asks="does the ID depend on trajectories of single documents? The control of the two phases",
)
