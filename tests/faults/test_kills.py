"""A killed sweep continues in the next run, and writes the same tables as a sweep without kills.

By default, three sweeps are killed at random times. `make faults` kills fifty sweeps and writes the
results to docs/reference/faults.md.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from helpers.workflow import TINY, command, complete, refused, settings, sweep, write

#: The number of sweeps that are killed at random times. The index of a sweep is its random seed.
N_KILLS = int(os.environ.get("SHAPESWEEP_KILLS", "3"))
#: The maximum time in seconds that a worker continues after the end of the sweep. A worker needs
#: about ten seconds on an idle machine.
MAX_WAIT = 300
#: The path of the file to which each sweep appends a line of JSON, or None.
FOUND = os.environ.get("SHAPESWEEP_FAULTS")
TABLES = ("geometry", "replicates", "losses", "budgets", "origins", "failures")
CURVES = ("profiles", "trajectories", "phases", "shapes", "distances")


@pytest.fixture(scope="module")
def small(runs, text_file):
    """A function that prepares a sweep of two runs in a folder, in batches of three checkpoints."""

    def write_sweep(folder):
        shutil.copytree(runs, folder / "runs")
        write(folder, settings(text_file, suites=TINY, checkpoints_per_job=3))
        return folder

    return write_sweep


@pytest.fixture(scope="module")
def undisturbed(small, tmp_path_factory):
    """The tables of a sweep that is not killed, and the duration of this sweep in seconds."""
    folder = small(tmp_path_factory.mktemp("undisturbed") / "sweep")
    start = time.monotonic()
    complete(folder, "numbers", cold=True)
    return final_tables(folder), time.monotonic() - start


def start_sweep(folder, **more):
    """Start a sweep, and return its process."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(**command(folder, "numbers", cold=True), **quiet, **more)


def final_tables(folder):
    """Return the contents of the final tables, by path."""
    paths = [f"{name}.parquet" for name in TABLES] + [f"curves/{name}.parquet" for name in CURVES]
    return {path: (folder / "results" / path).read_bytes() for path in paths}


def workers(session):
    """Return the PIDs of the jobs of a session."""
    pids = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            if os.getsid(int(path.name)) == session and any(
                word.endswith(b"/shapesweep") for word in words
            ):
                pids.append(int(path.name))
        except (OSError, ProcessLookupError):
            pass
    return sorted(pids)


def wait_for_workers(session):
    """Wait until all jobs of a session have ended."""
    end = time.monotonic() + MAX_WAIT
    while workers(session):
        assert time.monotonic() < end, "a worker does not end"
        time.sleep(0.1)


def kill(process, victim, rng):
    """Kill one worker, kill Snakemake but no worker, or kill all processes at once."""
    if process.poll() is not None:
        return  # The sweep ended before it could be killed.
    if victim == "all":
        os.killpg(process.pid, signal.SIGKILL)
    elif victim == "snakemake":
        process.kill()
    else:
        pids = workers(process.pid)
        if pids:
            os.kill(rng.choice(pids), signal.SIGKILL)
    process.wait()


def finished(folder):
    """Return the folder of each measured checkpoint, with the modification times of its tables."""
    tables = (folder / "results/measured").glob("*/*/[!.]*/geometry.parquet")
    return {str(path.parent): path.stat().st_mtime_ns for path in tables}


@pytest.mark.parametrize("number", range(N_KILLS))
def test_a_killed_sweep_continues_to_the_same_tables(number, undisturbed, small, tmp_path):
    expected, seconds = undisturbed
    rng = random.Random(number)
    victim = ("worker", "snakemake", "all")[number % 3]
    moment = rng.uniform(0.05, 0.95) * seconds
    folder = small(tmp_path / "sweep")
    process = start_sweep(folder, start_new_session=True)
    try:
        time.sleep(moment)
        kill(process, victim, rng)
        before = finished(folder)
        start = time.monotonic()
        # A killed Snakemake leaves a lock. The next run of Snakemake asks the user to remove this
        # lock.
        sweep(folder, "--unlock")
        done = sweep(folder, "numbers")
        again = time.monotonic() - start
        # A worker whose Snakemake was killed continues, and removes its temporary files at the end.
        wait_for_workers(process.pid)
    finally:
        # Kill the workers that are still running after an error.
        if workers(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
    assert done.returncode == 0, done.stdout
    assert final_tables(folder) == expected
    after = finished(folder)
    assert {path: after[path] for path in before} == before, "measured again"
    assert not list((folder / "results").rglob(".*.partial")), "left behind"
    if FOUND:
        line = {"victim": victim, "moment": moment, "seconds": seconds, "again": again}
        with Path(FOUND).open("a", encoding="utf-8") as file:
            file.write(json.dumps({**line, "kept": len(before)}) + "\n")


def test_a_second_snakemake_on_the_same_folder_is_refused_and_harms_nothing(
    undisturbed, small, tmp_path
):
    expected, _ = undisturbed
    folder = small(tmp_path / "sweep")
    first = start_sweep(folder)
    while first.poll() is None and not (folder / "results/logs").is_dir():
        time.sleep(0.05)
    assert "cannot be locked" in refused(folder, "numbers")
    assert first.wait() == 0
    assert final_tables(folder) == expected
