"""A run of adapters is listed with its base model, and depends on the files of both."""

import json

import pytest

from helpers.adapters import save_adapter, save_base
from shapesweep.activations.loader import check_files
from shapesweep.config import files as config_files
from shapesweep.errors import ShapesweepError, TransientError
from shapesweep.geometry import member
from shapesweep.manifest import checkpoints
from shapesweep.plan import costs, fingerprints
from shapesweep.plan.workflow import Plan
from shapesweep.storage import manifests


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    save_base(folder / "base")
    for step in (5, 10):
        save_adapter(
            folder / f"run/checkpoint-{step}", folder / "base", step, target_modules=["q_proj"]
        )
    return folder


@pytest.fixture
def folder(made, tmp_path):
    """A folder with a base model, and a run of two adapters."""
    for path in sorted(made.rglob("*.*")):
        copy = tmp_path / path.relative_to(made)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    return tmp_path


def sweep(folder, base="base", of_suite=None, **more):
    run = {"path": str(folder / "run")} | ({"base": str(folder / base)} if base else {})
    suite = {"source": "local", "runs": {"r": run}, **more}
    if of_suite:
        suite["base"] = str(folder / of_suite)
    return config_files.validate({"suites": {"s": suite}})


def listed(folder, *arguments, **more):
    suite = sweep(folder, *arguments, **more).suites["s"]
    return checkpoints.list_checkpoints("s", suite, "results")


def described(folder, *arguments, known=(), **more):
    suite = sweep(folder, *arguments, **more).suites["s"]
    found = checkpoints.list_checkpoints("s", suite, "results")
    return checkpoints.describe("s", suite, found, "all", known)


def test_base_is_the_checkpoint_of_step_0(folder):
    base, *adapters = listed(folder, tokens_per_step=100)
    assert (base.revision, base.step, base.tokens) == ("base", 0, 0)
    assert (base.folder, base.base) == (folder / "base", None)
    assert [adapter.step for adapter in adapters] == [5, 10]
    assert {adapter.base for adapter in adapters} == {folder / "base"}


def test_step_0_of_a_run_takes_precedence(folder):
    (folder / "run/checkpoint-5").rename(folder / "run/checkpoint-0")
    assert [found.revision for found in listed(folder)] == ["checkpoint-0", "checkpoint-10"]


def test_base_of_a_suite_applies_to_runs_without_a_base(folder):
    save_base(folder / "other")
    assert [found.base for found in listed(folder, None, "base")] == [
        *(None, folder / "base", folder / "base")
    ]
    assert [found.base for found in listed(folder, "other", "base")] == [
        *(None, folder / "other", folder / "other")
    ]


def test_checkpoint_with_whole_weights_does_not_depend_on_the_base(folder):
    save_base(folder / "run/checkpoint-20")
    *_, whole = listed(folder)
    assert (whole.revision, whole.base) == ("checkpoint-20", None)


def test_folder_of_a_run_can_be_a_single_adapter(folder):
    (folder / "run").rename(folder / "runs")
    (folder / "runs/checkpoint-5").rename(folder / "run")
    (found,) = listed(folder)
    assert (found.revision, found.step, found.base) == ("main", None, folder / "base")
    (refused,) = described(folder, None)
    assert refused.status[0].startswith("adapter_without_base: ")


@pytest.mark.parametrize(
    ("base", "advice"),
    [
        *(
            (base, f"there is no folder {base}; for a model on the Hub, write org/name@<commit>")
            for base in (
                *("org/name", "org/name@main", f"org/name@{'a' * 39}", "hf://org/name"),
                "https://huggingface.co/org/name",
            )
        ),
        ("/absent", "base: /absent does not exist; name the folder of a whole model"),
        ("run/checkpoint-5", "checkpoint-5 has no config.json; name the folder of a whole model"),
    ],
)
def test_base_that_is_not_a_whole_model_is_refused(folder, base, advice):
    base = str(folder / base) if "checkpoint" in base else base
    suite = {"source": "local", "base": base, "runs": {"r": str(folder / "run")}}
    suite = config_files.validate({"suites": {"s": suite}}).suites["s"]
    with pytest.raises(ShapesweepError, match="suite s, run r: base: ") as caught:
        checkpoints.list_checkpoints("s", suite, "results")
    assert advice in str(caught.value)


def test_manifest_pins_the_files_of_both_folders(folder, tmp_path):
    base, *adapters = described(folder)
    assert all(each.selected and each.architecture == "LlamaForCausalLM" for each in adapters)
    assert [file.path for file in adapters[0].files] == [
        *("adapter_config.json", "adapter_model.safetensors"),
        *(str(folder / f"base/{name}") for name in ("config.json", "model.safetensors")),
    ]
    assert all(file.sha256 for each in (base, *adapters) for file in each.files)
    assert [each.base for each in (base, *adapters)] == [None, folder / "base", folder / "base"]
    assert len({each.commit for each in (base, *adapters)}) == 3
    manifests.write([base, *adapters], tmp_path / "s.parquet")
    assert manifests.read(tmp_path / "s.parquet") == [base, *adapters]


def test_files_of_the_base_are_hashed_once(folder, monkeypatch):
    hashed = []

    def count(path):
        hashed.append(path.relative_to(folder).as_posix())
        return "0" * 64

    monkeypatch.setattr(checkpoints, "sha256", count)
    known = described(folder)
    # Each adapter has two files, and the base has two.
    assert len(hashed) == len(set(hashed)) == 6
    described(folder, known=known)
    assert len(hashed) == 6


def test_adapter_without_base_is_not_measured(folder):
    path = folder / "run/checkpoint-5/adapter_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**settings, "base_model_name_or_path": "org/name"}))
    first, _ = described(folder, None)
    assert not first.selected
    (status,) = first.status
    assert status == (
        "adapter_without_base: set the key base of the run to the model that the adapter changes "
        "(org/name): a folder, or org/name@<commit>"
    )


def test_defect_of_the_base_excludes_its_adapters(folder):
    (folder / "base/model.safetensors").write_bytes(b"x")
    base, *adapters = described(folder)
    assert base.status == ("damaged:model.safetensors",)
    assert {each.status for each in adapters} == {("base:damaged:model.safetensors",)}
    assert not any(each.selected for each in adapters)


@pytest.mark.parametrize("name", ["base/model.safetensors", "run/checkpoint-5/adapter_config.json"])
def test_changed_file_of_either_folder_is_noticed(folder, name):
    def state():
        suite = sweep(folder).suites["s"]
        return fingerprints.weights(suite, listed(folder)[1]), described(folder)[1].commit

    before, checkpoint = state(), described(folder)[1]
    check_files(checkpoint, folder / "run/checkpoint-5")
    path = folder / name
    path.write_bytes(path.read_bytes() + b" ")
    assert all(mine != theirs for mine, theirs in zip(before, state(), strict=True))
    with pytest.raises(TransientError, match=f"{path.name} differs from the manifest"):
        check_files(checkpoint, folder / "run/checkpoint-5")
    path.unlink()
    with pytest.raises(TransientError, match=f"{path.name} is missing"):
        check_files(checkpoint, folder / "run/checkpoint-5")


def test_costs_are_those_of_the_merged_model(folder):
    suite = sweep(folder).suites["s"]
    base, adapter, _ = (costs.Model.of(found, suite) for found in listed(folder))
    assert (adapter.width, adapter.n_shards) == (base.width, base.n_shards) == (16, 5)
    own = sum(path.stat().st_size for path in (folder / "run/checkpoint-5").glob("adapter_[cm]*"))
    assert adapter.n_bytes == base.n_bytes + own


def test_tokenizer_is_that_of_checkpoint_parent_or_base(folder, settings, tokenizers):
    settings = settings.measurement("local")
    path = folder / "s.parquet"
    manifests.write(described(folder), path)

    def found():
        (one,) = member.members(path, "r", ["checkpoint-5"], settings)
        return one.tokenizer

    assert found() == folder / "base"
    tokenizers["decoder"].save_pretrained(folder / "run")
    # The tokenizer of the parent folder is found through the checkpoint's folder.
    assert found() == folder / "run/checkpoint-5"


def test_plan_of_a_run_without_adapters_is_as_before(folder):
    save_base(folder / "whole/checkpoint-1")
    suite = {"source": "local", "runs": {"r": str(folder / "whole")}}
    plan = Plan(config_files.validate({"suites": {"s": suite}}), folder / "results")
    (found,) = plan.listed("s")
    names = [name for name, *_ in fingerprints.weights(plan.suites["s"], found)]
    assert names == ["config.json", "model.safetensors"]
