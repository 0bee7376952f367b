"""Linearity: how well an affine map of the previous layer explains a layer."""

from shapesweep.metrics import PairMetric

METRIC = PairMetric(
    is_share=True,
    compute=lambda fit: fit.linearity,
    definition="1 - min_A ‖XA - Y‖²/‖Y‖² of the centred token matrices X and Y of consecutive "
    "layers; the value belongs to the later layer. The states before and after a final norm count "
    "as consecutive layers",
    source="Razzhigaev et al. 2024b",
    it_is_not="evaluated on held-out tokens: with few tokens per feature, it is always high",
)
