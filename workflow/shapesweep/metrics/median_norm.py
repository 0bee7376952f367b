"""Median norm of the tokens."""

import numpy as np

from shapesweep.metrics import CloudMetric

METRIC = CloudMetric(
    compute=lambda cloud: float(np.median(cloud.norms)),
    definition="median of the tokens' Euclidean norms, not centred",
    source="the unit of Sun et al. 2024",
    it_is_not="free of scale: it grows with width and depth",
)
