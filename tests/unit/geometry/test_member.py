"""The checkpoints of a job: what the manifest has of them, and where their files are."""

from pathlib import Path

import pytest

from shapesweep.errors import ShapesweepError
from shapesweep.geometry import member
from shapesweep.storage import manifests
from shapesweep.storage.manifests import Checkpoint


@pytest.fixture
def manifest(tmp_path):
    path = tmp_path / "s.parquet"
    rows = [
        Checkpoint("s", run, f"step{n}", step=n, folder=f"/runs/{run}/step{n}")
        for run in ("r", "q")
        for n in (1, 2)
    ]
    manifests.write(rows, path)
    return path


@pytest.fixture
def settings(settings):
    return settings.measurement("s")


def test_a_local_checkpoint_brings_its_files_and_its_tokenizer(manifest, settings):
    first, second = member.members(manifest, "r", ["step1", "step2"], settings)
    assert (first.checkpoint.run, first.checkpoint.step) == ("r", 1)
    assert first.folder == first.tokenizer == Path("/runs/r/step1")
    assert second.folder == second.tokenizer == Path("/runs/r/step2")
    assert first.place is None
    assert not first.is_measured


def test_of_several_downloads_each_has_a_folder(manifest, settings):
    more = {"downloads": "d", "tokenizer": "t", "measured": "m"}
    (one,) = member.members(manifest, "r", ["step1"], settings, **more)
    assert (one.folder, one.tokenizer, one.place) == (Path("d"), Path("t"), Path("m/step1"))
    found = member.members(manifest, "r", ["step1", "step2"], settings, **more)
    assert [one.folder for one in found] == [Path("d/step1"), Path("d/step2")]
    assert [one.place for one in found] == [Path("m/step1"), Path("m/step2")]


def test_a_checkpoint_that_the_manifest_does_not_have_is_no_longer_there(manifest, settings):
    first, gone = member.members(manifest, "r", ["step1", "step9"], settings)
    assert first.checkpoint.selected
    assert gone.checkpoint.key == ("s", "r", "step9")
    assert not gone.checkpoint.selected
    assert gone.checkpoint.status == ("no longer exists",)
    assert not gone.is_measured


def test_an_absent_manifest_is_named(tmp_path, settings):
    with pytest.raises(ShapesweepError, match=r"s\.parquet: no such file"):
        member.members(tmp_path / "s.parquet", "r", ["step1"], settings)
