"""shapesweep: follow the shape of a language model's hidden states through its training."""

from shapesweep.estimators.neighbors import nearest_neighbors
from shapesweep.estimators.spectrum import anisotropy, mean_cosine

__version__ = "0.1.0"
__all__ = ["anisotropy", "mean_cosine", "nearest_neighbors"]
