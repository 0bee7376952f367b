"""Measure a cloud that is too large for a matrix of all distances, and record time and memory."""

import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.lib.format import open_memmap

N, D = 100_000, 1024


def test_a_large_cloud(benchmark, timed, tmp_path):
    path = tmp_path / "large.npy"
    rng = np.random.default_rng(0)
    array = open_memmap(path, "w+", np.float32, (N, D))
    scale = np.arange(1, D + 1) ** -0.5
    for start in range(0, N, 10_000):
        array[start : start + 10_000] = rng.standard_normal((10_000, D)) * scale
    array.flush()
    command = [Path(sys.executable).with_name("shapesweep"), "measure", "--json", path]

    def measure():
        return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)

    what = f"all metrics of a cloud, {N}x{D} (the whole command)"
    # There is only one round, because a round takes minutes.
    numbers = timed(measure, who="shapesweep", what=what, rounds=1, warmup=0)
    assert numbers["n_points"] == N
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    benchmark.extra_info.update(peak_memory=peak, cloud=N * D * 4, all_distances=N * N * 8)
