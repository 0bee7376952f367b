"""Participation ratio: the number of axes over which the variance is spread."""

from shapesweep.estimators import spectrum
from shapesweep.metrics import CloudMetric

METRIC = CloudMetric(
    compute=lambda cloud: spectrum.participation_ratio(cloud.eigenvalues),
    capped=True,
    definition="(Σλ)²/Σλ² for the eigenvalues λ of the covariance",
    source="Gao et al. 2017",
    it_is_not="an intrinsic dimension: a curve that turns in many directions has a high ratio",
)
