"""Linearity: how well an affine map of one layer explains the next layer."""

from shapesweep.metrics import PairMetric

METRIC = PairMetric(
    bounds=(0, 1),
    compute=lambda fit: fit.linearity,
    definition="1 - min_A ‖XA - Y‖²/‖Y‖², where X and Y are the centred token matrices of "
    "consecutive layers; the value belongs to the later layer. The states before and after a final "
    "norm count as consecutive layers",
    source="Razzhigaev et al. 2024b",
    it_is_not="evaluated on held-out tokens: with few tokens per feature, it is always high",
)
