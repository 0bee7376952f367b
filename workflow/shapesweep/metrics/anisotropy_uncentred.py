"""How far all tokens lie along one line through the origin."""

from shapesweep.estimators import spectrum
from shapesweep.metrics import CloudMetric

METRIC = CloudMetric(
    version=1,
    is_share=True,
    compute=lambda cloud: spectrum.leading_share(cloud.eigenvalues_uncentred),
    definition="σ₁²/Σσᵢ² of the token matrix as it is",
    source="the first of two ways in Razzhigaev et al. 2024: before centring",
    it_is_not="the paper's anisotropy: a mean that is far from the origin has it high",
)
