from .estimators.dimension import (
    distance_from_law,
    id_corrint,
    id_gride,
    id_mle,
    id_twonn,
    id_twonn_mle,
    id_twonn_paper,
    local_id,
)
from .estimators.linearity import linearity
from .estimators.moments import Moments
from .estimators.spectrum import (
    alpha_req,
    anisotropy,
    effective_rank,
    eigenvalues,
    isoscore,
    matrix_entropy,
    mean_cosine,
    participation_ratio,
    participation_ratio_debiased,
    rankme,
    stable_rank,
)
from .neighbors import nearest_neighbors, unique_rows

__version__: str
__all__ = [
    "Moments",
    "alpha_req",
    "anisotropy",
    "distance_from_law",
    "effective_rank",
    "eigenvalues",
    "id_corrint",
    "id_gride",
    "id_mle",
    "id_twonn",
    "id_twonn_mle",
    "id_twonn_paper",
    "isoscore",
    "linearity",
    "local_id",
    "matrix_entropy",
    "mean_cosine",
    "nearest_neighbors",
    "participation_ratio",
    "participation_ratio_debiased",
    "rankme",
    "stable_rank",
    "unique_rows",
]
