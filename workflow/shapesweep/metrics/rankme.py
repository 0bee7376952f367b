"""RankMe: the effective number of axes, computed from the entropy of the singular values."""

from shapesweep.estimators import spectrum
from shapesweep.metrics import CloudMetric

METRIC = CloudMetric(
    compute=lambda cloud: spectrum.rankme(cloud.eigenvalues),
    capped=True,
    definition="exp of the entropy of the shares σ/Σσ, for the singular values σ of the centred "
    "token matrix",
    source="Garrido et al. 2023, who do not centre",
    it_is_not="`effective_rank`, which uses eigenvalues",
)
