"""The largest norm of a token."""

from shapesweep.metrics import CloudMetric

METRIC = CloudMetric(
    compute=lambda cloud: float(cloud.norms.max()),
    definition="largest Euclidean norm of a token, not centred",
    source="Sun et al. 2024",
    it_is_not="a sample average: the jackknife error of an extreme value is rough",
)
