"""Mean cosine of pairs of tokens, which is high if all tokens lie in a narrow cone."""

from shapesweep.estimators import spectrum
from shapesweep.metrics import CloudMetric

METRIC = CloudMetric(
    bounds=(-1, 1),
    compute=lambda cloud: spectrum.mean_of_pairs(
        cloud.direction_sum, cloud.n_directions, cloud.n_points
    ),
    definition="mean cosine over all pairs of distinct tokens, not centred",
    source="Ethayarajh 2019",
    it_is_not="a statement about the spread around the mean: a round cloud away from the origin "
    "has a high mean cosine",
)
