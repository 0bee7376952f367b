"""Exponent of the power law by which the eigenvalues decay."""

from shapesweep.estimators import spectrum
from shapesweep.metrics import CloudMetric

METRIC = CloudMetric(
    compute=lambda cloud: spectrum.alpha_req(cloud.eigenvalues, cloud.noise_floor),
    definition="exponent α of λᵢ ~ i^-α, fitted to the 11th to 100th eigenvalue with weights 1/i",
    version=2,
    source="Agrawal et al. 2022; the fit of Stringer et al. 2019",
    it_is_not="defined for every cloud: it needs at least 100 features, and a 100th eigenvalue "
    "above the rounding noise",
)
