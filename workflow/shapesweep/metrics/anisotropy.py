"""Anisotropy: the share of the variance along the leading axis."""

from shapesweep.estimators import spectrum
from shapesweep.metrics import CloudMetric

METRIC = CloudMetric(
    bounds=(0, 1),
    dose=True,
    compute=lambda cloud: spectrum.leading_share(cloud.eigenvalues),
    sensitivity=True,
    definition="σ₁²/Σσᵢ² for the singular values σᵢ of the centred token matrix",
    source="Razzhigaev et al. 2024",
    it_is_not="a proof that all tokens lie along one line: one massive token per document is "
    "enough for a high value, so compare `all` with `no_first` and `no_massive`",
)
