"""Sweeps on a full or read-only disk, without a GPU, with wrong clocks, and in unusual locales."""

import os
import shutil
import subprocess
import time

import pytest

from helpers import requirements
from helpers.workflow import SCRIPTS, command, complete, configure, refused, sweep


def refusal(folder, out):
    """Run the command that writes the shards of a checkpoint, and return the error message.

    The message must be a single line.
    """
    manifest = "results/manifests/tiny.parquet"
    complete(folder, manifest)
    words = ["activations", "--settings", "sweep.yaml", "--run", "decoder", "--manifest", manifest]
    words += ["--revision", "checkpoint-10", "--threads", "1", "--out", out]
    done = subprocess.run(
        [SCRIPTS / "shapesweep", *words], cwd=folder, check=False, capture_output=True, text=True
    )
    lines = [line for line in done.stderr.splitlines() if not line.startswith("extracting: ")]
    assert done.returncode == 2, done.stderr
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("shapesweep: error: ")
    return lines[0]


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 64 kilobytes."""
    requirements.mounting()
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], check=True)
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_full_disk_is_reported_and_no_shards_are_left(workspace, small_disk):
    message = refusal(workspace, small_disk / "shards")
    assert "No space left on device" in message
    assert str(small_disk) in message
    assert not list(small_disk.rglob("*.parquet"))


def test_a_sweep_on_a_full_disk_continues_when_there_is_space(workspace, small_disk):
    (workspace / "results").symlink_to(small_disk)
    subprocess.run(["mount", "-o", "remount,size=400k", small_disk], check=True)
    done = sweep(workspace, "numbers")
    assert done.returncode != 0
    assert "No space left on device" in done.stdout
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    complete(workspace, "numbers")


def test_a_read_only_results_folder_is_reported(workspace, small_disk):
    (workspace / "results").symlink_to(small_disk)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    assert "Read-only file system" in refused(workspace, "numbers")


def test_a_missing_gpu_is_reported_in_one_line(workspace, monkeypatch):
    configure(workspace, {"device": "cuda"})
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "cuda is required" in refusal(workspace, "shards")


def test_numbers_do_not_depend_on_the_locale(workspace, tmp_path):
    # In a strict ASCII locale, Snakemake cannot use a folder with an umlaut in its name.
    strict = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    locales = {workspace: {"LC_ALL": "C"}, tmp_path / "strict": strict, tmp_path / "plain": {}}
    tables = []
    for folder, locale in locales.items():
        if folder != workspace:
            shutil.copytree(workspace / "runs", folder / "runs")
            shutil.copyfile(workspace / "sweep.yaml", folder / "sweep.yaml")
        # Python reads the locale when it starts, so a changed locale needs a new process.
        words = command(folder, "results/geometry.parquet", cold=bool(locale))
        if locale:
            words["env"] = {**words["env"], **locale, "LANG": "C", "TZ": "Asia/Kathmandu"}
        done = subprocess.run(**words, check=False, capture_output=True)
        assert done.returncode == 0, done.stdout + done.stderr
        names = ("geometry", "replicates", "losses")
        tables.append([(folder / f"results/{name}.parquet").read_bytes() for name in names])
    assert tables[0] == tables[1] == tables[2]


@pytest.mark.parametrize("years", [-30, 30])
def test_files_dated_in_the_past_or_future_are_measured_once(workspace, years):
    moment = time.time() + years * 365 * 86400
    for path in (workspace / "runs").rglob("*"):
        os.utime(path, (moment, moment))
    complete(workspace, "numbers")
    assert "Nothing to be done" in sweep(workspace, "numbers").stdout
