"""The documents of the text, unchanged."""

from shapesweep.corpora import CorpusKind

CORPUS = CorpusKind(
    make=lambda material: material.documents,
    definition="the documents of the text",
    asks="how does the model represent language?",
)
