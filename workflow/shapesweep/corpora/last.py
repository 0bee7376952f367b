"""The last tokens of many short documents."""

from shapesweep.corpora import CorpusKind

CORPUS = CorpusKind(
    version=1,
    make=lambda material: material.documents,
    pooling="last",
    definition="the last token of each of some thousand short documents of the text, each another "
    "one (`corpus.last`)",
    asks="what does the model make of a whole passage? (Cheng et al. 2025; Lee et al. 2025)",
)
