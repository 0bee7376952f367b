"""shapesweep: follow the shape of a language model's hidden states through its training."""

from shapesweep.estimators.dimension import id_twonn, id_twonn_paper
from shapesweep.estimators.neighbors import nearest_neighbors, unique_rows
from shapesweep.estimators.spectrum import anisotropy, mean_cosine

__version__ = "0.3.0"
__all__ = [
    "anisotropy",
    "id_twonn",
    "id_twonn_paper",
    "mean_cosine",
    "nearest_neighbors",
    "unique_rows",
]
