"""Tokens at random positions of many short documents."""

from shapesweep.corpora import CorpusKind

CORPUS = CorpusKind(
    make=lambda material: material.documents,
    pooling="passages",
    definition="tokens at random positions after the first in about 1,200 distinct short documents "
    "(`corpus.passages`), and all tokens of some of these documents",
    asks="does the ID depend on the paths of single documents? The control of the two phases",
)
