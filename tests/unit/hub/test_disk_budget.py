"""The disk budget: never more on the disk than there is room for, and no room for the dead."""

import contextlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from shapesweep.errors import CheckpointError, TransientError
from shapesweep.hub import disk_budget
from shapesweep.hub.disk_budget import DiskBudget

USING = """
import sys, time
from shapesweep.hub.disk_budget import DiskBudget
with DiskBudget(sys.argv[1], 100).using(sys.argv[2], sys.argv[3]):
    print("begun", flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(disk_budget, "LOOK", 0.01)


@pytest.fixture
def impatient(monkeypatch):
    """Give up what finds no room at once."""
    monkeypatch.setattr(disk_budget, "PATIENCE", 0.05)


@pytest.fixture
def budget(tmp_path):
    return DiskBudget(tmp_path, 100)


def place(name):
    return f"s/r/{name}/0123456789ab"


def fill(budget, name, n_bytes, seconds=float("inf")):
    """Download a batch, as a job does."""
    with budget.using(place(name), "download"):
        budget.claim(place(name), n_bytes, seconds)
        folder = budget.folder / place(name)
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"x")
    return folder


def held(budget):
    """Names of the batches whose files are on the disk."""
    return {path.parent.name for path in budget.folder.glob("s/r/*/0123456789ab")}


@contextlib.contextmanager
def waiting(budget, name, n_bytes):
    """A claim in another thread, which has found no disk space yet."""
    claim = threading.Thread(target=budget.claim, args=(place(name), n_bytes), daemon=True)
    claim.start()
    time.sleep(0.2)
    assert claim.is_alive()
    yield
    claim.join(5)
    assert not claim.is_alive()


@contextlib.contextmanager
def another_job(tmp_path, name, job):
    """Another process that uses a batch; killed at the end."""
    words = [sys.executable, "-c", USING, tmp_path, place(name), job]
    other = subprocess.Popen(words, stdout=subprocess.PIPE)
    assert other.stdout.readline() == b"begun\n"
    yield other
    other.kill()
    other.wait()


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_room_is_given_to_as_many_as_fit_and_taken_back(budget):
    first, second = fill(budget, "a", 50), fill(budget, "b", 50)
    with waiting(budget, "c", 50):
        (first / "model.safetensors").unlink()
        first.rmdir()
    # One that is begun again takes the place of itself.
    budget.claim(place("b"), 50)
    assert second.is_dir()


def test_a_claim_is_held_before_anything_is_downloaded(budget, impatient):
    with budget.using(place("a"), "download"):
        budget.claim(place("a"), 60)
        with pytest.raises(TransientError):
            budget.claim(place("b"), 60)
    # Nothing was downloaded.
    budget.claim(place("b"), 60)


def test_the_claims_of_many_processes_fit_together(tmp_path):
    context = multiprocessing.get_context("fork")
    jobs = [context.Process(target=_download, args=(tmp_path, k)) for k in range(8)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(60)
    assert [job.exitcode for job in jobs] == [0] * 8


def _download(folder, number):
    budget = DiskBudget(folder, 100)
    path = fill(budget, f"{number}", 40)
    time.sleep(0.05)
    assert len(held(budget)) <= 2
    (path / "model.safetensors").unlink()
    path.rmdir()


def test_a_job_that_is_killed_holds_no_room(budget, tmp_path):
    fill(budget, "a", 60)
    with another_job(tmp_path, "a", "geometry") as job, waiting(budget, "b", 60):
        kill(job)
    assert held(budget) == set()


def test_a_download_that_is_killed_holds_no_room(budget, tmp_path):
    with another_job(tmp_path, "a", "download") as job:
        budget.claim(place("a"), 60)
        partial = budget.folder / f"s/r/a/.{place('a').rpartition('/')[2]}.x.partial"
        partial.mkdir()
        with waiting(budget, "b", 60):
            kill(job)
    assert not partial.exists()


@pytest.mark.parametrize("error", [CheckpointError("no"), KeyboardInterrupt()])
def test_a_job_that_fails_holds_no_room(budget, error):
    fill(budget, "a", 60)
    with pytest.raises(type(error)), budget.using(place("a"), "geometry"):
        raise error
    # Its files stay for as long as nobody needs the room.
    budget.claim(place("b"), 40)
    assert held(budget) == {"a"}
    budget.claim(place("c"), 60)
    assert held(budget) == set()


def test_a_job_that_ends_well_holds_its_room_for_the_next_one(budget, impatient):
    fill(budget, "a", 60)
    with budget.using(place("a"), "geometry"):
        pass
    with pytest.raises(TransientError):
        budget.claim(place("b"), 60)
    assert held(budget) == {"a"}


def test_a_job_that_is_begun_again_takes_the_place_of_the_one_that_died(budget, impatient):
    fill(budget, "a", 60)
    with pytest.raises(KeyboardInterrupt), budget.using(place("a"), "geometry"):
        raise KeyboardInterrupt
    with budget.using(place("a"), "geometry"), pytest.raises(TransientError):
        budget.claim(place("b"), 60)
    with pytest.raises(TransientError):
        budget.claim(place("b"), 60)
    assert held(budget) == {"a"}


def test_two_jobs_use_one_batch(budget, tmp_path, impatient):
    fill(budget, "a", 60)
    with another_job(tmp_path, "a", "budget") as job:
        with budget.using(place("a"), "geometry"):
            kill(job)
            # One of them lives.
            with pytest.raises(TransientError):
                budget.claim(place("b"), 60)
            assert held(budget) == {"a"}
        budget.claim(place("b"), 60)
        assert held(budget) == set()


def test_a_batch_that_no_job_works_on_any_more_makes_room_when_another_needs_it(budget, impatient):
    fill(budget, "living", 40, 3600)
    fill(budget, "over", 40, -1)
    budget.claim(place("small"), 20)
    assert held(budget) == {"living", "over"}
    fill(budget, "large", 40)
    assert held(budget) == {"living", "large"}
    with pytest.raises(TransientError):
        budget.claim(place("too much"), 40)


@pytest.mark.parametrize("text", ['{"s/r/a": 50}', "[]", "{", '{"s/r/a": ["x", "y"]}'])
def test_claims_of_an_earlier_version_end(budget, text):
    budget.folder.mkdir()
    budget.claims_file.write_text(text, encoding="utf-8")
    budget.claim(place("b"), 100)


def test_what_never_fits_and_what_waits_in_vain_is_said(tmp_path, impatient):
    budget = DiskBudget(tmp_path, 2 * 10**9)
    with pytest.raises(CheckpointError, match=r"needs 3\.0 GB, hub\.disk_gb allows 2") as caught:
        budget.claim(place("a"), 3 * 10**9)
    assert not isinstance(caught.value, TransientError)
    fill(budget, "a", 10**9)
    with pytest.raises(TransientError, match="it is held by s/r/a/0123456789ab"):
        budget.claim(place("b"), 2 * 10**9)


def test_what_an_earlier_run_has_left_is_cleared_but_not_what_is_needed(budget, tmp_path):
    for name in ("needed", "left", "broken"):
        fill(budget, name, 10)
    with pytest.raises(KeyboardInterrupt), budget.using(place("broken"), "geometry"):
        raise KeyboardInterrupt
    (tmp_path / "checkpoints/embedded/decoder/checkpoint-1").mkdir(parents=True)
    # Before all suites are listed, what is left over is not known.
    budget.clear(None)
    assert held(budget) == {"needed", "left"}
    budget.clear([place("needed"), place("broken")])
    assert held(budget) == {"needed"}
    assert (tmp_path / "checkpoints/embedded/decoder/checkpoint-1").is_dir()
    budget.claim(place("new"), 90)


def test_what_another_job_uses_is_not_cleared_as_dead(budget, tmp_path):
    fill(budget, "a", 10)
    with another_job(tmp_path, "a", "geometry"):
        budget.clear(None)
        assert held(budget) == {"a"}


@pytest.mark.parametrize("place", ["{outside}", "../outside", "s/r/../../../outside", "s/r/a"])
def test_a_claim_on_a_folder_elsewhere_removes_nothing(tmp_path, place):
    outside = tmp_path / "outside"
    outside.mkdir()
    disk = DiskBudget(tmp_path / "results", 100)
    disk.claims_file.parent.mkdir(parents=True)
    claims = {place.format(outside=outside): [50, 0.0]}
    disk.claims_file.write_text(json.dumps(claims), encoding="utf-8")
    disk.clear([])
    disk.claim("s/r/a/0123456789ab", 100)
    assert outside.is_dir()
