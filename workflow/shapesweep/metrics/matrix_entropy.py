"""Matrix entropy: entropy of the spectrum of the uncentred cloud."""

from shapesweep.estimators import spectrum
from shapesweep.metrics import CloudMetric

METRIC = CloudMetric(
    compute=lambda cloud: spectrum.matrix_entropy(cloud.eigenvalues_uncentred),
    capped=True,
    definition="entropy, in nats, of the shares λ/Σλ, for the eigenvalues λ of the uncentred Gram "
    "matrix",
    source="Skean et al. 2025, who compute it for single prompts",
    it_is_not="the entropy of single prompts: it is computed from all tokens together",
)
