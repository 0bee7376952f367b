"""Convert the result of a command to an exit status."""

import os
import sys
from collections.abc import Callable

from shapesweep.errors import ShapesweepError


def exit_status(call: Callable[[], int | None], out: str | None = None) -> int:
    """Call a function, and report an expected error in one line.

    Parameters
    ----------
    call : callable
        Function that returns an exit status, or None for success.
    out : str, optional
        Path that the function writes.

    Returns
    -------
    int
        Exit status: 2 after an expected error, or 130 after an interrupt.
    """
    try:
        return call() or 0
    except ShapesweepError as error:
        message = str(error)
    except OSError as error:
        # Errors from the Parquet writer do not name the file.
        path = error.filename or out
        reason = os.strerror(error.errno) if error.errno else str(error)
        message = f"{path}: {reason}" if path else reason
    except MemoryError as error:
        message = f"out of memory: {str(error) or 'the data does not fit in memory'}"
    except KeyboardInterrupt:
        return 130
    except SystemExit as end:
        # The child process of a job has already reported the error.
        return int(end.code or 0)
    print(f"shapesweep: error: {message}", file=sys.stderr)
    return 2
