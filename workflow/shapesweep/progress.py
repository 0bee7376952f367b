"""Progress that a person can follow: a bar in a terminal, a line now and then in a log.

The lines in a job's log are also what the display of the whole sweep reads
(`snakemake_logger_plugin_shapesweep`): the log is the one channel between them.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Sized
from typing import Protocol, TextIO, TypeVar

from tqdm import tqdm

#: Seconds between two lines in a log.
INTERVAL = 5.0
_LINE = "{desc}: {n_fmt} of {total_fmt} {unit}, {remaining} left"
_WRITTEN = re.compile(r"^(?P<doing>\w+): (?P<done>\d+) of (?P<total>\d+) \w+, [\d:?]+ left$")

#: Which of how many; the only one.
Part = tuple[int, int]
WHOLE: Part = (0, 1)

Item = TypeVar("Item", covariant=True)


class SizedIterable(Sized, Iterable[Item], Protocol[Item]):
    """What can be gone through, and knows how long it is."""


class _Lines:
    """A stream on which every state of a bar is a line of its own."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        line = text.strip()
        if line:
            self._stream.write(f"{line}\n")

    def flush(self) -> None:
        self._stream.flush()


def bar(total: int, doing: str, unit: str, part: Part = WHOLE) -> tqdm:
    """Start to show how far something is; use it in a `with`, and call its `update`.

    Parameters
    ----------
    total : int
    doing, unit : str
        As in "training: 3 of 512 steps"; one word each.
    part : (int, int)
        Which of how many like it this is, counted from 0: what is shown is all of them.
    """
    number, of = part
    if sys.stderr.isatty():
        return tqdm(
            initial=number * total,
            total=of * total,
            desc=doing,
            unit=f" {unit}",
            dynamic_ncols=True,
        )
    return tqdm(
        initial=number * total,
        total=of * total,
        desc=doing,
        unit=unit,
        file=_Lines(sys.stderr),
        bar_format=_LINE,
        mininterval=INTERVAL,
        miniters=1,
    )


def track(items: SizedIterable[Item], doing: str, unit: str, part: Part = WHOLE) -> Iterator[Item]:
    """Go through items and show how far; see `bar`."""
    with bar(len(items), doing, unit, part) as shown:
        for item in items:
            yield item
            shown.update()


def read(log: str) -> tuple[str, int, int] | None:
    """What the last line of progress in a log says.

    Parameters
    ----------
    log : str
        The end of a log.

    Returns
    -------
    (str, int, int) or None
        What is being done, how many are done, and of how many.
    """
    for line in reversed(log.splitlines()):
        found = _WRITTEN.match(line)
        if found:
            return found["doing"], int(found["done"]), int(found["total"])
    return None
