"""Shares of three groups of tokens in the variance along the leading axis."""

from shapesweep.metrics import CloudMetric

GROUPS = {
    "first": "first tokens, that is, of the tokens that the selection `no_first` leaves out",
    "massive": "massive tokens (norm above five times the layer's median) other than first tokens",
    "bulk": "all tokens that are neither first tokens nor massive",
}


def _metric(group: str, words: str) -> CloudMetric:
    return CloudMetric(
        compute=lambda cloud: cloud.leading_shares[group],
        bounds=(0, 1),
        of_all=True,
        definition=f"Σ_{{i∈G}} (u₁·(xᵢ-μ))²/Σᵢ (u₁·(xᵢ-μ))² for the group G of {words}; u₁ is the "
        "leading axis and μ the mean of all tokens",
        source="exact; the shares of the three groups add up to 1",
        it_is_not="the anisotropy that disappears without the group: compare the anisotropy of the "
        "selections `no_first`, `no_other_massive` and `no_bulk`",
    )


METRIC = {f"leading_share_{group}": _metric(group, words) for group, words in GROUPS.items()}
