"""The one error class of shapesweep: something a user can mend, said in one line."""

import difflib
from collections.abc import Iterable

#: Characters of the longest line: what is longer tells its beginning and its end.
LONGEST = 1000


def printable(text: str) -> str:
    """A text in one line of what can be seen: of names from outside, control characters escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


class ShapesweepError(Exception):
    """An expected failure: the message names what is wrong, where, and what to do.

    The command prints it without a traceback and exits with status 2.
    """

    def __str__(self) -> str:
        line = printable(super().__str__())
        half = LONGEST // 2
        return line if len(line) <= LONGEST else f"{line[:half]} … {line[3 - half :]}"


class CheckpointError(ShapesweepError):
    """One checkpoint cannot be measured; the sweep records the reason and goes on."""


class TransientError(CheckpointError):
    """One checkpoint could not be had this time; the next run asks for it again."""


def raise_if_memory(error: Exception) -> None:
    """Tell want of memory from what is wrong with a checkpoint: with more, it may be measured.

    Raises
    ------
    MemoryError
        If that is what an error means: torch has several kinds of saying it.
    """
    message = str(error).lower()
    kinds = ("OutOfMemoryError", "MemoryError")
    if type(error).__name__ in kinds or "allocate memory" in message or "out of memory" in message:
        raise MemoryError(" ".join(str(error).split())[:200]) from None


def near(word: str, known: Iterable[str]) -> str:
    """What to write instead of an unknown word: the known one like it, or all that there are."""
    known = list(known)
    found = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    more = f" and {len(known) - 12} more" if len(known) > 12 else ""
    return f"; did you mean {found[0]}?" if found else f"; there are {', '.join(known[:12])}{more}"
