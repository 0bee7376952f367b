"""The same from the tokens' lengths alone, as a rule of thumb has it."""

from shapesweep.estimators.cloud import Cloud
from shapesweep.metrics import CloudMetric


def share(cloud: Cloud) -> float:
    """A²/(A² + L), A² and L the massive tokens' mean square and number against the others'."""
    massive = float((cloud.norms[cloud.massive] ** 2).sum())
    energy = float((cloud.norms**2).sum())
    return massive / energy if energy > 0 else float("nan")


METRIC = CloudMetric(
    version=1,
    is_share=True,
    dose=True,
    compute=share,
    definition="A²/(A² + L): A² the massive tokens' mean squared norm over that of the others, L "
    "the number of others to each; so, their share of Σ‖x‖²",
    source="a rule of thumb (Queipo-de-Llano et al. 2026 have a bound of its kind)",
    it_is_not="`massive_share`: it holds for tokens whose mean is zero, and falls short in a cone",
)
