"""Shares of points whose nearest neighbour has the same document, token or position."""

from shapesweep.metrics import NeighborMetric

MEANS = {
    "document": "how much `id_twonn` depends on the paths of single documents",
    "token": "how much `id_twonn` depends on the clusters that equal tokens form",
    "position": "how much `id_twonn` depends on the clusters that equal positions form",
}


def _metric(label: str, shows: str) -> NeighborMetric:
    words = "is in the same document" if label == "document" else f"has the same {label}"
    return NeighborMetric(
        bounds=(0, 1),
        k=(1,),
        compute=lambda neighbors: neighbors.share_with_same(label),
        is_dimension=False,
        label=label,
        definition=f"share of points whose nearest neighbour {words}",
        source="ours",
        it_is_not=f"a dimension: it shows {shows}",
    )


METRIC = {f"same_{label}_nn": _metric(label, shows) for label, shows in MEANS.items()}
