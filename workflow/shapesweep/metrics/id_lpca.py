"""Number of axes with more than a twentieth of the variance along the leading axis."""

from shapesweep.estimators import spectrum
from shapesweep.metrics import CloudMetric

METRIC = CloudMetric(
    compute=lambda cloud: spectrum.lpca_dimension(cloud.eigenvalues),
    capped=True,
    definition="number of eigenvalues of the covariance that exceed a twentieth of the largest one",
    source="Fukunaga and Olsen 1971",
    it_is_not="the dimension of a curved manifold: it counts the axes that the manifold spans",
)
