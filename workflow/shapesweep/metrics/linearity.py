"""How far a layer is a linear map of the one before."""

from shapesweep.metrics import PairMetric

METRIC = PairMetric(
    version=1,
    is_share=True,
    compute=lambda fit: fit.linearity,
    definition="1 - min_A ‖XA - Y‖²/‖Y‖² of consecutive layers' centred token matrices; a row "
    "belongs to the layer behind. The layers before and after a final norm are consecutive",
    source="Razzhigaev et al. 2024b",
    it_is_not="held out: with few tokens to a feature it is high whatever the layers do",
)
