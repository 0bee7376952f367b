"""Uniformly drawn tokens, which keep neither the order nor the frequencies of the text's tokens."""

import numpy as np

from shapesweep.corpora import CorpusKind, Documents, Material


def uniform(material: Material) -> Documents:
    """Replace each token with a token that is drawn uniformly from the ordinary tokens."""
    rng = np.random.default_rng([material.seed, 1])
    ordinary = material.ordinary
    return [ordinary[rng.integers(len(ordinary), size=len(d))] for d in material.documents]


CORPUS = CorpusKind(
    make=uniform,
    definition="tokens drawn uniformly from the vocabulary, without special, unused or padded "
    "entries",
    asks="does an effect occur without language?",
)
