"""Selections of the tokens from which a metric is computed."""

import numpy as np
from numpy.typing import NDArray

#: A token is massive if its norm exceeds this many times the median norm of the layer.
MASSIVE = 5.0


#: Selections without massive tokens, each with its bound on the norm as a multiple of the median
#: norm. The selections with the bounds 3 and 10 show how much the measured numbers depend on the
#: bound.
BOUNDS = {"no_massive": MASSIVE, "no_massive_3": 3.0, "no_massive_10": 10.0}


SENSITIVITY = ("no_massive_3", "no_massive_10")


#: Selections that shorten all documents, each with the number of tokens that are kept. In a causal
#: model, the states of a prefix do not depend on later tokens.
LENGTHS = {f"length_{length}": length for length in (8, 32, 128, 512, 2048)}


#: Subsamples in pairs of equal N: a sample with at most one token per group, and its comparison, a
#: sample of tokens drawn without regard to the groups. `one_per_document`: one token, after the
#: first, of every document; `few_documents`: tokens of the smallest number of documents that
#: contain N tokens.
#: `one_per_type`: one occurrence of every token of the vocabulary; `any_type`: N tokens.
SUBSAMPLES = {"one_per_document": "few_documents", "one_per_type": "any_type"}
#: Minimum number of points of a subsample. With fewer points, the pair is not measured.
LEAST = {"one_per_document": 64, "one_per_type": 500}
#: Number of subsamples that are drawn. Numbers are averages over the draws.
DRAWS = 4


#: Selections without a group of tokens that may cause the anisotropy of all tokens: massive tokens
#: other than first tokens, and all tokens that are neither first tokens nor massive.
WITHOUT = ("no_other_massive", "no_bulk")


SELECTIONS = ("all", "no_first", *BOUNDS, *WITHOUT, *LENGTHS)


def are_massive(norms: NDArray[np.float64], bound: float = MASSIVE) -> NDArray[np.bool_]:
    """Whether each norm exceeds `bound` times the median of all norms."""
    return norms > bound * np.median(norms)
