"""The device that a job computes on: one job a GPU, held by a lock; else the CPU.

Snakemake does not tell its jobs which GPU is theirs, and several sweeps may share a
machine. So a job takes the first GPU that nobody holds, and waits while all are held.
"""

import contextlib
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from shapesweep.errors import ShapesweepError
from shapesweep.storage.private import private_folder

#: Seconds between two looks at GPUs that are all held.
PATIENCE = 0.2


@contextlib.contextmanager
def hold(wanted: str) -> Iterator[str]:
    """Hold a device for as long as the block runs.

    Parameters
    ----------
    wanted : {'auto', 'cpu', 'cuda'}
        `auto` is CUDA where torch finds a GPU, and the CPU elsewhere.

    Yields
    ------
    str
        'cpu', or 'cuda:<n>' with torch's own number of the GPU that is held.

    Raises
    ------
    ShapesweepError
        If CUDA is asked for and there is none.
    """
    import torch

    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        yield "cpu"
        return
    if not torch.cuda.is_available():
        raise ShapesweepError("device: cuda is asked for, but torch finds no CUDA device here")
    names = visible(torch.cuda.device_count())
    with lock(names) as name:
        # What torch does without naming a device would take memory on the first one too.
        torch.cuda.set_device(names.index(name))
        yield f"cuda:{names.index(name)}"
        # What torch keeps for later would be missing to the next job on the device.
        torch.cuda.empty_cache()


def visible(n_devices: int) -> list[str]:
    """Names of the GPUs that this process may use, the same ones in every process.

    Parameters
    ----------
    n_devices : int
        How many there are, where CUDA_VISIBLE_DEVICES does not name them.
    """
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return [str(number) for number in range(n_devices)]
    return [name.strip() for name in named.split(",") if name.strip()][:n_devices]


@contextlib.contextmanager
def lock(names: list[str]) -> Iterator[str]:
    """Hold the first of some devices that nobody holds; wait while all are held.

    A process that dies, however it dies, holds nothing any more.

    Parameters
    ----------
    names : list of str

    Yields
    ------
    str
        Of the names.
    """
    # The same place for all of a user's sweeps on this machine.
    path = Path(tempfile.gettempdir()) / f"shapesweep-{os.getuid()}"
    folder = private_folder(path, "set TMPDIR to a folder of yours")
    locks = {name: FileLock(folder / f"{_file_name(name)}.lock") for name in names}
    while True:
        for name, lock in locks.items():
            if _is_taken(lock):
                try:
                    yield name
                finally:
                    lock.release()
                return
        time.sleep(PATIENCE)


def _is_taken(lock: FileLock) -> bool:
    """Whether the lock was free, and is ours now."""
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    return True


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)
