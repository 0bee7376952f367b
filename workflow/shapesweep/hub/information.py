"""What the Hub states about a repository, apart from its files: the license, and the access."""

from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from shapesweep.hub import client

_LABELS = TypeAdapter(list[str])


@dataclass(frozen=True)
class Information:
    """What the Hub states about a repository.

    Attributes
    ----------
    license : str or None
        Identifier of the license, such as `apache-2.0`.
    is_gated : bool
        Whether users must accept terms before they can download files.
    """

    license: str | None
    is_gated: bool


def request(repository: str) -> Information:
    """Return the license of a repository, and whether it is gated.

    The Hub answers without a token, even if the repository is gated.

    Raises
    ------
    RefusedError, UnreachableError
    """

    def ask(api: Any) -> Information:
        found = api.model_info(repository, expand=["cardData", "gated", "tags"])
        labels = _LABELS.validate_python(found.tags or [])
        stated = getattr(found.card_data, "license", None)
        if not isinstance(stated, str):
            # A card may contain anything. The Hub makes labels of valid cards.
            known = (label for label in labels if label.startswith("license:"))
            stated = next(known, "").removeprefix("license:") or None
        return Information(stated, bool(found.gated))

    return client.send(repository, ask)
