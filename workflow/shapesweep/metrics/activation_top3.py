"""How massive activations are: the third-largest of all."""

from shapesweep.metrics import CloudMetric, ranked_activation

METRIC = CloudMetric(
    version=1,
    compute=ranked_activation(3),
    definition="third-largest |activation| of all tokens and features",
    source="Sun et al. 2024",
    it_is_not="a sample average: its jackknife error is a rough one",
)
