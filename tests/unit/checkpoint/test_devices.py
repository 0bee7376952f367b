"""A lock assigns each GPU to one job at a time. A job uses as many threads as the rule requests."""

import itertools
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time

import pytest
import torch

from shapesweep.checkpoint import devices
from shapesweep.errors import ShapesweepError


@pytest.fixture(autouse=True)
def own_locks(tmp_path, monkeypatch):
    """Use separate locks, so that a sweep on this machine does not interfere with the tests."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def use(folder, names, seconds, queue, barrier=None):
    tempfile.tempdir = folder
    if barrier:
        barrier.wait(60)
    with devices.lock(names) as name:
        start = time.monotonic()
        time.sleep(seconds)
        queue.put((name, start, time.monotonic()))


def test_every_device_is_used_by_one_job_at_a_time_and_none_is_idle(tmp_path):
    context = multiprocessing.get_context("spawn")
    queue, barrier = context.Queue(), context.Barrier(6)
    arguments = (str(tmp_path), ["0", "GPU-1:x"], 0.3, queue, barrier)
    jobs = [context.Process(target=use, args=arguments) for _ in range(6)]
    for job in jobs:
        job.start()
    held = [queue.get(timeout=60) for _ in jobs]
    for job in jobs:
        job.join()
    for device in ("0", "GPU-1:x"):
        times = sorted((start, end) for name, start, end in held if name == device)
        assert len(times) >= 2
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(times))


def test_killed_job_frees_its_device(tmp_path):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    job = context.Process(target=use, args=(str(tmp_path), ["0"], 600, queue))
    job.start()
    lock = tmp_path / f"shapesweep-{os.getuid()}" / "0.lock"
    deadline = time.monotonic() + 60
    while not lock.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.2)
    assert job.is_alive()
    job.kill()
    job.join()
    with devices.lock(["0"]) as name:
        assert name == "0"


def test_error_under_the_lock_is_raised_and_frees_the_lock():
    with pytest.raises(ShapesweepError, match="mine"), devices.lock(["0"]):
        raise ShapesweepError("mine")
    with devices.lock(["0"]):
        pass


def test_visible_devices_come_from_the_environment(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert devices.visible(3) == ["0", "1", "2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-8f,")
    assert devices.visible(2) == ["2", "GPU-8f"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert devices.visible(0) == []


def test_job_gets_the_number_that_torch_gives_its_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    chosen = []
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    with devices.lock(["5"]), devices.hold("auto") as device:
        assert (device, chosen) == ("cuda:1", [1])
    with devices.hold("cpu") as device:
        assert device == "cpu"


def test_without_a_gpu_auto_means_cpu_and_cuda_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with devices.hold("auto") as device:
        assert device == "cpu"
    with pytest.raises(ShapesweepError, match="cuda is required, but"), devices.hold("cuda"):
        pass


THREADS = """
import sys
from shapesweep import cli
from shapesweep.cli import commands

def geometry(arguments):
    "Print the numbers of threads that torch and the tokenizer use."
    import torch, os
    print(torch.get_num_threads(), os.environ["RAYON_NUM_THREADS"])

commands.geometry = geometry
sys.exit(cli.main(["geometry", "--settings", "s", "--manifest", "m", "--run", "x",
                   "--revision", "z", "--threads", "1", "--out", "y"]))
"""


def test_threads_of_a_rule_reach_torch_and_the_tokenizer():
    environment = {**os.environ, "OMP_NUM_THREADS": "2"}
    output = subprocess.check_output([sys.executable, "-c", THREADS], text=True, env=environment)
    assert output.split() == ["1", "1"]
