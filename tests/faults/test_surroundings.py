"""Odd surroundings: a full disk, one that is read only, no GPU, clocks, locales."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers import requirements
from helpers.workflow import command, settings, sweep, write


def verb(folder, *words, **more):
    """Run `shapesweep`; its output, and how it ended."""
    script = Path(sys.executable).with_name("shapesweep")
    return subprocess.run(
        [str(script), *map(str, words)],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        env=command(folder)["env"],
        **more,
    )


def extract(folder, out, **more):
    """Run the command that writes shards, for one checkpoint of a manifest."""
    assert sweep(folder, "results/manifests/tiny.parquet").returncode == 0
    words = ["activations", "--settings", "sweep.yaml", "--run", "decoder"]
    words += ["--manifest", "results/manifests/tiny.parquet"]
    return verb(folder, *words, "--revision", "checkpoint-10", "--threads", 1, "--out", out, **more)


def one_line(done):
    """What was said of an expected failure: a line, and no traceback."""
    said = [line for line in done.stderr.splitlines() if not line.startswith("extracting: ")]
    assert done.returncode == 2, done.stderr
    assert len(said) == 1, done.stderr
    assert said[0].startswith("shapesweep: error: ")
    return said[0]


@pytest.fixture
def small_disk(tmp_path):
    """A disk of sixty-four kilobytes."""
    requirements.mounting()
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], check=True)
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def test_a_disk_that_fills_up_with_shards_is_said_and_left_clean(workspace, small_disk):
    said = one_line(extract(workspace, small_disk / "shards"))
    assert "No space left on device" in said
    assert str(small_disk) in said
    assert not list(small_disk.rglob("*.parquet"))


def test_a_sweep_on_a_disk_that_fills_up_goes_on_when_there_is_room(workspace, small_disk):
    (workspace / "results").symlink_to(small_disk)
    subprocess.run(["mount", "-o", "remount,size=400k", small_disk], check=True)
    done = sweep(workspace, "numbers")
    assert done.returncode != 0
    assert "No space left on device" in done.stdout
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    done = sweep(workspace, "numbers")
    assert done.returncode == 0, done.stdout


def test_results_that_may_not_be_written_are_said_in_a_line(workspace, small_disk):
    (workspace / "results").symlink_to(small_disk)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    done = sweep(workspace, "numbers")
    assert done.returncode != 0
    assert "Traceback" not in done.stdout
    assert "Read-only file system" in done.stdout


def test_a_gpu_that_is_not_there_is_said_in_a_line(workspace, text_file):
    paths = {"decoder": "runs/decoder"}
    suites = {"tiny": {"source": "local", "runs": paths}}
    write(workspace, {**settings(text_file, suites=suites), "device": "cuda"})
    hidden = {**command(workspace)["env"], "CUDA_VISIBLE_DEVICES": ""}
    assert sweep(workspace, "results/manifests/tiny.parquet").returncode == 0
    words = ["activations", "--settings", "sweep.yaml", "--run", "decoder"]
    words += ["--manifest", "results/manifests/tiny.parquet"]
    words += ["--revision", "checkpoint-10", "--out", "shards"]
    script = Path(sys.executable).with_name("shapesweep")
    done = subprocess.run(
        [str(script), *words],
        cwd=workspace,
        capture_output=True,
        text=True,
        env=hidden,
        check=False,
    )
    assert "cuda is asked for" in one_line(done)


def test_no_locale_changes_a_number(workspace, tmp_path):
    # Where nothing but ASCII can be written, not even Snakemake can name a folder with an umlaut.
    strict = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    odd = {workspace: {"LC_ALL": "C"}, tmp_path / "strict": strict, tmp_path / "plain": {}}
    made = []
    for folder, locale in odd.items():
        if folder != workspace:
            shutil.copytree(workspace / "runs", folder / "runs")
            shutil.copyfile(workspace / "sweep.yaml", folder / "sweep.yaml")
        # An interpreter reads the locale when it starts.
        words = command(folder, "results/geometry.parquet", cold=bool(locale))
        if locale:
            words["env"] = {**words["env"], **locale, "LANG": "C", "TZ": "Asia/Kathmandu"}
        subprocess.run(**words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        made.append(
            [
                (folder / f"results/{name}.parquet").read_bytes()
                for name in ("geometry", "replicates", "losses")
            ]
        )
    assert made[0] == made[1] == made[2]


@pytest.mark.parametrize("years", [-30, 30])
def test_a_clock_that_is_wrong_makes_nothing_new(workspace, years):
    """Checkpoints from the past or the future are measured once, and only changes again."""
    moment = time.time() + years * 365 * 86400
    for path in (workspace / "runs").rglob("*"):
        os.utime(path, (moment, moment))
    done = sweep(workspace, "numbers")
    assert done.returncode == 0, done.stdout
    assert "Nothing to be done" in sweep(workspace, "numbers").stdout
