"""The last tokens of many short documents."""

from shapesweep.corpora import CorpusKind

CORPUS = CorpusKind(
    make=lambda material: material.documents,
    version=2,
    pooling="last",
    definition="the last tokens of about a thousand distinct short documents (`corpus.last`)",
    asks="how does the model represent a whole passage? (Cheng et al. 2025; Lee et al. 2025)",
)
