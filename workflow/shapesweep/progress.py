"""Progress of a job, shown as a bar in a terminal or as lines in a log file.

The progress display of the sweep (`snakemake_logger_plugin_shapesweep`) reads the progress of each
job from the job's log.
"""

import re
import sys
from collections.abc import Collection, Iterator
from typing import Any, TextIO, TypeVar

from tqdm import tqdm

#: Minimum number of seconds between two lines of progress in a log.
INTERVAL = 5.0
_LINE = "{desc}: {n_fmt} of {total_fmt} {unit}, {remaining} left"
_WRITTEN = re.compile(r"^(?P<doing>\w+): (?P<done>\d+) of (?P<total>\d+) \w+, [\d:?]+ left$")

#: 0-based index of a part of a job's work, and the number of parts.
Part = tuple[int, int]
WHOLE: Part = (0, 1)

Item = TypeVar("Item")


class _Lines:
    """A stream that writes every state of a progress bar on a separate line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        line = text.strip()
        if line:
            self._stream.write(f"{line}\n")

    def flush(self) -> None:
        self._stream.flush()


def bar(total: int, doing: str, unit: str, part: Part = WHOLE) -> tqdm:
    """Start a progress bar. Use the bar in a `with` statement, and call its `update`.

    Parameters
    ----------
    total : int
    doing, unit : str
        The activity and the unit, one word each, such as "training" and "steps" in "training: 3 of
        512 steps".
    part : (int, int)
        0-based index of this part of the work, and the number of parts. One bar shows all parts.
    """
    number, of = part
    style: dict[str, Any] = {"unit": f" {unit}", "dynamic_ncols": True}
    if not sys.stderr.isatty():
        style = {"unit": unit, "file": _Lines(sys.stderr), "bar_format": _LINE}
        style |= {"mininterval": INTERVAL, "miniters": 1}
    return tqdm(initial=number * total, total=of * total, desc=doing, **style)


def track(items: Collection[Item], doing: str, unit: str, part: Part = WHOLE) -> Iterator[Item]:
    """Iterate over items with a progress bar; see `bar`."""
    with bar(len(items), doing, unit, part) as shown:
        for item in items:
            yield item
            shown.update()


def read(log: str) -> tuple[str, int, int] | None:
    """Read the last line of progress in a log.

    Parameters
    ----------
    log : str
        Text from the end of a log.

    Returns
    -------
    (str, int, int) or None
        The activity (such as "training"), the number of finished items, and the total number.
    """
    for line in reversed(log.splitlines()):
        found = _WRITTEN.match(line)
        if found:
            return found["doing"], int(found["done"]), int(found["total"])
    return None
