"""The text's tokens in random order."""

import numpy as np

from shapesweep.corpora import CorpusKind, Documents, Material


def shuffle(material: Material) -> Documents:
    """Return the tokens of all documents, permuted across documents."""
    rng = np.random.default_rng([material.seed, 2])
    tokens = rng.permutation(np.concatenate(material.documents))
    return np.split(tokens, np.cumsum([len(d) for d in material.documents])[:-1])


CORPUS = CorpusKind(
    make=shuffle,
    definition="the tokens of the text, in random order across documents",
    asks="does an effect occur if only the token frequencies of the text are kept?",
)
