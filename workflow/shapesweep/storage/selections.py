"""Selections of tokens: which of them a metric is computed from."""

import numpy as np
from numpy.typing import NDArray

#: A token is massive whose norm is more than so many times the layer's median.
MASSIVE = 5.0


#: Selections without the massive tokens, and how much is massive: two of them to see how far the
#: numbers depend on that.
BOUNDS = {"no_massive": MASSIVE, "no_massive_3": 3.0, "no_massive_10": 10.0}


SENSITIVITY = ("no_massive_3", "no_massive_10")


#: Documents cut shorter: what a causal model makes of a beginning does not depend on the rest.
LENGTHS = {f"length_{length}": length for length in (8, 32, 128, 512, 2048)}


SELECTIONS = ("all", "no_first", *BOUNDS, *LENGTHS)


def are_massive(norms: NDArray[np.float64], bound: float = MASSIVE) -> NDArray[np.bool_]:
    """Which norms are more than so many times the median of all."""
    return norms > bound * np.median(norms)
