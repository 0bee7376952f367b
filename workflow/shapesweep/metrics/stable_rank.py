"""Stable rank: the total variance divided by the variance along the leading axis."""

from shapesweep.estimators import spectrum
from shapesweep.metrics import CloudMetric

METRIC = CloudMetric(
    compute=lambda cloud: spectrum.stable_rank(cloud.eigenvalues),
    capped=True,
    derived=True,
    definition="Σλ/λ₁ for the eigenvalues λ of the covariance: the inverse of the anisotropy",
    source="Rudelson and Vershynin 2007",
    it_is_not="independent of `anisotropy`: each is the inverse of the other",
)
