"""Tokens without any order or frequency."""

import numpy as np

from shapesweep.corpora import CorpusKind, Documents, Material


def uniform(material: Material) -> Documents:
    """Documents of the same lengths, with tokens drawn uniformly from the ordinary ones."""
    rng = np.random.default_rng([material.seed, 1])
    ordinary = material.ordinary
    return [ordinary[rng.integers(len(ordinary), size=len(d))] for d in material.documents]


CORPUS = CorpusKind(
    make=uniform,
    definition="tokens drawn uniformly from the ordinary ones (not special, unused or padded)",
    asks="does it occur without language?",
)
