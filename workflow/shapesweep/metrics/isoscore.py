"""IsoScore: how evenly the cloud uses all features."""

from shapesweep.estimators import spectrum
from shapesweep.metrics import CloudMetric

METRIC = CloudMetric(
    bounds=(0, 1),
    compute=lambda cloud: spectrum.isoscore(cloud.eigenvalues),
    capped=True,
    derived=True,
    definition="IsoScore: (PR - 1)/(n_features - 1) with the participation ratio PR",
    source="Rudman et al. 2022",
    it_is_not="comparable between models of different width",
)
