"""Effective rank: the number of axes over which the variance is spread, from the entropy."""

from shapesweep.estimators import spectrum
from shapesweep.metrics import CloudMetric

METRIC = CloudMetric(
    compute=lambda cloud: spectrum.effective_rank(cloud.eigenvalues),
    capped=True,
    definition="exp of the entropy of λ/Σλ over the eigenvalues λ of the covariance",
    source="Roy and Vetterli 2007, on eigenvalues",
    it_is_not="RankMe, which uses singular values and is two to three times as large",
)
