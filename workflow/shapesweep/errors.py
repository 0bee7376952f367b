"""The one error class of shapesweep: something a user can mend, said in one line."""


class ShapesweepError(Exception):
    """An expected failure: the message names what is wrong, where, and what to do.

    The command prints it without a traceback and exits with status 2.
    """


class CheckpointError(ShapesweepError):
    """One checkpoint cannot be measured; the sweep records the reason and goes on."""


class TransientError(CheckpointError):
    """One checkpoint could not be had this time; the next run asks for it again."""
