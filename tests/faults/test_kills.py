"""Whatever is killed, whenever: the next run goes on, and its tables are the same to the last bit.

A short form runs always; `make faults` kills at fifty moments and writes down what it found
(docs/reference/faults.md).
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

from helpers.workflow import command, settings, sweep, write

#: How many sweeps are killed, the moments and victims drawn from a seed.
N_KILLS = int(os.environ.get("SHAPESWEEP_KILLS", "3"))
#: Where a line of JSON for each is added, if anywhere.
FOUND = os.environ.get("SHAPESWEEP_FAULTS")
TABLES = ("geometry", "replicates", "losses", "budgets", "origins", "failures")
CURVES = ("profiles", "trajectories", "phases", "shapes", "distances")


@pytest.fixture(scope="module")
def small(runs, text_file):
    """A function that lays a sweep of two runs into a folder, three checkpoints a batch."""

    def lay(folder):
        shutil.copytree(runs, folder / "runs")
        paths = {run: f"runs/{run}" for run in ("decoder", "encoder")}
        suites = {"tiny": {"source": "local", "runs": paths}}
        write(folder, settings(text_file, suites=suites, checkpoints_per_job=3))
        return folder

    return lay


@pytest.fixture(scope="module")
def undisturbed(small, tmp_path_factory):
    """What a sweep that nobody kills has made, and the seconds that it takes."""
    folder = small(tmp_path_factory.mktemp("undisturbed") / "sweep")
    start = time.monotonic()
    done = sweep(folder, "numbers", cold=True)
    assert done.returncode == 0, done.stdout
    return made(folder), time.monotonic() - start


def made(folder):
    """The final tables, byte for byte."""
    paths = [f"{name}.parquet" for name in TABLES] + [f"curves/{name}.parquet" for name in CURVES]
    return {path: (folder / "results" / path).read_bytes() for path in paths}


def workers(session):
    """Processes of a session that compute."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            if os.getsid(int(path.name)) == session and any(
                word.endswith(b"/shapesweep") for word in words
            ):
                found.append(int(path.name))
        except (OSError, ProcessLookupError):
            pass
    return sorted(found)


def kill(process, victim, rng):
    """Kill a worker, Snakemake alone (its workers live on), or all at once."""
    if process.poll() is not None:
        return  # It was faster than the one that nobody disturbed.
    if victim == "all":
        os.killpg(process.pid, signal.SIGKILL)
    elif victim == "snakemake":
        process.kill()
    else:
        found = workers(process.pid)
        if found:
            os.kill(rng.choice(found), signal.SIGKILL)
    process.wait()


def finished(folder):
    """Checkpoints that are measured, and when."""
    tables = (folder / "results/measured").glob("*/*/[!.]*/geometry.parquet")
    return {str(path.parent): path.stat().st_mtime_ns for path in tables}


@pytest.mark.parametrize("number", range(N_KILLS))
def test_what_is_killed_goes_on_to_the_same_tables(number, undisturbed, small, tmp_path):
    expected, seconds = undisturbed
    rng = random.Random(number)
    victim = ("worker", "snakemake", "all")[number % 3]
    moment = rng.uniform(0.05, 0.95) * seconds
    folder = small(tmp_path / "sweep")
    process = subprocess.Popen(
        **command(folder, "numbers", cold=True),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        time.sleep(moment)
        kill(process, victim, rng)
        before = finished(folder)
        start = time.monotonic()
        # What Snakemake itself asks for where it was killed.
        sweep(folder, "--unlock")
        done = sweep(folder, "numbers")
        again = time.monotonic() - start
    finally:
        # Those that were left behind.
        if workers(process.pid):
            os.killpg(process.pid, signal.SIGKILL)
    assert done.returncode == 0, done.stdout
    assert made(folder) == expected
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
    first = subprocess.Popen(
        **command(folder, "numbers", cold=True),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while first.poll() is None and not (folder / "results/logs").is_dir():
        time.sleep(0.05)
    second = sweep(folder, "numbers")
    assert second.returncode != 0
    assert "cannot be locked" in second.stdout
    assert "Traceback" not in second.stdout
    assert first.wait() == 0
    assert made(folder) == expected
