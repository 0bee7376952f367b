"""The text itself."""

from shapesweep.corpora import CorpusKind

CORPUS = CorpusKind(
    version=1,
    make=lambda material: material.documents,
    definition="the text's documents as they are",
    asks="what does the model make of language?",
)
