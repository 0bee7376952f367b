"""Run a job in a child process, so that the job survives if a checkpoint ends this process.

The kernel kills a process if memory runs out, and native code may crash. Python cannot catch
either of them. The parent process imports no large library, so it needs little memory.
"""

import contextlib
import dataclasses
import os
import signal
import sys
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

#: Signals with which users and schedulers end a job. They do not come from a checkpoint.
_STOPS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT}


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
        if -status in _STOPS:
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
    begun, begins = os.pipe()
    alive, keeps_alive = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child == 0:
        os.close(begun)
        os.close(keeps_alive)
        threading.Thread(target=_end_with_parent, args=(alive,), daemon=True).start()

        def begin(revision: str) -> object:
            return os.write(begins, f"{revision}\n".encode())

        _work(work, dataclasses.replace(attempt, begin=begin))
    os.close(begins)
    os.close(alive)
    try:
        with open(begun, encoding="utf-8") as lines:  # noqa: PTH123
            revisions = lines.read().split()
        _, status = os.waitpid(child, 0)
    finally:
        os.close(keeps_alive)
    return os.waitstatus_to_exitcode(status), revisions[-1] if revisions else ""


def _work(work: Callable[[Attempt], int], attempt: Attempt) -> None:
    """Run a job, and end this process."""
    status = 1
    try:
        status = work(attempt)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(status)


def _end_with_parent(alive: int) -> None:
    """End this process when the parent process has ended, which closes a pipe."""
    os.read(alive, 1)
    os._exit(128 + signal.SIGTERM)
