"""Errors that a user can correct; each message is one line."""

import difflib
from collections.abc import Iterable

#: Characters of the longest message. Longer messages are cut in the middle.
LONGEST = 1000


def printable(text: str) -> str:
    """The text in one line, with control characters escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class ShapesweepError(Exception):
    """An expected failure. The message says what is wrong, where, and what to do.

    The command prints it without a traceback and exits with status 2.
    """

    def __str__(self) -> str:
        line = printable(super().__str__())
        half = LONGEST // 2
        return line if len(line) <= LONGEST else f"{line[:half]} … {line[3 - half :]}"


class CheckpointError(ShapesweepError):
    """One checkpoint cannot be measured; the sweep records the reason and goes on."""


class TransientError(CheckpointError):
    """One checkpoint is not available now; the next run tries it again."""


def raise_if_memory(error: Exception) -> None:
    """Raise a MemoryError if an error means that memory ran out.

    Raises
    ------
    MemoryError
        If the error is one of the several that torch raises when memory runs out.
    """
    message = str(error).lower()
    kinds = ("OutOfMemoryError", "MemoryError")
    if type(error).__name__ in kinds or "allocate memory" in message or "out of memory" in message:
        raise MemoryError(" ".join(str(error).split())[:200]) from None


def near(word: str, known: Iterable[str]) -> str:
    """Advice for an unknown word: the closest known word, or all known words."""
    known = list(known)
    found = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    more = f" and {len(known) - 12} more" if len(known) > 12 else ""
    return f"; did you mean {found[0]}?" if found else f"; there are {', '.join(known[:12])}{more}"
