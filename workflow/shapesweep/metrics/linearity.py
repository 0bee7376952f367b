"""Linearity: how well an affine map of the previous layer explains a layer."""

from shapesweep.metrics import PairMetric

METRIC = PairMetric(
    is_share=True,
    compute=lambda fit: fit.linearity,
    definition="1 - min_A ‖XA - Y‖²/‖Y‖² of the centred token matrices of consecutive layers; a "
    "value belongs to the later layer. The layers before and after a final norm are consecutive",
    source="Razzhigaev et al. 2024b",
    it_is_not="held out: with few tokens per feature it is always high",
)
