"""Fixtures of the benchmarks: the clouds, the timer, and a description of the machine."""

import functools
import os
import platform

import faiss
import numpy as np
import pytest
import threadpoolctl
import torch

#: Shapes of the hidden states of a layer, for about 10,000 tokens, in a small and a large model.
SHAPES = {"10000x768": (10_000, 768), "8192x2560": (8192, 2560)}
SETTING = os.environ.get("OPENBLAS_CORETYPE", "own")


def gaussian(n, d):
    """Return a cloud with nearly equal distances, which are the worst case of a search."""
    return np.random.default_rng(0).standard_normal((n, d)).astype(np.float32)


def states(n, d):
    """Return a cloud like hidden states, in which each document is a random walk with an offset.

    The variance decreases from the first to the last axis.
    """
    rng = np.random.default_rng(0)
    scale = np.arange(1, d + 1) ** -0.5
    walk = rng.standard_normal((n // 16, 16, d)).cumsum(axis=1) * 0.2
    points = walk + rng.standard_normal((n // 16, 1, d))
    return ((points * scale).reshape(-1, d) + 3 * scale).astype(np.float32)


CLOUDS = {"gaussian": gaussian, "states": states}


@functools.cache
def cloud(shape, kind="gaussian"):
    """Return a cloud of a named shape."""
    return CLOUDS[kind](*SHAPES[shape])


@pytest.fixture
def timed(benchmark):
    """Return a function that runs another function once to warm up, and then times it."""

    def call(function, *arguments, who, what, rounds=5, warmup=1):
        benchmark.extra_info.update(who=who, what=what, setting=SETTING)
        return benchmark.pedantic(function, arguments, rounds=rounds, warmup_rounds=warmup)

    return call


def pytest_benchmark_update_machine_info(config, machine_info):
    pools = threadpoolctl.threadpool_info()
    machine_info.clear()
    machine_info.update(
        cpu=cpu_name(),
        cores=os.cpu_count(),
        python=platform.python_version(),
        blas=sorted({kernel(pool) for pool in pools if pool["user_api"] == "blas"}),
        numpy=np.__version__,
        torch=torch.__version__,
        faiss=faiss.__version__,
    )


def kernel(pool):
    """Return the name and version of a BLAS library, and the architecture of its kernels."""
    return f"{pool['prefix']} {pool.get('version')} {pool.get('architecture', '')}".strip()


def cpu_name():
    """Return the name of the processor, with the features that speed up matrix products."""
    cpu = torch.cpu.get_capabilities()
    names = [name for name in ("avx2", "avx512_f", "avx512_bf16", "amx_bf16") if cpu.get(name)]
    return f"{cpu.get('cpu_name', platform.processor())} ({', '.join(names)})"
