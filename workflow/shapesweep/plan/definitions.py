"""Definitions of suites for jobs, with only the keys that a job reads."""

import json
import shlex
from typing import Any

from shapesweep.config.hub_suite import Expected, HubSuite
from shapesweep.config.suite import AnySuite, EmbeddedSuite, LocalSuite
from shapesweep.errors import ShapesweepError

#: Keys of a definition that are documentation only, in the form that pydantic's `exclude` needs.
FOR_PEOPLE: dict[str, Any] = {
    **dict.fromkeys(("facts", "title", *Expected.model_fields), True),
    "repositories": {"__all__": set(Expected.model_fields)},
}
#: The maximum number of bytes of a definition in a shell command; Linux allows 128 KiB.
LONGEST = 100_000


def for_training(name: str, suite: EmbeddedSuite, run: str) -> str:
    """Return the definition of a suite, reduced to one run, as JSON."""
    return _checked(name, suite.with_run(run).model_dump_json())


def for_listing(name: str, suite: AnySuite) -> str:
    """Return, as JSON, the keys of a definition on which the suite's listing depends."""
    if isinstance(suite, LocalSuite):
        # The listing of a local suite depends only on its base models on the Hub.
        runs = {f"run{n}": {"path": "-", "base": b} for n, b in enumerate(suite.bases_on_hub)}
        return _checked(name, json.dumps({"source": "local", "runs": runs}))
    if not isinstance(suite, HubSuite):
        return _checked(name, suite.model_dump_json())
    key = suite.listing_key()
    requested = {"source": "hub", "mode": key["mode"], "only": key["only"]}
    return _checked(name, json.dumps({**requested, "repositories": key["groups"]}))


def for_tokenizer(name: str, suite: AnySuite, run: str) -> str:
    """Return the definition of a suite on the Hub, reduced to one run, as JSON."""
    unread = ("accept", "losses", "loss_files", "spiked", "ignored_weights", "remote_code")
    apart = {**dict.fromkeys(unread, True), **FOR_PEOPLE}
    alone = suite.model_copy(update={"only": [run]})
    return _checked(name, alone.model_dump_json(exclude=apart))


def _checked(name: str, text: str) -> str:
    """Check that a definition is not too long.

    Raises
    ------
    ShapesweepError
        If the definition is longer than `LONGEST` bytes.
    """
    if len(shlex.quote(text).encode()) > LONGEST:
        raise ShapesweepError(
            f"suites.{name}: the definition has more than {LONGEST // 1000} kB; name repositories "
            "by patterns, or split the definition into several suites"
        )
    return text
