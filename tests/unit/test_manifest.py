"""The manifest: what lies in folders, found and chosen."""

import pytest

from shapesweep import config, contracts, manifest, tables
from shapesweep.errors import ShapesweepError


def local(path, **more):
    suite = {"source": "local", "runs": {"run": str(path)}, **more}
    return config.validate({"suites": {"s": suite}}).suites["s"]


def listed(path, **more):
    return manifest.list_checkpoints("s", local(path, **more), "results")


@pytest.fixture
def run_folder(tmp_path):
    for step in (0, 1, 2, 4, 8, 16, 32, 1000):
        (tmp_path / f"checkpoint-{step}").mkdir()
    (tmp_path / "checkpoint-best").mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "checkpoint-7").write_text("a file", encoding="utf-8")
    return tmp_path


def test_a_trainers_folder_is_listed_by_step(run_folder):
    assert [one.step for one in listed(run_folder)] == [0, 1, 2, 4, 8, 16, 32, 1000]


def test_another_pattern_yields_the_step(tmp_path):
    (tmp_path / "step00012-tokens3B").mkdir()
    (found,) = listed(tmp_path, pattern=r"step0*(?P<step>\d+)-tokens.*")
    assert (found.revision, found.step) == ("step00012-tokens3B", 12)


def test_a_folder_that_is_a_checkpoint_is_one(tmp_path):
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    (found,) = listed(tmp_path)
    assert (found.revision, found.step, found.folder) == ("main", None, tmp_path)


def test_absent_and_empty_folders_are_named(tmp_path):
    with pytest.raises(ShapesweepError, match="run run: path: there is no folder"):
        listed(tmp_path / "absent")
    with pytest.raises(ShapesweepError, match=r"no folder in .* is named like checkpoint-"):
        listed(tmp_path)
    (tmp_path / "checkpoint-x").mkdir()
    with pytest.raises(ShapesweepError, match="group step gives 'x'"):
        listed(tmp_path, pattern=r"checkpoint-(?P<step>.*)")


@pytest.mark.parametrize(
    ("rule", "steps"),
    [
        ("all", [0, 1, 2, 4, 8, 16, 32, 1000]),
        ({"every": 3}, [0, 4, 32]),
        ({"steps": [4, 1000, 5]}, [4, 1000]),
        ({"log": 4}, [0, 8, 32, 1000]),
        ({"log": 2}, [0, 1000]),
        ({"log": 100}, [0, 1, 2, 4, 8, 16, 32, 1000]),
    ],
)
def test_checkpoints_are_chosen(run_folder, rule, steps):
    suites = {"s": {"source": "local", "runs": {"run": str(run_folder)}}}
    chosen = config.validate({"suites": suites, "checkpoints": rule}).checkpoints
    assert [one.step for one in manifest.select(listed(run_folder), chosen)] == steps


def test_a_choice_of_nothing_is_an_error(run_folder):
    suites = {"s": {"source": "local", "runs": {"run": str(run_folder)}}}
    rule = config.validate({"suites": suites, "checkpoints": {"steps": [7]}}).checkpoints
    with pytest.raises(ShapesweepError, match="chooses none of the 8"):
        manifest.select(listed(run_folder), rule)


def test_what_is_not_chosen_is_listed_not_read(tmp_path, make_checkpoint):
    for step in (0, 5):
        make_checkpoint(tmp_path / f"checkpoint-{step}", seed=step)
    (tmp_path / "checkpoint-5/model.safetensors").write_bytes(b"")
    suite = local(tmp_path)
    found = manifest.list_checkpoints("s", suite, "results")
    first, second = manifest.rows("s", suite, found, config.Steps(steps=[0]))
    assert (first["selected"], second["selected"]) == (True, False)
    assert second["commit"] is None
    assert [file["sha256"] for file in second["files"]] == [None, None]


def test_rows_tell_files_status_and_selection(tmp_path, make_checkpoint):
    make_checkpoint(tmp_path / "checkpoint-0")
    make_checkpoint(tmp_path / "checkpoint-5", seed=1)
    (tmp_path / "checkpoint-5/model.safetensors").unlink()
    suite = local(tmp_path, tokens_per_step=100)
    found = manifest.list_checkpoints("s", suite, "results")
    rows = manifest.rows("s", suite, found, "all")
    tables.write(rows, contracts.MANIFEST, tmp_path / "manifest.parquet")
    table = tables.read(tmp_path / "manifest.parquet", contracts.MANIFEST)
    assert table.selected.tolist() == [True, False]
    assert [list(status) for status in table.status] == [[], ["missing_weights"]]
    assert table.tokens.tolist() == [0, 500]
    assert table.architecture.tolist() == ["LlamaForCausalLM"] * 2
    assert table.n_layers.tolist() == [3, 3]
    names = [file["path"] for file in table.files[0]]
    assert names == ["config.json", "model.safetensors"]
    assert table.commit[0] != table.commit[1]
