"""The manifest lists the checkpoints in folders, and records which checkpoints are selected."""

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


def configuration(path, **more):
    suites = {"s": {"source": "local", "runs": {"run": str(path)}}}
    return config_files.validate({"suites": suites, **more})


def local(path, **more):
    return configuration(path).suites["s"].model_copy(update=more)


def list_folder(path, **more):
    return checkpoints.list_checkpoints("s", local(path, **more), "results")


STEPS = [0, 1, 2, 4, 8, 16, 32, 1000]


@pytest.fixture
def run_folder(tmp_path):
    for step in STEPS:
        (tmp_path / f"checkpoint-{step}").mkdir()
    (tmp_path / "checkpoint-best").mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "trainer_state.json").write_text("{}", encoding="utf-8")
    return tmp_path


def test_checkpoints_of_a_trainer_folder_are_sorted_by_step(run_folder):
    assert [checkpoint.step for checkpoint in list_folder(run_folder)] == STEPS


def test_step_is_read_with_a_custom_pattern(tmp_path):
    (tmp_path / "step00012-tokens3B").mkdir()
    (found,) = list_folder(tmp_path, pattern=r"step0*(?P<step>\d+)-tokens.*")
    assert (found.revision, found.step) == ("step00012-tokens3B", 12)


def test_folder_of_a_run_can_be_a_single_checkpoint(tmp_path):
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    (found,) = list_folder(tmp_path)
    assert (found.revision, found.step, found.folder) == ("main", None, tmp_path)


def test_folder_names_of_lightning_are_listed(tmp_path):
    for name in ("epoch=1-step=200", "epoch=0-step=100"):
        (tmp_path / name).mkdir()
    found = list_folder(tmp_path, pattern=r"epoch=\d+-step=(?P<step>\d+)")
    assert [checkpoint.revision for checkpoint in found] == ["epoch=0-step=100", "epoch=1-step=200"]


def test_absent_folder_and_folder_without_checkpoints_raise_an_error(tmp_path):
    with pytest.raises(ShapesweepError, match="run run: path: there is no folder"):
        list_folder(tmp_path / "absent")
    with pytest.raises(
        ShapesweepError, match=r"no config\.json, .* it contains no folders; set the"
    ):
        list_folder(tmp_path)
    for name in ("logs", "epoch=0-step=100", "a", "b", "c"):
        (tmp_path / name).mkdir()
    with pytest.raises(
        ShapesweepError,
        match=r"none of its folders \(a, b, c, epoch=0-step=100 and 1 more\) matches checkpoint-",
    ):
        list_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "pattern", "message"),
    [
        ("checkpoint-x", r"checkpoint-(?P<step>.*)", "its group `step` matches 'x', which is not"),
        ("checkpoint-x", r"checkpoint-(?P<step>\d+)?.*", "matches '', which is not a step"),
        ("checkpoint-1.5", r"checkpoint-(?P<step>.*)", "matches '1.5', which is not a step"),
        (
            "checkpoint-" + "9" * 19,
            r"checkpoint-(?P<step>.*)",
            f"'{'9' * 19}', which is not a step",
        ),
        (
            "checkpoint-7 copy",
            r"checkpoint-(?P<step>\d+).*",
            "folder 'checkpoint-7 copy', whose na",
        ),
        ("checkpoint-107", r".*(?P<step>\d+)", "which is only a part of a number; change"),
        ("checkpoint-107", r".*-(?P<step>\d).*", "which is only a part of a number; change"),
        ("é-7", r".*-(?P<step>\d+)", "'é-7', whose name must have at most 120 characters"),
        ("-7", r".*-(?P<step>\d+)", "'-7', whose name must have .* begin with a letter or digit"),
        ("a" * 120 + "-7", r".*-(?P<step>\d+)", "a-7', whose name must have at most 120 character"),
    ],
)
def test_folder_that_matches_but_cannot_be_listed_raises_an_error(
    run_folder, name, pattern, message
):
    (run_folder / "checkpoint-best").rmdir()
    (run_folder / name).mkdir()
    with pytest.raises(ShapesweepError, match=f"suite s, run run: pattern: .*{message}"):
        list_folder(run_folder, pattern=pattern)


def test_file_that_matches_the_pattern_raises_an_error(run_folder):
    message = "matches 'checkpoint-7', which is not a folder; change the pattern"
    (run_folder / "checkpoint-7").write_text("a file", encoding="utf-8")
    with pytest.raises(ShapesweepError, match=message):
        list_folder(run_folder)
    (run_folder / "checkpoint-7").unlink()
    (run_folder / "file").write_text("a file", encoding="utf-8")
    (run_folder / "checkpoint-7").symlink_to("file")
    with pytest.raises(ShapesweepError, match=message):
        list_folder(run_folder)


def test_broken_link_is_a_checkpoint_without_files(run_folder):
    (run_folder / "checkpoint-7").symlink_to("absent")
    assert 7 in [checkpoint.step for checkpoint in list_folder(run_folder)]


def test_folder_that_the_trainer_removes_while_it_is_listed_is_left_out(run_folder, monkeypatch):
    listed = [*run_folder.iterdir(), run_folder / "checkpoint-64"]
    monkeypatch.setattr(type(run_folder), "iterdir", lambda folder: iter(listed))
    assert [checkpoint.step for checkpoint in list_folder(run_folder)] == STEPS


@pytest.mark.parametrize(
    ("rule", "steps"),
    [
        ("all", STEPS),
        ({"every": 3}, [0, 4, 32]),
        ({"steps": [4, 1000, 5]}, [4, 1000]),
        ({"log": 4}, [0, 8, 32, 1000]),
        ({"log": 2}, [0, 1000]),
        ({"log": 100}, STEPS),
    ],
)
def test_selection_rules_choose_checkpoints(run_folder, rule, steps):
    chosen = configuration(run_folder, checkpoints=rule).checkpoints
    assert [checkpoint.step for checkpoint in select(list_folder(run_folder), chosen)] == steps


def test_folders_with_the_same_step_raise_an_error_unless_they_are_accepted(
    tmp_path, make_checkpoint
):
    for name in ("checkpoint-5", "checkpoint-10", "checkpoint-10-merged"):
        make_checkpoint(tmp_path / name)
    pattern = r"checkpoint-(?P<step>\d+)(-merged)?"
    with pytest.raises(
        ShapesweepError,
        match="two folders of step 10, checkpoint-10 and checkpoint-10-merged; change the pattern",
    ):
        list_folder(tmp_path, pattern=pattern)
    accepted = describe(tmp_path, pattern=pattern, accept=["same_step_as"])
    assert {c.revision: (c.status, c.selected) for c in accepted} == {
        "checkpoint-5": ((), True),
        "checkpoint-10": (("same_step_as:checkpoint-10-merged",), True),
        "checkpoint-10-merged": (("same_step_as:checkpoint-10",), True),
    }


def test_rule_that_selects_nothing_is_an_error(run_folder):
    with pytest.raises(ShapesweepError, match="chooses none of 8"):
        select(list_folder(run_folder), sweep.Steps(steps=[7]))


def describe(path, rule="all", known=(), **more):
    suite = local(path, **more)
    found = checkpoints.list_checkpoints("s", suite, "results")
    return checkpoints.describe("s", suite, found, rule, known)


@pytest.fixture
def two(tmp_path, make_checkpoint):
    """The folder of a run with two checkpoints."""
    for step in (0, 5):
        make_checkpoint(tmp_path / f"run/checkpoint-{step}", seed=step)
    return tmp_path / "run"


@pytest.fixture
def hashed(monkeypatch):
    """The names of the files that have been hashed, in order."""
    names = []
    monkeypatch.setattr(checkpoints, "sha256", lambda path: names.append(path.name) or sha256(path))
    return names


def test_unselected_checkpoints_are_listed_without_reading_their_files(two):
    (two / "checkpoint-5/model.safetensors").write_bytes(b"")
    first, second = describe(two, sweep.Steps(steps=[0]))
    assert (first.selected, second.selected) == (True, False)
    assert (first.chosen, second.chosen) == (True, False)
    assert second.commit is None
    assert [file.sha256 for file in second.files] == [None, None]


def test_manifest_has_files_status_and_selection(two, tmp_path):
    (two / "checkpoint-5/model.safetensors").unlink()
    found = describe(two, tokens_per_step=100)
    manifests.write(found, tmp_path / "manifest.parquet")
    read = tables.read(tmp_path / "manifest.parquet", schemas.MANIFEST)
    assert read.selected.tolist() == [True, False]
    assert [list(status) for status in read.status] == [[], ["missing_weights"]]
    assert read.tokens.tolist() == [0, 500]
    assert read.architecture.tolist() == ["LlamaForCausalLM"] * 2
    assert read.n_layers.tolist() == [3, 3]
    assert read.folder.tolist() == [str(two / f"checkpoint-{step}") for step in (0, 5)]
    assert read.bytes.tolist() == [checkpoint.n_bytes for checkpoint in found]
    assert [file["path"] for file in read.files[0]] == ["config.json", "model.safetensors"]
    assert read.commit[0] != read.commit[1]


@pytest.mark.parametrize("kinds", [("local",), ("hub",), ("local", "hub")], ids="-".join)
def test_manifest_survives_a_round_trip(tmp_path, make_checkpoint, kinds):
    make_checkpoint(tmp_path / "checkpoint-0")
    status = ("shares_file_with:step2",)
    files = (File("b/model.bin", 9, "d", "e"), File("b/config.json", 2, None, "f"))
    location = {"repository": "o/a", "folder": "b", "commit": "c"}
    more = {"files": files, "status": status, "selected": False, **location}
    hub = Checkpoint("s", "hub", "step1", step=1, **more)
    hole = Checkpoint("s", "hub", None, step=2, status=("hole",), selected=False)
    # A suite contains checkpoints of a single kind, but a sweep joins the manifests of all suites.
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


def test_unchanged_files_are_not_hashed_again(two, hashed):
    first = describe(two)
    assert hashed == ["config.json", "model.safetensors"] * 2
    hashed.clear()
    assert describe(two, known=first) == first
    assert hashed == []
    # The earlier manifest lists one checkpoint as not selected. Only the files of this checkpoint
    # are hashed.
    assert describe(two, known=describe(two, sweep.Steps(steps=[0]), first)) == first
    assert hashed == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("change", ["time", "size", "contents"])
def test_changed_file_is_hashed_again(two, hashed, change):
    before = describe(two)
    hashed.clear()
    path = two / "checkpoint-0/config.json"
    stat, text = path.stat(), path.read_text(encoding="utf-8")
    if change == "contents":
        path.write_text(text.replace("300", "301"), encoding="utf-8")
    elif change == "size":
        path.write_text(text + " ", encoding="utf-8")
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    else:
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns - 10**9))
    after, _ = describe(two, known=before)
    assert hashed == ["config.json"]
    assert after.files[0].sha256 == sha256(path)
    assert (after.commit == before[0].commit) == (change == "time")


def test_digests_are_not_reused_for_another_checkpoint(two):
    for path in two.glob("*/*"):
        os.utime(path, ns=(0, 0))
    zero, five = describe(two, known=describe(two, sweep.Steps(steps=[0])))
    # Both weight files have the same name, size and modification time.
    assert zero.files[1].sha256 != five.files[1].sha256


def planned_manifest(folder, config):
    """Write the plan of a suite. Return the command that writes the manifest, and its path."""
    plan, out = folder / "plan.json", folder / "manifest.parquet"
    plan.write_text(Plan(config, folder).record("s"), encoding="utf-8")
    words = ["manifest", "--plan", plan, "--results", folder, "--out", out]
    return [*map(str, words)], out


def test_manifest_command_writes_the_manifest_of_a_plan(two, tmp_path, hashed, capsys):
    (two / "checkpoint-5/model.safetensors").write_bytes(b"")
    arguments, out = planned_manifest(tmp_path, configuration(two))
    assert cli.main(arguments) == 0
    assert capsys.readouterr().out == "s/run/checkpoint-5: damaged:model.safetensors\n"
    found = manifests.read(out)
    assert found == describe(two)
    # If a manifest exists, the files of the checkpoints are not hashed again. A damaged manifest is
    # ignored.
    hashed.clear()
    assert cli.main(arguments) == 0
    assert hashed == []
    out.write_bytes(out.read_bytes()[:-9])
    assert cli.main(arguments) == 0
    assert len(hashed) == 4
    assert manifests.read(out) == found


def test_manifest_holds_the_digest_of_the_planned_text(two, tmp_path, capsys):
    text = tmp_path / "text.txt"
    text.write_text("a text", encoding="utf-8")
    arguments, out = planned_manifest(tmp_path, configuration(two, corpus={"text": str(text)}))
    assert cli.main(arguments) == 0
    assert manifests.texts(out) == {str(text): hashlib.sha256(b"a text").hexdigest()}
    for change in (lambda: text.write_text("another text", encoding="utf-8"), text.unlink):
        change()
        capsys.readouterr()
        assert cli.main(arguments) == 2
        assert "text.txt has changed since the plan was made; run again" in capsys.readouterr().err


def test_checkpoint_has_a_key_a_name_and_a_size_and_is_immutable():
    files = (File("a", 3, None, "b"), File("c", 4, None, "d"))
    checkpoint = Checkpoint("s", "r", "step1", files=files)
    assert checkpoint.key == ("s", "r", "step1")
    assert checkpoint.name == "s/r/step1"
    assert checkpoint.n_bytes == 7
    with pytest.raises(dataclasses.FrozenInstanceError):
        checkpoint.suite = "t"


def test_run_trained_with_another_recipe_is_refused(tmp_path):
    runs = {"r": {"learning_rate": 0.1, "model": {"model_type": "llama"}}}
    suite = EmbeddedSuite(source="embedded", steps=[0], runs=runs)
    found = checkpoints.list_checkpoints("s", suite, tmp_path)
    folder = tmp_path / "checkpoints/s/r"
    (folder / "checkpoint-0").mkdir(parents=True)
    # Earlier versions of shapesweep saved no training recipe with a run. A run without a recipe
    # raises no error.
    checkpoints.describe("s", suite, found, "all")
    (folder / RECIPE).write_text(suite.with_run("r").model_dump_json(), encoding="utf-8")
    checkpoints.describe("s", suite, found, "all")
    other = suite.model_copy(update={"batch_size": 1})
    with pytest.raises(ShapesweepError, match="trained with another recipe; add --forcerun train"):
        checkpoints.describe("s", other, found, "all")


def test_plan_decides_which_checkpoints_are_chosen_after_a_run_has_grown(two):
    planned = [("run", "checkpoint-5")]
    described = checkpoints.describe("s", local(two), list_folder(two), "all", planned=planned)
    assert [checkpoint.step for checkpoint in described if checkpoint.chosen] == [5]
    assert [checkpoint.step for checkpoint in described if checkpoint.selected] == [5]
