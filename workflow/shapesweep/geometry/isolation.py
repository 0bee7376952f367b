"""Run a job in a child process, so that the job survives if a checkpoint ends this process.

The kernel kills a process if memory runs out, and native code may crash. Python cannot catch
either of them. The parent process imports no large library, so it needs little memory.
"""

import contextlib
import dataclasses
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from shapesweep.errors import (
    OUT_OF_MEMORY,
    CheckpointError,
    ShapesweepError,
    TransientError,
    UnexpectedError,
)

#: Signals that may come from a checkpoint. Users and schedulers end a job with other signals.
_CRASHES = {
    *(signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGFPE),
    *(signal.SIGILL, signal.SIGTRAP, signal.SIGSYS),
}
#: Maximum number of bytes in the name of a revision.
_LONGEST = 255


@dataclass(frozen=True)
class Attempt:
    """An attempt to measure the checkpoints of a job.

    Attributes
    ----------
    crashed : mapping
        Errors of the checkpoints that ended the process in earlier attempts, by revision. These
        checkpoints are not tried again.
    one_by_one : bool
        Whether each checkpoint must be finished before the next checkpoint is read, so that a crash
        can be attributed to one checkpoint.
    begin : callable
        Function that must be called with the revision of a checkpoint before it is read, if
        `one_by_one` is set.
    retries : int
        How often Snakemake will repeat the job, with more memory, if it fails.
    """

    crashed: Mapping[str, CheckpointError] = field(default_factory=dict)
    one_by_one: bool = False
    begin: Callable[[str], object] = str
    retries: int = 0

    def raise_if_repeated(self, reason: str) -> None:
        """Raise an error if memory ran out, and the job will be repeated with more memory.

        Raises
        ------
        ShapesweepError
        """
        if self.retries and reason.startswith(OUT_OF_MEMORY):
            raise ShapesweepError(f"{reason}; the job will be repeated with more memory")


#: An attempt without earlier crashes.
FIRST = Attempt()


def run(work: Callable[[Attempt], int], retries: int) -> int:
    """Run a job in a child process, and run it again if a checkpoint ends the process.

    After the first crash, all checkpoints are tried again, one by one. A checkpoint during which
    the process ends again is then left out.

    Parameters
    ----------
    work : callable
        Function that runs the job, and returns the exit status.
    retries : int
        How often Snakemake will repeat the job, with more memory, if it fails. As long as the job
        will be repeated, it fails if memory runs out.

    Returns
    -------
    int
        Exit status.

    Raises
    ------
    ShapesweepError
        If a process is killed, and the job will be repeated; or if a process ends before it begins
        a checkpoint.
    """
    # Threads of torch do not survive a fork. A command that a user starts has not imported torch.
    if "torch" in sys.modules:
        return work(Attempt(retries=retries))
    crashed: dict[str, CheckpointError] = {}
    one_by_one = False
    while True:
        attempt = Attempt(dict(crashed), one_by_one, retries=retries)
        status, revision = _in_child(work, attempt)
        if status >= 0:
            return status
        if -status not in _CRASHES:
            return 128 - status
        error = _error(-status)
        attempt.raise_if_repeated(str(error))
        if one_by_one:
            if not revision or revision in crashed:
                raise error
            crashed[revision] = error
        # Checkpoints that have been measured are not measured again.
        one_by_one = True


def _error(number: int) -> CheckpointError:
    name = signal.Signals(number).name
    if number == signal.SIGKILL:
        return TransientError(
            f"{OUT_OF_MEMORY}the process was killed ({name}), probably because memory ran out"
        )
    return UnexpectedError(f"the process crashed ({name})")


def _in_child(work: Callable[[Attempt], int], attempt: Attempt) -> tuple[int, str]:
    """Run a job in a child process.

    Returns
    -------
    status : int
        Exit status; if a signal ended the process, the negative number of the signal.
    revision : str
        The last checkpoint that the job began; empty if it began none.
    """
    alive, keeps_alive = os.pipe()
    _flush()
    with tempfile.TemporaryFile() as begun:
        child = os.fork()
        if child == 0:
            os.close(keeps_alive)
            threading.Thread(target=_end_with_parent, args=(alive,), daemon=True).start()

            def begin(revision: str) -> None:
                os.pwrite(begun.fileno(), revision.ljust(_LONGEST).encode(), 0)

            _work(work, dataclasses.replace(attempt, begin=begin))
        os.close(alive)
        try:
            status = _wait(child)
        finally:
            os.close(keeps_alive)
        revision = os.pread(begun.fileno(), _LONGEST, 0).decode().strip()
    return os.waitstatus_to_exitcode(status), revision


def _wait(child: int) -> int:
    try:
        return os.waitpid(child, 0)[1]
    except KeyboardInterrupt:
        # The terminal interrupts both processes. The child removes its temporary files.
        os.waitpid(child, 0)
        raise


def _work(work: Callable[[Attempt], int], attempt: Attempt) -> None:
    """Run a job, and end this process."""
    status = 1
    try:
        status = work(attempt)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        _flush()
        os._exit(status)


def _flush() -> None:
    """Write the buffers of the output streams, unless a stream is closed."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def _end_with_parent(alive: int) -> None:
    """End this process when the parent process has ended, which closes a pipe."""
    os.read(alive, 1)
    os._exit(128 + signal.SIGTERM)
