"""Tokens without any order or frequency."""

import numpy as np

from shapesweep.corpora import CorpusKind, Documents, Material


def uniform(material: Material) -> Documents:
    """As many tokens a document, each drawn uniformly from the ordinary ones."""
    rng = np.random.default_rng([material.seed, 1])
    ordinary = material.ordinary
    return [ordinary[rng.integers(len(ordinary), size=len(d))] for d in material.documents]


CORPUS = CorpusKind(
    version=1,
    make=uniform,
    definition="uniform ordinary tokens (no special, unused or padded entries of the vocabulary)",
    asks="is it there without language?",
)
