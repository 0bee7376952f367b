"""The device of a job: the CPU, or a GPU that the job locks.

Snakemake does not assign GPUs to jobs, and several sweeps may share a machine. A job takes the
first free GPU, and waits while all GPUs are in use.
"""

import contextlib
import itertools
import os
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from shapesweep.errors import ShapesweepError
from shapesweep.storage.private import private_folder

#: Seconds between two attempts to lock a GPU while all GPUs are in use.
PATIENCE = 0.2


@contextlib.contextmanager
def hold(wanted: str) -> Iterator[str]:
    """Hold a device until the context ends.

    Parameters
    ----------
    wanted : {'auto', 'cpu', 'cuda'}
        `auto` is CUDA if torch finds a GPU, and the CPU otherwise.

    Yields
    ------
    str
        'cpu', or 'cuda:<n>' with torch's index of the GPU.

    Raises
    ------
    ShapesweepError
        If `wanted` is 'cuda', and torch finds no GPU.
    """
    import torch

    if wanted == "cpu" or (wanted == "auto" and not torch.cuda.is_available()):
        yield "cpu"
        return
    if not torch.cuda.is_available():
        raise ShapesweepError("device: cuda is required, but torch finds no CUDA device")
    names = visible(torch.cuda.device_count())
    with lock(names) as name:
        # Without this call, operations without an explicit device would use memory of the first
        # GPU.
        torch.cuda.set_device(names.index(name))
        yield f"cuda:{names.index(name)}"
        # Release the memory that torch caches, so that the next job on the device can use it.
        torch.cuda.empty_cache()


def visible(n_devices: int) -> list[str]:
    """Return the names of the GPUs that this process may use; all processes use the same names.

    Parameters
    ----------
    n_devices : int
        Number of GPUs that torch finds.
    """
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return [str(number) for number in range(n_devices)]
    return [name.strip() for name in named.split(",") if name.strip()][:n_devices]


@contextlib.contextmanager
def lock(names: list[str]) -> Iterator[str]:
    """Lock the first free device; wait while all devices are in use.

    The lock is released even if the process is killed.

    Parameters
    ----------
    names : list of str

    Yields
    ------
    str
        The name of the device.
    """
    # All sweeps of a user on this machine share this folder.
    path = Path(tempfile.gettempdir()) / f"shapesweep-{os.getuid()}"
    folder = private_folder(path, "set TMPDIR to a folder that belongs to you")
    for name in itertools.cycle(names):
        file_name = re.sub(r"[^A-Za-z0-9_-]", "_", name)
        try:
            held = FileLock(folder / f"{file_name}.lock").acquire(blocking=False)
        except Timeout:
            if name == names[-1]:
                time.sleep(PATIENCE)
            continue
        with held:
            yield name
        return
