"""Errors that a user can correct; each message is one line."""

import contextlib
import difflib
import errno
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence

#: Maximum number of characters of a message. Longer messages are cut in the middle.
LONGEST = 1000
#: The start of the message if the memory of the machine, or of the job, runs out.
OUT_OF_MEMORY = "out of memory: "
#: Errors of the disk that concern all checkpoints alike: it is full, or cannot be written.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


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


class UnexpectedError(CheckpointError):
    """Raised if a model or a library raises an error that no other class of errors describes."""


@contextlib.contextmanager
def as_checkpoint_errors() -> Iterator[None]:
    """Convert every exception of a checkpoint to a `CheckpointError`, so that the sweep continues.

    Models, remote code and libraries raise all kinds of exceptions. The traceback of an unexpected
    exception is printed to standard error, which is the log of the job.

    Raises
    ------
    UnexpectedError
        If the exception is not an expected failure. The message begins with its class.
    TransientError
        If memory runs out, or a file cannot be read.
    ShapesweepError
        If the failure concerns all checkpoints of the job; it is raised unchanged.
    OSError
        If the disk is full or read-only.
    """
    try:
        yield
    except ShapesweepError as error:
        if error.__cause__:
            traceback.print_exception(error.__cause__, file=sys.stderr)
        raise
    except BaseException as error:
        if not is_failure(error) or (isinstance(error, OSError) and error.errno in _FULL):
            raise
        traceback.print_exc(file=sys.stderr)
        if _is_memory(error):
            reason = " ".join(str(error).split()) or "the checkpoint does not fit"
            # More memory for the job does not help if the memory of a GPU runs out.
            is_gpu = type(error).__name__ == "OutOfMemoryError" or "cuda" in reason.lower()
            kind = "out of GPU memory: " if is_gpu else OUT_OF_MEMORY
            raise TransientError(f"{kind}{reason}") from None
        # An OSError with a number comes from the disk, and not from a library.
        from_disk = isinstance(error, OSError) and error.errno is not None
        raise (TransientError if from_disk else UnexpectedError)(described(error)) from None


def is_failure(error: BaseException) -> bool:
    """Return whether an exception is a failure of code, and not a request to stop.

    Remote code may call `sys.exit`. A panic of code in Rust, such as that of tokenizers, is a
    `pyo3_runtime.PanicException`, which is not a subclass of Exception.
    """
    return isinstance(error, Exception | SystemExit) or type(error).__module__ == "pyo3_runtime"


def described(error: BaseException) -> str:
    """Return the class and the message of an exception, as one short line."""
    message = " ".join(str(error).split())
    message = message if len(message) <= 200 else f"{message[:199]}…"
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def raise_if_memory(error: BaseException) -> None:
    """Raise a MemoryError if the given error was caused by a lack of memory.

    Raises
    ------
    MemoryError
        If `error` is one of the errors that torch raises when memory runs out.
    """
    if _is_memory(error):
        raise MemoryError(" ".join(str(error).split())[:200]) from None


def _is_memory(error: BaseException) -> bool:
    message = str(error).lower()
    return (
        type(error).__name__ in ("OutOfMemoryError", "MemoryError")
        or "allocate memory" in message
        or "out of memory" in message
    )


def listed(names: Sequence[str]) -> str:
    """Return the first four names, and the number of further names."""
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return f"{', '.join(names[:4])}{more}"


def near(word: str, known: Iterable[str]) -> str:
    """Return advice for an unknown name: the closest known name, or a list of known names."""
    known = list(known)
    found = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    more = f" and {len(known) - 12} more" if len(known) > 12 else ""
    choices = f"{', '.join(known[:12])}{more}"
    return f"; did you mean {found[0]}?" if found else f"; choose from {choices}"
