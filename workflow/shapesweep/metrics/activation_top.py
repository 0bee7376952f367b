"""The largest activations. A few activations can be thousands of times as large as all others."""

import numpy as np

from shapesweep.estimators.cloud import Cloud
from shapesweep.metrics import CloudMetric

RANKS = {1: "largest", 2: "second-largest", 3: "third-largest"}


def _metric(rank: int, name: str) -> CloudMetric:
    def compute(cloud: Cloud) -> float:
        if cloud.largest.size < rank:
            return float("nan")
        return float(np.partition(cloud.largest, -rank, axis=None)[-rank])

    return CloudMetric(
        compute=compute,
        definition=f"{name} |activation| of all tokens and features",
        source="Sun et al. 2024",
        it_is_not="a sample average: the jackknife error of an extreme value is rough",
    )


METRIC = {f"activation_top{rank}": _metric(rank, name) for rank, name in RANKS.items()}
