"""The manifest: the checkpoints in folders are found and selected."""

import dataclasses
import hashlib
import os

import pytest

from shapesweep import cli
from shapesweep.config import files as config_files
from shapesweep.config import sweep
from shapesweep.config.suite import RECIPE, EmbeddedSuite
from shapesweep.errors import ShapesweepError
from shapesweep.manifest import checkpoints
from shapesweep.manifest.selection import select
from shapesweep.plan.workflow import Plan
from shapesweep.storage import manifests, schemas, tables
from shapesweep.storage.files import File, LocalFile, sha256
from shapesweep.storage.manifests import Checkpoint


def local(path, **more):
    suite = {"source": "local", "runs": {"run": str(path)}, **more}
    return config_files.validate({"suites": {"s": suite}}).suites["s"]


def list_folder(path, **more):
    return checkpoints.list_checkpoints("s", local(path, **more), "results")


@pytest.fixture
def run_folder(tmp_path):
    for step in (0, 1, 2, 4, 8, 16, 32, 1000):
        (tmp_path / f"checkpoint-{step}").mkdir()
    (tmp_path / "checkpoint-best").mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "checkpoint-7").write_text("a file", encoding="utf-8")
    return tmp_path


def test_checkpoints_of_a_trainer_folder_are_sorted_by_step(run_folder):
    assert [checkpoint.step for checkpoint in list_folder(run_folder)] == [
        0,
        1,
        2,
        4,
        8,
        16,
        32,
        1000,
    ]


def test_step_is_read_with_a_custom_pattern(tmp_path):
    (tmp_path / "step00012-tokens3B").mkdir()
    (found,) = list_folder(tmp_path, pattern=r"step0*(?P<step>\d+)-tokens.*")
    assert (found.revision, found.step) == ("step00012-tokens3B", 12)


def test_folder_of_a_run_can_be_a_single_checkpoint(tmp_path):
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    (found,) = list_folder(tmp_path)
    assert (found.revision, found.step, found.folder) == ("main", None, tmp_path)


def test_absent_and_empty_folders_raise_an_error(tmp_path):
    with pytest.raises(ShapesweepError, match="run run: path: there is no folder"):
        list_folder(tmp_path / "absent")
    with pytest.raises(ShapesweepError, match=r"no folder in .* matches checkpoint-"):
        list_folder(tmp_path)
    (tmp_path / "checkpoint-x").mkdir()
    with pytest.raises(ShapesweepError, match="group step gives 'x'"):
        list_folder(tmp_path, pattern=r"checkpoint-(?P<step>.*)")


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
def test_selection_rules_choose_checkpoints(run_folder, rule, steps):
    suites = {"s": {"source": "local", "runs": {"run": str(run_folder)}}}
    chosen = config_files.validate({"suites": suites, "checkpoints": rule}).checkpoints
    assert [checkpoint.step for checkpoint in select(list_folder(run_folder), chosen)] == steps


def test_rule_that_selects_nothing_is_an_error(run_folder):
    suites = {"s": {"source": "local", "runs": {"run": str(run_folder)}}}
    rule = config_files.validate({"suites": suites, "checkpoints": {"steps": [7]}}).checkpoints
    with pytest.raises(ShapesweepError, match="chooses none of 8"):
        select(list_folder(run_folder), rule)


def describe(path, rule="all", known=(), **more):
    suite = local(path, **more)
    found = checkpoints.list_checkpoints("s", suite, "results")
    return checkpoints.describe("s", suite, found, rule, known)


@pytest.fixture
def hashed(monkeypatch):
    """Names of the files that are hashed."""
    names = []
    monkeypatch.setattr(checkpoints, "sha256", lambda path: names.append(path.name) or sha256(path))
    return names


def test_unselected_checkpoints_are_listed_without_reading_their_files(tmp_path, make_checkpoint):
    for step in (0, 5):
        make_checkpoint(tmp_path / f"checkpoint-{step}", seed=step)
    (tmp_path / "checkpoint-5/model.safetensors").write_bytes(b"")
    first, second = describe(tmp_path, sweep.Steps(steps=[0]))
    assert (first.selected, second.selected) == (True, False)
    assert (first.chosen, second.chosen) == (True, False)
    assert second.commit is None
    assert [file.sha256 for file in second.files] == [None, None]


def test_manifest_has_files_status_and_selection(tmp_path, make_checkpoint):
    make_checkpoint(tmp_path / "checkpoint-0")
    make_checkpoint(tmp_path / "checkpoint-5", seed=1)
    (tmp_path / "checkpoint-5/model.safetensors").unlink()
    found = describe(tmp_path, tokens_per_step=100)
    manifests.write(found, tmp_path / "manifest.parquet")
    read = tables.read(tmp_path / "manifest.parquet", schemas.MANIFEST)
    assert read.selected.tolist() == [True, False]
    assert [list(status) for status in read.status] == [[], ["missing_weights"]]
    assert read.tokens.tolist() == [0, 500]
    assert read.architecture.tolist() == ["LlamaForCausalLM"] * 2
    assert read.n_layers.tolist() == [3, 3]
    assert read.folder.tolist() == [str(tmp_path / f"checkpoint-{step}") for step in (0, 5)]
    assert read.bytes.tolist() == [checkpoint.n_bytes for checkpoint in found]
    names = [file["path"] for file in read.files[0]]
    assert names == ["config.json", "model.safetensors"]
    assert read.commit[0] != read.commit[1]


@pytest.mark.parametrize("kinds", [("local",), ("hub",), ("local", "hub")], ids="-".join)
def test_manifest_survives_a_round_trip(tmp_path, make_checkpoint, kinds):
    make_checkpoint(tmp_path / "checkpoint-0")
    status = ("shares_file_with:step2",)
    files = (File("b/model.bin", 9, "d", "e"), File("b/config.json", 2, None, "f"))
    location = {"repository": "o/a", "folder": "b", "commit": "c"}
    hub = Checkpoint(
        "s", "hub", "step1", step=1, files=files, status=status, selected=False, **location
    )
    hole = Checkpoint("s", "hub", None, step=2, status=("hole",), selected=False)
    # Each suite has one kind. The manifests of a sweep are joined.
    by_kind = {"local": describe(tmp_path), "hub": [hub, hole]}
    written = [checkpoint for kind in kinds for checkpoint in by_kind[kind]]
    manifests.write(written, tmp_path / "manifest.parquet")
    read = manifests.read(tmp_path / "manifest.parquet")
    assert read == written
    is_local = [isinstance(file, LocalFile) for entry in read for file in entry.files]
    assert is_local == [kind == "local" for kind in kinds for _ in range(2)]


def test_empty_manifest_is_valid(tmp_path):
    manifests.write([], tmp_path / "manifest.parquet")
    assert manifests.read(tmp_path / "manifest.parquet") == []


def test_unchanged_files_are_not_hashed_again(tmp_path, make_checkpoint, hashed):
    for step in (0, 5):
        make_checkpoint(tmp_path / f"checkpoint-{step}", seed=step)
    first = describe(tmp_path)
    assert hashed == ["config.json", "model.safetensors"] * 2
    hashed.clear()
    assert describe(tmp_path, known=first) == first
    assert hashed == []
    # A checkpoint that was listed but not selected before is read now.
    assert describe(tmp_path, known=describe(tmp_path, sweep.Steps(steps=[0]), first)) == first
    assert hashed == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("change", ["time", "size", "contents"])
def test_changed_file_is_hashed_again(tmp_path, make_checkpoint, hashed, change):
    make_checkpoint(tmp_path / "checkpoint-0")
    (before,) = describe(tmp_path)
    hashed.clear()
    path = tmp_path / "checkpoint-0/config.json"
    stat, text = path.stat(), path.read_text(encoding="utf-8")
    if change == "contents":
        path.write_text(text.replace("300", "301"), encoding="utf-8")
    elif change == "size":
        path.write_text(text + " ", encoding="utf-8")
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    else:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns - 10**9))
    (after,) = describe(tmp_path, known=[before])
    assert hashed == ["config.json"]
    assert after.files[0].sha256 == sha256(path)
    assert (after.commit == before.commit) == (change == "time")


def test_digests_are_not_reused_for_another_checkpoint(tmp_path, make_checkpoint):
    for step in (0, 5):
        make_checkpoint(tmp_path / f"checkpoint-{step}", seed=step)
        for path in (tmp_path / f"checkpoint-{step}").iterdir():
            os.utime(path, ns=(0, 0))
    known = describe(tmp_path, sweep.Steps(steps=[0]))
    zero, five = describe(tmp_path, known=known)
    # Both weight files have the same name, size and time.
    assert zero.files[1].sha256 != five.files[1].sha256


def test_manifest_command_writes_the_manifest_of_a_plan(tmp_path, make_checkpoint, hashed, capsys):
    for step in (0, 5):
        make_checkpoint(tmp_path / f"run/checkpoint-{step}", seed=step)
    (tmp_path / "run/checkpoint-5/model.safetensors").write_bytes(b"")
    suites = {"s": {"source": "local", "runs": {"run": str(tmp_path / "run")}}}
    plan, out = tmp_path / "plan.json", tmp_path / "manifest.parquet"
    plan.write_text(Plan(config_files.validate({"suites": suites}), tmp_path).record("s"), "utf-8")
    arguments = ["manifest", "--plan", plan, "--results", tmp_path, "--out", out]
    assert cli.main([*map(str, arguments)]) == 0
    assert capsys.readouterr().out == "s/run/checkpoint-5: damaged:model.safetensors\n"
    found = manifests.read(out)
    assert found == describe(tmp_path / "run")
    # An existing manifest avoids reading the files. A damaged manifest is ignored.
    hashed.clear()
    assert cli.main([*map(str, arguments)]) == 0
    assert hashed == []
    out.write_bytes(out.read_bytes()[:-9])
    assert cli.main([*map(str, arguments)]) == 0
    assert len(hashed) == 4
    assert manifests.read(out) == found


def test_manifest_holds_the_digest_of_the_planned_text(tmp_path, make_checkpoint, capsys):
    make_checkpoint(tmp_path / "run/checkpoint-0")
    text = tmp_path / "text.txt"
    text.write_text("a text", encoding="utf-8")
    raw = {"suites": {"s": {"source": "local", "runs": {"run": str(tmp_path / "run")}}}}
    raw["corpus"] = {"text": str(text)}
    plan, out = tmp_path / "plan.json", tmp_path / "manifest.parquet"
    plan.write_text(Plan(config_files.validate(raw), tmp_path).record("s"), "utf-8")
    arguments = [*map(str, ["manifest", "--plan", plan, "--results", tmp_path, "--out", out])]
    assert cli.main(arguments) == 0
    assert manifests.text_sha256(out) == hashlib.sha256(b"a text").hexdigest()
    for change in (lambda: text.write_text("another text", encoding="utf-8"), text.unlink):
        change()
        capsys.readouterr()
        assert cli.main(arguments) == 2
        assert "text.txt has changed since the plan was made; run again" in capsys.readouterr().err


def test_checkpoint_has_a_key_a_name_and_a_size_and_is_immutable(run_folder):
    files = (File("a", 3, None, "b"), File("c", 4, None, "d"))
    checkpoint = Checkpoint("s", "r", "step1", files=files)
    assert checkpoint.key == ("s", "r", "step1")
    assert checkpoint.name == "s/r/step1"
    assert checkpoint.n_bytes == 7
    with pytest.raises(dataclasses.FrozenInstanceError):
        checkpoint.suite = "t"


def test_run_trained_with_another_recipe_is_refused(tmp_path):
    suite = EmbeddedSuite(
        source="embedded",
        steps=[0],
        runs={"r": {"learning_rate": 0.1, "model": {"model_type": "llama"}}},
    )
    found = checkpoints.list_checkpoints("s", suite, tmp_path)
    folder = tmp_path / "checkpoints/s/r"
    (folder / "checkpoint-0").mkdir(parents=True)
    # Earlier versions wrote no recipe.
    checkpoints.describe("s", suite, found, "all")
    (folder / RECIPE).write_text(suite.with_run("r").model_dump_json(), encoding="utf-8")
    checkpoints.describe("s", suite, found, "all")
    other = suite.model_copy(update={"batch_size": 1})
    with pytest.raises(ShapesweepError, match="trained with another recipe; add --forcerun train"):
        checkpoints.describe("s", other, found, "all")


def test_plan_decides_which_checkpoints_are_chosen_after_a_run_has_grown(tmp_path, make_checkpoint):
    for step in (1, 2, 3):
        make_checkpoint(tmp_path / f"run/checkpoint-{step}", seed=step)
    suite, found = local(tmp_path / "run"), list_folder(tmp_path / "run")
    described = checkpoints.describe("s", suite, found, "all", planned=[("run", "checkpoint-2")])
    assert [checkpoint.step for checkpoint in described if checkpoint.chosen] == [2]
    assert [checkpoint.step for checkpoint in described if checkpoint.selected] == [2]
