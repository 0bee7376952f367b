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


SELECTIONS = ("all", "no_first", *BOUNDS, *LENGTHS)


def are_massive(norms: NDArray[np.float64], bound: float = MASSIVE) -> NDArray[np.bool_]:
    """Whether each norm exceeds `bound` times the median of all norms."""
    return norms > bound * np.median(norms)
