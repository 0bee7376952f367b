"""How narrow the cone is in which all tokens lie."""

from shapesweep.estimators import spectrum
from shapesweep.metrics import CloudMetric

METRIC = CloudMetric(
    version=1,
    is_share=True,
    compute=lambda cloud: spectrum.mean_of_pairs(
        cloud.direction_sum, cloud.n_directions, cloud.n_points
    ),
    definition="mean cosine over all pairs of different tokens, not centred",
    source="Ethayarajh 2019",
    it_is_not="anything about the spread around the mean: a cone that is round inside has it high",
)
