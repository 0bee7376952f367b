"""Downloads never exceed the disk budget, and terminated processes hold no disk space."""

import contextlib
import json
import multiprocessing
import shutil
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
    """Let a claim fail at once if there is no disk space for it."""
    monkeypatch.setattr(disk_budget, "PATIENCE", 0.05)


@pytest.fixture
def budget(tmp_path):
    return DiskBudget(tmp_path, 100)


def refuse(budget, name, n_bytes):
    """Check that a claim fails because there is no disk space for the batch."""
    with pytest.raises(TransientError):
        budget.claim(batch_folder(name), n_bytes)


def batch_folder(name):
    return f"s/r/{name}/0123456789ab"


def fill(budget, name, n_bytes, seconds=float("inf")):
    """Download a batch, as a job does."""
    with budget.using(batch_folder(name), "download"):
        budget.claim(batch_folder(name), n_bytes, seconds)
        folder = budget.folder / batch_folder(name)
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"x")
    return folder


def held(budget):
    """Return the names of the batches whose files are on the disk."""
    return {path.parent.name for path in budget.folder.glob("s/r/*/0123456789ab")}


@contextlib.contextmanager
def waiting(budget, name, n_bytes):
    """Claim disk space in another thread. The thread waits because there is no free space yet."""
    claim = threading.Thread(target=budget.claim, args=(batch_folder(name), n_bytes), daemon=True)
    claim.start()
    time.sleep(0.2)
    assert claim.is_alive()
    yield
    claim.join(5)
    assert not claim.is_alive()


@contextlib.contextmanager
def another_job(tmp_path, name, job):
    """Start another process that uses a batch, and kill the process at the end."""
    arguments = [sys.executable, "-c", USING, tmp_path, batch_folder(name), job]
    other = subprocess.Popen(arguments, stdout=subprocess.PIPE)
    assert other.stdout.readline() == b"begun\n"
    yield other
    kill(other)


def kill(process):
    process.kill()
    process.wait()


def test_space_is_granted_while_it_fits_and_freed_after_use(budget):
    first, second = fill(budget, "a", 50), fill(budget, "b", 50)
    with waiting(budget, "c", 50):
        shutil.rmtree(first)
    # If a batch is downloaded again, the new claim replaces the previous claim of the batch.
    budget.claim(batch_folder("b"), 50)
    assert second.is_dir()


def test_claim_is_held_before_the_download_starts(budget, impatient):
    with budget.using(batch_folder("a"), "download"):
        budget.claim(batch_folder("a"), 60)
        refuse(budget, "b", 60)
    # The first job has ended without a download, so the space that it claimed is free again.
    budget.claim(batch_folder("b"), 60)


def test_claims_of_many_processes_never_exceed_the_budget(tmp_path):
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
    shutil.rmtree(path)


def test_killed_job_holds_no_space(budget, tmp_path):
    fill(budget, "a", 60)
    with another_job(tmp_path, "a", "geometry") as job, waiting(budget, "b", 60):
        kill(job)
    assert held(budget) == set()


def test_killed_download_holds_no_space(budget, tmp_path):
    with another_job(tmp_path, "a", "download") as job:
        budget.claim(batch_folder("a"), 60)
        partial = budget.folder / "s/r/a/.0123456789ab.x.partial"
        partial.mkdir()
        with waiting(budget, "b", 60):
            kill(job)
    assert not partial.exists()


@pytest.mark.parametrize("error", [CheckpointError("no"), KeyboardInterrupt()])
def test_failed_job_holds_no_space(budget, error):
    fill(budget, "a", 60)
    with pytest.raises(type(error)), budget.using(batch_folder("a"), "geometry"):
        raise error
    # The files stay on the disk until another batch needs the space.
    budget.claim(batch_folder("b"), 40)
    assert held(budget) == {"a"}
    budget.claim(batch_folder("c"), 60)
    assert held(budget) == set()


def test_successful_job_keeps_its_space_for_the_next_job(budget, impatient):
    fill(budget, "a", 60)
    with budget.using(batch_folder("a"), "geometry"):
        pass
    refuse(budget, "b", 60)
    assert held(budget) == {"a"}


def test_restarted_job_replaces_the_failed_job(budget, impatient):
    fill(budget, "a", 60)
    with pytest.raises(KeyboardInterrupt), budget.using(batch_folder("a"), "geometry"):
        raise KeyboardInterrupt
    with budget.using(batch_folder("a"), "geometry"):
        refuse(budget, "b", 60)
    refuse(budget, "b", 60)
    assert held(budget) == {"a"}


def test_batch_is_kept_while_one_of_two_jobs_uses_it(budget, tmp_path, impatient):
    fill(budget, "a", 60)
    with another_job(tmp_path, "a", "budget") as job:
        with budget.using(batch_folder("a"), "geometry"):
            kill(job)
            # This process still uses batch a.
            refuse(budget, "b", 60)
            assert held(budget) == {"a"}
        budget.claim(batch_folder("b"), 60)
        assert held(budget) == set()


def test_expired_batch_is_removed_when_another_needs_the_space(budget, impatient):
    fill(budget, "living", 40, 3600)
    fill(budget, "over", 40, -1)
    budget.claim(batch_folder("small"), 20)
    assert held(budget) == {"living", "over"}
    fill(budget, "large", 40)
    assert held(budget) == {"living", "large"}
    refuse(budget, "too much", 40)


@pytest.mark.parametrize("text", ['{"s/r/a": 50}', "[]", "{", '{"s/r/a": ["x", "y"]}'])
def test_claims_of_earlier_versions_are_ignored(budget, text):
    budget.folder.mkdir()
    budget.claims_file.write_text(text, encoding="utf-8")
    budget.claim(batch_folder("b"), 100)


def test_errors_for_claims_that_never_fit_and_claims_that_time_out(tmp_path, impatient):
    budget = DiskBudget(tmp_path, 2 * 10**9)
    with pytest.raises(
        CheckpointError, match=r"needs 3\.0 GB, but hub\.disk_gb allows 2 GB"
    ) as caught:
        budget.claim(batch_folder("a"), 3 * 10**9)
    assert not isinstance(caught.value, TransientError)
    fill(budget, "a", 10**9)
    with pytest.raises(TransientError, match="the space is held by s/r/a/0123456789ab"):
        budget.claim(batch_folder("b"), 2 * 10**9)


def test_leftovers_are_removed_and_needed_batches_are_kept(budget, tmp_path):
    for name in ("needed", "left", "broken"):
        fill(budget, name, 10)
    with pytest.raises(KeyboardInterrupt), budget.using(batch_folder("broken"), "geometry"):
        raise KeyboardInterrupt
    (tmp_path / "checkpoints/embedded/decoder/checkpoint-1").mkdir(parents=True)
    # Until all suites are listed, `clear` cannot know which files are no longer needed.
    budget.clear(None)
    assert held(budget) == {"needed", "left"}
    budget.clear([batch_folder("needed"), batch_folder("broken")])
    assert held(budget) == {"needed"}
    assert (tmp_path / "checkpoints/embedded/decoder/checkpoint-1").is_dir()
    budget.claim(batch_folder("new"), 90)


def test_batch_of_a_running_job_is_not_removed(budget, tmp_path):
    fill(budget, "a", 10)
    with another_job(tmp_path, "a", "geometry"):
        budget.clear(None)
        assert held(budget) == {"a"}


@pytest.mark.parametrize("path", ["{outside}", "../outside", "s/r/../../../outside", "s/r/a"])
def test_claim_on_a_folder_outside_removes_nothing(tmp_path, path):
    outside = tmp_path / "outside"
    outside.mkdir()
    disk = DiskBudget(tmp_path / "results", 100)
    disk.claims_file.parent.mkdir(parents=True)
    claims = {path.format(outside=outside): [50, 0.0]}
    disk.claims_file.write_text(json.dumps(claims), encoding="utf-8")
    disk.clear([])
    disk.claim("s/r/a/0123456789ab", 100)
    assert outside.is_dir()
