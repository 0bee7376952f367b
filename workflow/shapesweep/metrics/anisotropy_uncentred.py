"""Anisotropy without centring."""

from shapesweep.estimators import spectrum
from shapesweep.metrics import CloudMetric

METRIC = CloudMetric(
    is_share=True,
    compute=lambda cloud: spectrum.leading_share(cloud.eigenvalues_uncentred),
    definition="σ₁²/Σσᵢ² of the token matrix, not centred",
    source="Razzhigaev et al. 2024, before centring",
    it_is_not="the paper's anisotropy: it is also high if the mean is far from the origin",
)
