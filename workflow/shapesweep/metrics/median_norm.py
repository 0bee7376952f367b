"""Median norm of the tokens."""

import numpy as np

from shapesweep.metrics import CloudMetric

METRIC = CloudMetric(
    compute=lambda cloud: float(np.median(cloud.norms)),
    definition="median of the tokens' Euclidean norms, not centred",
    source="Sun et al. 2024, who use it as a unit",
    it_is_not="scale-free: it grows with width and depth",
)
