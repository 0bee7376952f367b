"""Effective rank: the effective number of axes, computed from the entropy of the eigenvalues."""

from shapesweep.estimators import spectrum
from shapesweep.metrics import CloudMetric

METRIC = CloudMetric(
    compute=lambda cloud: spectrum.effective_rank(cloud.eigenvalues),
    capped=True,
    definition="exp of the entropy of the shares λ/Σλ, for the eigenvalues λ of the covariance",
    source="Roy and Vetterli 2007, applied to eigenvalues",
    it_is_not="RankMe, which uses singular values and is two to three times as large",
)
