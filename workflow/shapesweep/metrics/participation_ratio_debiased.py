"""The participation ratio without the bias that a finite number of tokens causes."""

from shapesweep.estimators import spectrum
from shapesweep.metrics import CloudMetric

METRIC = CloudMetric(
    compute=lambda cloud: spectrum.participation_ratio_debiased(
        cloud.eigenvalues, cloud.fourth, cloud.n_points
    ),
    definition="the participation ratio (tr Σ)²/tr(Σ²), with unbiased estimates of its numerator "
    "and its denominator from a finite number of tokens",
    source="Chun et al. 2026 (γ_row)",
    it_is_not="corrected for the dependence between tokens of a document: the estimate assumes "
    "independent tokens",
)
