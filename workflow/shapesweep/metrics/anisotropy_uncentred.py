"""Anisotropy without centring."""

from shapesweep.estimators import spectrum
from shapesweep.metrics import CloudMetric

METRIC = CloudMetric(
    bounds=(0, 1),
    compute=lambda cloud: spectrum.leading_share(cloud.eigenvalues_uncentred),
    definition="σ₁²/Σσᵢ² for the singular values σᵢ of the token matrix, which is not centred",
    source="Razzhigaev et al. 2024, without the centring",
    it_is_not="the anisotropy of the centred cloud: the uncentred value is also high if the mean "
    "is far from the origin",
)
