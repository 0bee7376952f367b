"""Check the registry of suites against the Hub, and record the outcome."""

import contextlib
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

from shapesweep.config import checked
from shapesweep.config.hub_suite import HubSuite
from shapesweep.errors import printable
from shapesweep.hub.comparison import Row, Verdict, compare, merged
from shapesweep.hub.errors import UnreachableError
from shapesweep.hub.survey import survey

#: Columns of the table, with their widths.
COLUMNS = {
    "suite": 20,
    "repository or run": 40,
    "what": 12,
    "registry": 28,
    "Hub": 46,
    "verdict": 11,
}


@dataclass(frozen=True)
class Checked:
    """The result of the check of a suite.

    Attributes
    ----------
    suite : str
    rows : list of Row
        Rows that differ only in `where` are merged.
    n_requests : int
        Number of requests to the Hub.
    """

    suite: str
    rows: list[Row]
    n_requests: int

    def count(self, verdict: Verdict) -> int:
        """Return the number of rows with a verdict."""
        return sum(row.verdict == verdict for row in self.rows)

    @property
    def outcome(self) -> Literal["agrees", "differs", "not reached"]:
        """Whether the suite agrees with the Hub, as far as the Hub could be read."""
        if self.count("differs"):
            return "differs"
        return "not reached" if self.count("not reached") else "agrees"

    def check(self, day: date) -> checked.Check:
        """Return the entry of the record of the checks."""
        differences = [
            checked.Difference(where=row.where, what=row.what, registry=row.registry, hub=row.hub)
            for row in self.rows
            if row.verdict == "differs"
        ]
        return checked.Check(date=day, outcome=self.outcome, differences=differences)


def check(suites: Mapping[str, HubSuite], parallel: int, out: str | Path) -> Iterator[Checked]:
    """Compare suites with the Hub, and record the outcome of each suite as soon as it is known.

    Parameters
    ----------
    suites : dict of HubSuite
    parallel : int
        Number of concurrent requests.
    out : path-like
        The record of the checks. The entries of other suites are kept.

    Yields
    ------
    Checked

    Raises
    ------
    UnreachableError
        If the Hub is down. Then the record states that the current suite was not reached.
    ShapesweepError
        If the record is damaged.
    """
    checked.read(out)
    with counted() as requests:
        for name, suite in suites.items():
            before = len(requests)
            try:
                rows = merged(compare(suite, survey(suite, parallel)))
            except UnreachableError:
                unreached = checked.Check(date=date.today(), outcome="not reached")
                checked.update(out, {name: unreached})
                raise
            result = Checked(name, rows, len(requests) - before)
            checked.update(out, {name: result.check(date.today())})
            yield result


@contextlib.contextmanager
def counted() -> Iterator[list[str]]:
    """Collect the host of every request within the `with` statement.

    After a connection has failed, the client opens a new session, whose requests are not counted.
    """
    from huggingface_hub import get_session

    hosts: list[str] = []

    def count(request: Any) -> None:
        hosts.append(request.url.host)

    hooks = get_session().event_hooks["request"]
    hooks.append(count)
    try:
        yield hosts
    finally:
        hooks.remove(count)


def as_table(result: Checked, is_first: bool) -> str:
    """Return the rows of a suite as lines of the table, and a line with its outcome.

    Parameters
    ----------
    result : Checked
    is_first : bool
        Whether the table begins with this suite, and so needs its titles.
    """
    rows = [
        [result.suite, row.where, row.what, row.registry, row.hub, row.verdict]
        for row in result.rows
    ]
    unread = result.count("not read")
    more = f"; {unread} not read, because a token is needed" if unread else ""
    outcome = f"{result.suite}: {result.outcome}{more} ({result.n_requests} requests)"
    return "\n".join([*map(_line, [list(COLUMNS)] * is_first + rows), outcome])


def summary(results: Sequence[Checked]) -> str:
    """Return the number of suites with each outcome, and the number of requests."""
    counts = Counter[str](result.outcome for result in results)
    words = {"agrees": "agree", "differs": "differ", "not reached": "not reached"}
    each = ", ".join(f"{counts[outcome]} {word}" for outcome, word in words.items())
    requests = sum(result.n_requests for result in results)
    return f"suites: {each}; {requests:,} requests to the Hub"


def _line(cells: Sequence[str]) -> str:
    """Return the cells of a row of the table; long cells continue on the next line."""
    wrapped = [
        # The Hub may send any characters, and a terminal would obey some of them.
        textwrap.wrap(printable(cell), width, break_on_hyphens=False) or [""]
        for cell, width in zip(cells, COLUMNS.values(), strict=True)
    ]
    return "\n".join(
        "  ".join(
            part.ljust(width) for part, width in zip(parts, COLUMNS.values(), strict=True)
        ).rstrip()
        for parts in zip_longest(*wrapped, fillvalue="")
    )
