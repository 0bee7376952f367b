"""A job finds the manifest rows of its checkpoints, and the files of the checkpoints on disk."""

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


def test_local_checkpoint_has_its_files_and_tokenizer_in_its_folder(manifest, settings):
    first, second = member.members(manifest, "r", ["step1", "step2"], settings)
    assert (first.checkpoint.run, first.checkpoint.step) == ("r", 1)
    assert first.folder == first.tokenizer == Path("/runs/r/step1")
    assert second.folder == second.tokenizer == Path("/runs/r/step2")
    assert first.kept_folder is None
    assert not first.is_measured


def test_several_downloads_have_separate_folders(manifest, settings):
    more = {"downloads": "d", "tokenizer": "t", "measured": "m"}
    (item,) = member.members(manifest, "r", ["step1"], settings, **more)
    assert (item.folder, item.tokenizer) == (Path("d"), Path("t"))
    assert item.kept_folder == Path("m/step1")
    found = member.members(manifest, "r", ["step1", "step2"], settings, **more)
    assert [item.folder for item in found] == [Path("d/step1"), Path("d/step2")]
    assert [item.kept_folder for item in found] == [Path("m/step1"), Path("m/step2")]


def test_checkpoint_absent_from_the_manifest_no_longer_exists(manifest, settings):
    first, gone = member.members(manifest, "r", ["step1", "step9"], settings)
    assert first.checkpoint.selected
    assert gone.checkpoint.key == ("s", "r", "step9")
    assert not gone.checkpoint.selected
    assert gone.checkpoint.status == ("no longer exists",)
    assert not gone.is_measured


def test_error_names_an_absent_manifest(tmp_path, settings):
    with pytest.raises(ShapesweepError, match=r"s\.parquet: no such file"):
        member.members(tmp_path / "s.parquet", "r", ["step1"], settings)
