"""Share of the variance that massive tokens alone explain."""

from shapesweep.estimators.cloud import Cloud
from shapesweep.metrics import CloudMetric


def share(cloud: Cloud) -> float:
    """Return the share of the variance that is due to the gap between massive and other tokens.

    The gap is the difference between the mean of the massive tokens and the mean of all other
    tokens.
    """
    variance = cloud.eigenvalues.sum() / cloud.n_points
    p = float(cloud.massive.mean())
    return float(p * (1 - p) * cloud.massive_gap / variance) if variance > 0 else float("nan")


METRIC = CloudMetric(
    bounds=(0, 1),
    dose=True,
    compute=share,
    definition="p(1-p)‖δ‖²/tr Σ, where p is the share of massive tokens (norm above five times the "
    "layer's median), δ is their mean minus the mean of all other tokens, and Σ is the covariance",
    source="exact, by the law of total variance",
    it_is_not="the anisotropy: if both shares are nearly equal, the leading axis points to the "
    "massive tokens",
)
