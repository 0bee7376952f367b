"""Errors that a user can correct; each message is one line."""

import difflib
from collections.abc import Iterable

#: Maximum number of characters of a message. Longer messages are cut in the middle.
LONGEST = 1000


def printable(text: str) -> str:
    """Return a text as one line, with unprintable characters escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class ShapesweepError(Exception):
    """An expected failure. The message says what is wrong, where, and what to do.

    The command prints the message without a traceback, and exits with status 2.
    """

    def __str__(self) -> str:
        line = printable(super().__str__())
        half = LONGEST // 2
        return line if len(line) <= LONGEST else f"{line[:half]} … {line[3 - half :]}"


class CheckpointError(ShapesweepError):
    """Raised if a checkpoint cannot be measured; the sweep records the reason and continues."""


class TransientError(CheckpointError):
    """Raised if a checkpoint is temporarily unavailable; the next run of the sweep tries again."""


def raise_if_memory(error: Exception) -> None:
    """Raise a MemoryError if the given error was caused by a lack of memory.

    Raises
    ------
    MemoryError
        If `error` is one of the errors that torch raises when memory runs out.
    """
    message = str(error).lower()
    kinds = ("OutOfMemoryError", "MemoryError")
    if type(error).__name__ in kinds or "allocate memory" in message or "out of memory" in message:
        raise MemoryError(" ".join(str(error).split())[:200]) from None


def near(word: str, known: Iterable[str]) -> str:
    """Return advice for an unknown name: the closest known name, or a list of known names."""
    known = list(known)
    found = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    more = f" and {len(known) - 12} more" if len(known) > 12 else ""
    choices = f"{', '.join(known[:12])}{more}"
    return f"; did you mean {found[0]}?" if found else f"; choose from {choices}"
