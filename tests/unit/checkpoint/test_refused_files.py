"""Files that cannot be read, or that do not contain weights, are refused with a reason."""

import json
import os

import pytest
import torch
from safetensors.torch import load_file, save_file

from shapesweep.checkpoint import facts, files
from shapesweep.checkpoint.load import load
from shapesweep.errors import CheckpointError


@pytest.fixture
def folder(tmp_path, make_checkpoint):
    make_checkpoint(tmp_path / "m")
    return tmp_path / "m"


def change_weights(folder, change):
    path = folder / "model.safetensors"
    save_file({k: change(v) for k, v in load_file(path).items()}, path, metadata={"format": "pt"})


@pytest.mark.filterwarnings("ignore:Casting complex values")
@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.bool, torch.complex64])
def test_weights_that_are_not_floats_are_refused(folder, dtype, suffix):
    change_weights(folder, lambda weights: weights.to(dtype))
    if suffix == "bin":
        torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
        (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"weights are not floats: lm_head\.weight"):
        load(folder)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_read(folder, dtype):
    change_weights(folder, lambda weights: weights.to(dtype))
    assert {weights.dtype for weights in load(folder).parameters()} == {torch.float32}


def test_folder_that_cannot_be_read_has_a_status(folder, monkeypatch):
    # Root may read all folders, so the answers of the system are replaced.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert files.inspect(folder).status == ("unreadable:.",)

    def stat(self, **_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(folder), "stat", stat)
    assert files.model_files(folder) == []
    assert not files.is_adapter(folder)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_broken_link_is_a_missing_file(folder, name):
    (folder / "model.safetensors").unlink()
    (folder / name).symlink_to(folder / "removed")
    assert files.inspect(folder).status == (f"missing_weights:{name}",)


@pytest.mark.parametrize("levels", [*range(90, 130, 5), *range(900, 1010, 10), 20_000])
def test_config_with_many_levels_is_damaged(folder, levels):
    text = '{"a":' * levels + "1" + "}" * levels
    (folder / "config.json").write_text(text, encoding="utf-8")
    damaged = levels > facts.MAX_DEPTH
    assert ("damaged:config.json" in files.inspect(folder).status) == damaged


def test_name_of_a_class_that_is_no_text_can_be_stored(folder):
    config = json.loads((folder / "config.json").read_bytes()) | {"architectures": ["A\ud800"]}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    facts.architecture(files.inspect(folder).config).encode("utf-8")
    with pytest.raises(CheckpointError, match="names no architecture"):
        load(folder)
