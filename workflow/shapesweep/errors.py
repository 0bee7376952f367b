"""The one error class of shapesweep: something a user can mend, said in one line."""


class ShapesweepError(Exception):
    """An expected failure: the message names what is wrong, where, and what to do.

    The command prints it without a traceback and exits with status 2.
    """


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
    said = str(error).lower()
    kinds = ("OutOfMemoryError", "MemoryError")
    if type(error).__name__ in kinds or "allocate memory" in said or "out of memory" in said:
        raise MemoryError(" ".join(str(error).split())[:200]) from None
