"""Share of the variance that massive tokens alone explain."""

from shapesweep.estimators.cloud import Cloud
from shapesweep.metrics import CloudMetric


def share(cloud: Cloud) -> float:
    """p(1 - p)‖δ‖²/tr Σ: the variance between the means of massive and other tokens."""
    variance = cloud.eigenvalues.sum() / cloud.n_points
    p = float(cloud.massive.mean())
    return float(p * (1 - p) * cloud.massive_gap / variance) if variance > 0 else float("nan")


METRIC = CloudMetric(
    is_share=True,
    dose=True,
    compute=share,
    definition="p(1-p)‖δ‖²/tr Σ: p the share of tokens with a norm above five times the layer's "
    "median, δ their mean minus the others', Σ the covariance of all",
    source="exact, by the law of total variance",
    it_is_not="the anisotropy: if both are close, the leading axis is that of the massive  tokens",
)
