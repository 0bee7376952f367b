"""The plan: names that change with all that numbers depend on, and with nothing else."""

import copy
import dataclasses
import json
import os
import re
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from shapesweep import config, contracts, failures, measurement, metrics, tables
from shapesweep.config import Config
from shapesweep.corpora import CORPORA
from shapesweep.digest import digest
from shapesweep.errors import CheckpointError, ShapesweepError, TransientError
from shapesweep.files import File
from shapesweep.manifest import checkpoints
from shapesweep.manifest.table import Checkpoint
from shapesweep.plan import costs, fingerprints
from shapesweep.plan.workflow import BATCH_TABLES, FINGERPRINT, Plan
from shapesweep.publication import Repository
from shapesweep.suite import SUITE

SHAPE = {"num_hidden_layers": 2, "hidden_size": 16, "vocab_size": 300}
TRAINED = {
    "source": "embedded",
    **{"steps": [0, 1, 2], "batch_size": 4, "document_length": 16, "vocabulary": 300},
    "runs": {
        run: {"model": {"model_type": "llama", **SHAPE}, "learning_rate": 0.01, "seed": seed}
        for seed, run in enumerate(("first", "second"))
    },
}
HUB = {"source": "hub", "mode": "branches", "match": r"step(?P<step>\d+)"}
HUB["repositories"] = ["org/a"]
FACT = {"about": "it", "says": "more", "source": "here", "verified": "read"}


def write_checkpoint(folder, content=b"weights"):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(SHAPE), encoding="utf-8")
    (folder / "model.safetensors").write_bytes(content)
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")


def files_of(name, weights=10**6):
    small = [File(path, 2, None, name) for path in ("config.json", "tokenizer.json")]
    return [*small, File("model.safetensors", weights, name, name)]


def list_hub(results, suite="hub", revisions=("step1", "step2"), **more):
    """Write what the Hub says of a repository."""
    branches = {name: f"commit of {name}" for name in revisions}
    trees = {commit: files_of(commit) for commit in branches.values()}
    listed = Repository(branches=branches, trees=trees, config=SHAPE, **more)
    path = results / f"listings/{suite}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"org/a": asdict(listed)}), encoding="utf-8")


class Sweep:
    """A configuration in a folder of its own, with local checkpoints and a text."""

    def __init__(self, folder):
        self.results, self.text = folder / "results", folder / "text.txt"
        self.run = folder / "run"
        self.results.mkdir()
        self.text.write_text("a text", encoding="utf-8")
        self.raw = {
            "suites": {"s": {"source": "local", "runs": {"r": str(self.run)}}},
            "corpus": {"text": str(self.text)},
            "checkpoints_per_job": 4,
        }

    def train(self, *steps):
        for step in steps:
            write_checkpoint(self.run / f"checkpoint-{step}", f"of {step}".encode())

    def plan(self, **more):
        """A new plan; keys of a mapping are laid over those that are there."""
        raw = copy.deepcopy(self.raw)
        for key, value in more.items():
            both = isinstance(value, dict) and key in raw
            raw[key] = {**raw[key], **value} if both else value
        return Plan(config.validate(raw), self.results)

    def fingerprint(self, **more):
        (batch,) = self.plan(**more).batches("s")
        return batch.fingerprint

    def fail(self, folder, n_transient):
        """Write that checkpoints of a batch failed, some for a reason that may pass."""
        row = {"suite": "s", "run": "r", "revision": "checkpoint-1", "step": 1, "reason": "no"}
        row |= {"measured": False, "transient": bool(n_transient)}
        path = self.results / "geometry" / folder / "failures.parquet"
        tables.write([row], contracts.FAILURES, path, {"transient": n_transient})


@pytest.fixture
def sweep(tmp_path):
    return Sweep(tmp_path)


@pytest.fixture
def one(sweep):
    """A sweep of one checkpoint, whatever else is asked for."""
    sweep.train(1)
    return sweep


@pytest.fixture
def hub(sweep):
    """A sweep of a suite on the Hub."""
    sweep.raw["suites"] = {"hub": HUB}
    list_hub(sweep.results)
    return sweep


#: Values other than the default of each key that numbers depend on.
DEPENDS = [
    *({"geometry": {key: value}} for key, value in (("n_points", 99), ("groups", 7))),
    *(
        {"corpus": {key: value}}
        for key, value in (
            *(("text", "stdlib"), ("sampling", "paper"), ("documents", 9), ("length", 9)),
            *(("seed", 9), ("last", {"documents": 9}), ("last", {"length": 9})),
        )
    ),
    {"corpora": ["text"]},
    {"suites": {"s": {"tokens_per_step": 9}}},
]
#: The same of each key that they do not depend on.
INDEPENDENT = [
    {"results": "elsewhere"},
    {"checkpoints": {"steps": [1]}},
    {"budget": {"checkpoints": {"s": "last"}}},
    {"budget": {"checkpoints": {"s": "last"}, "rise": 0.5}},
    {"spikes": {"suites": {"other": {"source": "local", "runs": {"r": "x"}}}}},
    {"hub": {"disk_gb": 9}},
    {"hub": {"downloads": 9}},
    {"hub": {"remote_code": ["s"]}},
    {"keep_activations": True},
    {"scratch": "/scratch"},
    {"device": "cpu"},
    {"checkpoints_per_job": 1},
    {"batch_tokens": 9},
]


def keys(changes):
    return {f"{key}.{part}" for one in changes for key in one for part in _parts(one[key])}


def _parts(value):
    return value if isinstance(value, dict) else [""]


def test_every_key_of_a_configuration_is_one_that_numbers_depend_on_or_not():
    every = {key for one in DEPENDS + INDEPENDENT for key in one}
    assert every == set(Config.model_fields)
    inside = {
        f"{name}.{key}"
        for name in ("geometry", "corpus")
        for key in type(getattr(config.validate({"suites": ["embedded"]}), name)).model_fields
    }
    assert inside <= keys(DEPENDS)


def laid_over(change, sweep):
    """A change of a suite's definition is laid over the suite of the sweep."""
    if "suites" not in change:
        return change
    suites = {
        name: {**sweep.raw["suites"][name], **more} for name, more in change["suites"].items()
    }
    return {"suites": suites}


@pytest.mark.parametrize("change", DEPENDS, ids=str)
def test_what_numbers_depend_on_changes_the_name_of_a_batch(one, change):
    assert one.fingerprint() == one.fingerprint()
    assert one.fingerprint(**laid_over(change, one)) != one.fingerprint()


@pytest.mark.parametrize("change", INDEPENDENT, ids=str)
def test_what_numbers_do_not_depend_on_changes_the_name_of_no_batch(one, change):
    before, after = one.plan(), one.plan(**change)
    assert after.tables(["s"]) == before.tables(["s"])


def test_a_seed_of_a_run_changes_the_name_of_its_batches(one):
    runs = {"r": {"path": str(one.run), "seed": 9}}
    assert one.fingerprint(suites={"s": {"source": "local", "runs": runs}}) != one.fingerprint()


def touch(path):
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns - 10**9))


def rewrite(path):
    """Other contents of another size, and the old time."""
    stat = path.stat()
    path.write_bytes(path.read_bytes() + b"!")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize("change", [touch, rewrite])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_files_that_change_change_the_name_of_a_batch(one, change, name):
    before = one.fingerprint()
    change(one.run / "checkpoint-1" / name)
    assert one.fingerprint() != before


@pytest.mark.parametrize("change", [touch, rewrite])
def test_a_text_that_changes_changes_the_name_of_a_batch(one, change):
    before = one.fingerprint()
    change(one.text)
    assert one.fingerprint() != before


def test_files_that_nothing_reads_change_nothing(one):
    before = one.fingerprint()
    (one.run / "checkpoint-1/optimizer.pt").write_bytes(b"x")
    assert one.fingerprint() == before


def test_a_new_version_changes_the_name_of_a_batch(one, monkeypatch):
    before = {one.fingerprint()}
    name, metric = next(iter(metrics.METRICS.items()))
    raised = dataclasses.replace(metric, version=metric.version + 1)
    monkeypatch.setitem(metrics.METRICS, name, raised)
    before.add(one.fingerprint())
    text = CORPORA["text"]
    raised = dataclasses.replace(text, version=text.version + 1)
    monkeypatch.setitem(CORPORA, "text", raised)
    before.add(one.fingerprint())
    monkeypatch.setattr(fingerprints, "FORMAT_VERSION", 99)
    before.add(one.fingerprint())
    monkeypatch.setattr(contracts, "VERSION", 99)
    before.add(one.fingerprint())
    assert len(before) == 5


def hub_batch(hub, **more):
    remote = {"hub": {"remote_code": ["hub"]}} if more.get("remote_code") else {}
    (batch,) = hub.plan(suites={"hub": {**HUB, **more}}, **remote).batches("hub")
    return batch.fingerprint


@pytest.mark.parametrize(
    "more",
    [
        {"ignored_weights": ["bias$"]},
        {"remote_code": True},
        {"tokens": {"per_step": 9}},
        {"tokenizer": "org/t"},
    ],
    ids=str,
)
def test_how_a_suite_of_the_hub_is_read_changes_the_name_of_its_batches(hub, more):
    assert hub_batch(hub, **more) != hub_batch(hub)


@pytest.mark.parametrize(
    "more",
    [
        {"title": "A title", "license": "MIT", "facts": [FACT]},
        {"accept": ["shares_file_with"]},
        {"grid": [1, 2, 3]},
        {"losses": {"a": "org/a:log.csv"}},
    ],
    ids=str,
)
def test_what_else_is_known_of_a_suite_changes_the_name_of_no_batch(hub, more):
    assert hub_batch(hub, **more) == hub_batch(hub)


def test_another_commit_changes_the_name_of_a_batch(hub):
    before = hub_batch(hub)
    path = hub.results / "listings/hub.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("commit of step2", "another commit"), encoding="utf-8")
    assert hub_batch(hub) != before


def test_the_recipe_of_a_training_changes_the_names_of_its_runs_batches_alone(sweep):
    sweep.raw["suites"] = {"t": TRAINED}

    def names(suite):
        plan = sweep.plan(suites={"t": suite})
        return {batch.run: batch.fingerprint for batch in plan.batches("t")}

    before, changed = names(TRAINED), copy.deepcopy(TRAINED)
    assert before["first"] != before["second"]
    changed["runs"]["first"]["learning_rate"] = 0.02
    after = names(changed)
    assert after["first"] != before["first"]
    assert after["second"] == before["second"]
    other = names({**TRAINED, "batch_size": 5})
    assert all(other[run] != before[run] for run in before)


def test_paths_are_what_the_rules_expect(one):
    plan = one.plan(budget={"checkpoints": {"s": "last"}})
    (batch,) = plan.batches("s")
    folder = plan.folder(batch)
    assert folder == f"s/r/checkpoint-1/{batch.fingerprint}"
    assert plan.tables(["s"]) == [f"geometry/{folder}/{name}.parquet" for name in BATCH_TABLES]
    (budget,) = plan.budgets(["s"])
    pattern = rf"budgets/s/r/checkpoint-1/{FINGERPRINT}\.parquet"
    assert re.fullmatch(pattern, budget)
    assert re.fullmatch(rf"plans/s/{FINGERPRINT}\.json", plan.record_file("s"))
    assert re.fullmatch(rf"settings/{FINGERPRINT}\.yaml", plan.measurement_file("s"))


def test_the_files_of_a_suite_are_all_that_is_joined(one):
    plan = one.plan(budget={"checkpoints": {"s": "last"}})
    parts = [*plan.tables(["s"]), *plan.budgets(["s"]), plan.record_file("s")]
    assert plan.files(["s"]) == [*parts, "manifests/s.parquet", "history/s.parquet"]


def test_the_rise_that_is_allowed_changes_budgets_alone(one):
    plans = [one.plan(budget={"checkpoints": {"s": "last"}, "rise": rise}) for rise in (0.01, 0.02)]
    first, second = (plan.budgets(["s"]) for plan in plans)
    assert len(first) == len(second) == 1
    assert first != second
    assert plans[0].tables(["s"]) == plans[1].tables(["s"])
    assert plans[0].measurement_file("s") == plans[1].measurement_file("s")


@pytest.mark.parametrize(
    "change", [{"corpora": ["random"]}, {"geometry": {"n_points": 99}}, {"corpus": {"last": {}}}]
)
def test_a_budget_depends_on_the_text_and_its_groups_alone(one, change):
    budget = {"budget": {"checkpoints": {"s": "last"}}}
    before = one.plan(**budget, corpus={"last": {"documents": 9}})
    after = one.plan(**budget, **{"corpus": {"last": {"documents": 9}}, **change})
    assert after.tables(["s"]) != before.tables(["s"])
    assert after.budgets(["s"]) == before.budgets(["s"])
    assert after.budget_file("s") == before.budget_file("s")


@pytest.mark.parametrize(
    "change", [{"geometry": {"groups": 7}}, {"corpus": {"seed": 9}}, {"corpus": {"documents": 9}}]
)
def test_a_budget_depends_on_how_the_text_is_cut(one, change):
    budget = {"budget": {"checkpoints": {"s": "last"}}}
    before, after = one.plan(**budget), one.plan(**budget, **change)
    assert after.budgets(["s"]) != before.budgets(["s"])
    assert after.budget_file("s") != before.budget_file("s")


def test_documents_that_no_corpus_reads_change_nothing(one):
    text = {"corpora": ["text"]}
    other = one.plan(**text, corpus={"last": {"documents": 9}})
    assert other.tables(["s"]) == one.plan(**text).tables(["s"])
    assert other.measurement_file("s") == one.plan(**text).measurement_file("s")


def test_a_budget_that_chooses_nothing_is_an_error(one):
    plan = one.plan(budget={"checkpoints": {"s": {"steps": [7]}}})
    with pytest.raises(ShapesweepError, match=r"budget\.checkpoints\.s: chooses none of the 1"):
        plan.budgets(["s"])


def test_a_choice_of_nothing_names_the_suite(one):
    with pytest.raises(ShapesweepError, match=r"^suites\.s: checkpoints: chooses none of the 1"):
        one.plan(checkpoints={"steps": [7]}).batches("s")


def test_later_checkpoints_leave_full_batches_as_they_are(sweep):
    sweep.train(*range(10))
    before = [sweep.plan().folder(batch) for batch in sweep.plan().batches("s")]
    sweep.train(10, 11, 12)
    plan = sweep.plan()
    after = [plan.folder(batch) for batch in plan.batches("s")]
    assert len(before) == 3 and len(after) == 4
    assert after[:2] == before[:2]
    assert after[2] != before[2]
    # Together they are all checkpoints, each once.
    revisions = [name for batch in plan.batches("s") for name in batch.revisions]
    assert revisions == [f"checkpoint-{n}" for n in range(13)]


def test_a_name_stands_for_the_same_checkpoints_when_the_run_has_grown(sweep):
    sweep.train(*range(6))
    _, before = sweep.plan().batches("s")
    assert before.name == "checkpoint-4+1"
    sweep.train(6, 7, 8)
    plan = sweep.plan()
    assert before.name not in [batch.name for batch in plan.batches("s")]
    after = plan.batch("s", "r", before.name)
    assert after.revisions == before.revisions
    assert plan.folder(after) == sweep.plan().folder(before)
    # So does the revision of a checkpoint by itself.
    assert plan.batch("s", "r", "checkpoint-6").revisions == ["checkpoint-6"]


def test_what_failed_for_now_is_tried_again_under_another_name(sweep):
    sweep.train(1, 2)
    plan = sweep.plan()
    (batch,) = plan.batches("s")
    first = plan.folder(batch)
    sweep.fail(first, 1)
    # What a sweep adds itself does not change its plan.
    assert plan.folder(batch) == first
    again = sweep.plan()
    assert again.folder(batch) == f"{first}-2"
    assert re.fullmatch(FINGERPRINT, again.folder(batch).rpartition("/")[2])
    sweep.fail(f"{first}-2", 3)
    assert sweep.plan().folder(batch) == f"{first}-3"
    sweep.fail(f"{first}-3", 0)
    assert sweep.plan().folder(batch) == f"{first}-3"


def test_what_failed_for_good_is_not_tried_again(sweep):
    sweep.train(1)
    (batch,) = sweep.plan().batches("s")
    first = sweep.plan().folder(batch)
    sweep.fail(first, 0)
    assert sweep.plan().folder(batch) == first
    # A table that is damaged is named by the job that reads it.
    path = sweep.results / "geometry" / first / "failures.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    assert sweep.plan().folder(batch) == first


@pytest.mark.parametrize(("n_transient", "attempt"), [(0, ""), (1, "-2")])
def test_a_budget_that_failed_for_now_is_tried_again(one, n_transient, attempt):
    more = {"budget": {"checkpoints": {"s": "last"}}}
    (path,) = one.plan(**more).budgets(["s"])
    metadata = {"transient": n_transient}
    tables.write([], contracts.BUDGETS, one.results / path, metadata)
    assert one.plan(**more).budgets(["s"]) == [path.replace(".parquet", f"{attempt}.parquet")]


@pytest.mark.parametrize(("kind", "attempt"), [(CheckpointError, ""), (TransientError, "-2")])
def test_a_tokenizer_that_failed_for_now_is_tried_again(hub, kind, attempt):
    path = hub.plan().tokenizer("hub", "a")
    assert re.fullmatch(rf"tokenizers/hub/a/{FINGERPRINT}", path)
    (hub.results / path).mkdir(parents=True)
    failures.record(hub.results / path, Checkpoint("hub", "a", "step1"), kind("no answer"))
    assert hub.plan().tokenizer("hub", "a") == path + attempt


def test_another_place_of_a_tokenizer_is_another_folder(hub):
    other = hub.plan(suites={"hub": {**HUB, "tokenizer": "org/t"}})
    assert other.tokenizer("hub", "a") != hub.plan().tokenizer("hub", "a")


def listing_of(folder):
    """Every path in a folder, with its size and time."""
    stats = [(path, path.stat()) for path in sorted(folder.rglob("*"))]
    return [(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in stats]


def test_nothing_is_written_while_a_plan_is_made(sweep, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sweep.train(*range(6))
    list_hub(sweep.results)
    sweep.raw["suites"] |= {"hub": HUB, "t": TRAINED}
    sweep.raw["budget"] = {"checkpoints": {"s": "last", "hub": "all"}}
    sweep.raw["scratch"] = str(tmp_path / "scratch")
    before = listing_of(tmp_path)
    plan = sweep.plan()
    for suite in plan.suites:
        for batch in plan.batches(suite):
            plan.folder(batch)
            plan.disk_bytes(batch)
            plan.claim_seconds(batch)
            plan.geometry_minutes(batch)
            plan.budget_minutes(suite, batch.run)
        plan.settings_text(Path(plan.measurement_file(suite)).stem)
        plan.trained(suite)
    plan.files(plan.suites)
    plan.downloads()
    plan.tokenizer("hub", "a")
    plan.asked("hub")
    plan.naming("hub")
    plan.recipe("t", "first")
    assert listing_of(tmp_path) == before


def test_a_new_plan_knows_the_texts_of_all_settings_files(sweep):
    sweep.train(1)
    list_hub(sweep.results)
    sweep.raw["suites"] |= {"hub": {**HUB, "ignored_weights": ["bias$"]}, "t": TRAINED}

    def read(path):
        # A job on a cluster asks a plan of its own.
        return yaml.safe_load(sweep.plan().settings_text(Path(path).stem))

    plan = sweep.plan()
    for suite in plan.suites:
        settings = plan.config.measurement(suite)
        assert read(plan.measurement_file(suite)) == settings.model_dump()
        assert sweep.plan().settings_text(
            Path(plan.measurement_file(suite)).stem
        ) == measurement.as_yaml(settings)
        assert read(plan.budget_file(suite)) == settings.for_budget.model_dump()
    assert plan.measurement_file("hub") != plan.measurement_file("s")


def test_jobs_are_given_the_part_of_a_definition_that_they_read(sweep):
    sweep.raw["suites"] = {"hub": HUB, "t": TRAINED}
    list_hub(sweep.results)
    plan = sweep.plan()
    found = SUITE.validate_json(plan.recipe("t", "first"))
    assert found.runs == {"first": plan.suites["t"].runs["first"]}
    assert fingerprints.training(found, "first") == fingerprints.training(plan.suites["t"], "first")
    found = SUITE.validate_json(plan.asked("hub"))
    assert found.listing_key() == plan.suites["hub"].listing_key()
    for key, value in {"accept": ["discontinuous"], "losses": {"a": "log.csv"}}.items():
        other = sweep.plan(suites={"hub": {**HUB, key: value}, "t": TRAINED})
        assert other.asked("hub") == plan.asked("hub")
        assert other.naming("hub") == plan.naming("hub")


def test_the_job_of_a_tokenizer_finds_every_run(hub):
    phases = {"match": r"(?P<phase>stage\d)-step(?P<step>\d+)", "main_step": 9}
    phases["phases"] = {"stage2": {"own_run": True}}
    list_hub(hub.results, revisions=["stage1-step1", "stage2-step1", "main"])
    plan = hub.plan(suites={"hub": {**HUB, **phases}})
    suite = SUITE.validate_json(plan.naming("hub"))
    runs = [batch.run for batch in plan.batches("hub")]
    assert sorted(set(runs)) == ["a", "a.stage2"]
    for run in runs:
        _, expected = checkpoints.tokenizers("hub", plan.suites["hub"], hub.results, run)
        assert expected
        assert checkpoints.tokenizers("hub", suite, hub.results, run)[1] == expected


@pytest.mark.parametrize("change", [{"device": "cpu"}, {"batch_tokens": 9}, {"scratch": "/s"}])
def test_a_settings_file_changes_with_what_its_job_reads_alone(one, change):
    assert one.plan(**change).measurement_file("s") == one.plan().measurement_file("s")


def test_a_recipe_is_that_of_its_run_alone(sweep):
    def recipe(run, **more):
        suites = copy.deepcopy({"t": TRAINED})
        suites["t"]["runs"]["second"] |= more
        return sweep.plan(suites=suites).recipe("t", run)

    assert recipe("first", learning_rate=0.5) == recipe("first")
    assert recipe("second", learning_rate=0.5) != recipe("second")


def test_downloads_are_the_folders_of_the_batches_on_the_hub(sweep):
    sweep.train(1)
    sweep.raw["suites"] |= {"hub": HUB}
    # Before a suite is listed, what is left over of it is not known.
    assert sweep.plan().downloads() is None
    list_hub(sweep.results, revisions=[f"step{n}" for n in range(6)])
    plan = sweep.plan()
    assert plan.downloads() == [plan.folder(batch) for batch in plan.batches("hub")]
    assert [name.split("/")[2] for name in plan.downloads()] == ["step0+3", "step4+1"]


def test_what_is_finished_is_not_downloaded(hub):
    list_hub(hub.results, revisions=[f"step{n}" for n in range(6)])
    more = {"budget": {"checkpoints": {"hub": "last"}}}
    plan = hub.plan(**more)
    budgeted, full, rest = (plan.folder(batch) for batch in plan.batches("hub"))
    assert plan.downloads() == [budgeted, full, rest]
    done = [path for path in plan.tables(["hub"]) if f"/{full}/" in path or f"/{budgeted}/" in path]
    for path in done:
        (hub.results / path).parent.mkdir(parents=True, exist_ok=True)
        (hub.results / path).touch()
    # The weights of one are wanted for its budget, too.
    assert hub.plan(**more).downloads() == [budgeted, rest]
    (path,) = plan.budgets(["hub"])
    (hub.results / path).parent.mkdir(parents=True)
    (hub.results / path).touch()
    assert hub.plan(**more).downloads() == [rest]
    (hub.results / done[-1]).unlink()
    assert hub.plan(**more).downloads() == [full, rest]


def test_a_sweep_without_the_hub_has_no_downloads(one):
    assert one.plan().downloads() == []


def test_a_suite_on_the_hub_needs_its_listing(sweep):
    plan = sweep.plan(suites={"hub": HUB})
    assert plan.listable == plan.published == ["hub"]
    with pytest.raises(ShapesweepError, match=r"hub\.json: no such file"):
        plan.batches("hub")


def test_a_record_is_what_manifest_history_and_join_depend_on(sweep):
    sweep.train(*range(6))
    plan = sweep.plan(budget={"checkpoints": {"s": {"steps": [0]}}})
    record = json.loads(plan.record("s"))
    assert record["suite"] == "s"
    assert record["checkpoints"] == "all"
    assert record["budgets"] == plan.budgets(["s"])
    assert [batch["folder"] for batch in record["batches"]] == [
        plan.folder(batch) for batch in plan.batches("s")
    ]
    assert [batch["revisions"] for batch in record["batches"]] == [
        batch.revisions for batch in plan.batches("s")
    ]
    assert plan.record_file("s") == f"plans/s/{digest(plan.record('s'))}.json"


def test_a_record_changes_with_checkpoints_logs_and_what_is_accepted(sweep):
    sweep.train(0, 5)
    chosen = {"checkpoints": {"steps": [0]}}
    found = [sweep.plan(**chosen).record_file("s")]
    assert sweep.plan(**chosen).record_file("s") == found[0]
    # A checkpoint that is not chosen is a row of the manifest.
    sweep.train(9)
    found.append(sweep.plan(**chosen).record_file("s"))
    (sweep.run / "checkpoint-9/trainer_state.json").write_text("{}", encoding="utf-8")
    found.append(sweep.plan(**chosen).record_file("s"))
    found.append(sweep.plan().record_file("s"))
    suite = {**sweep.raw["suites"]["s"], "accept": ["discontinuous"]}
    found.append(sweep.plan(suites={"s": suite}).record_file("s"))
    found.append(sweep.plan(geometry={"n_points": 99}).record_file("s"))
    assert len(set(found)) == 6


def test_what_people_read_about_a_suite_changes_no_record(hub):
    titled = hub.plan(suites={"hub": {**HUB, "title": "A title", "facts": [FACT]}})
    assert titled.record_file("hub") == hub.plan().record_file("hub")


def test_a_batch_that_is_larger_than_the_disk_is_an_error(hub):
    plan = hub.plan()
    (batch,) = plan.batches("hub")
    needed = sum(costs.footprint(model, plan.config) for model in batch.models)
    assert plan.disk_bytes(batch) == needed
    small = hub.plan(hub={"disk_gb": 1e-4})
    with pytest.raises(ShapesweepError, match=r"hub\.disk_gb: hub/a/step1 needs .*, 0\.0001 are"):
        small.disk_bytes(small.batch("hub", "a", "step1"))


def test_a_claim_on_a_disk_of_one_node_ends(hub):
    (batch,) = hub.plan().batches("hub")
    assert hub.plan().claim_seconds(batch) == float("inf")
    there = hub.plan(scratch="/scratch")
    least = 60 * (costs.DOWNLOAD_MINUTES + there.geometry_minutes(batch))
    assert least < there.claim_seconds(batch) < float("inf")


def test_more_checkpoints_are_given_more_time(sweep):
    sweep.train(*range(4))
    plan = sweep.plan(geometry={"n_points": 100_000})
    (batch,) = plan.batches("s")
    alone = plan.batch("s", "r", "checkpoint-2")
    assert plan.geometry_minutes(batch) > plan.geometry_minutes(alone) > costs.LEAST_MINUTES


def test_what_spikes_are_asked_of_is_measured_beside_the_sweep(sweep, tmp_path):
    sweep.train(1)
    for step in (1, 2):
        write_checkpoint(tmp_path / f"other/checkpoint-{step}")
    other = {"source": "local", "runs": {"r": str(tmp_path / "other")}}
    more = {"corpora": ["text", "random"], "checkpoints": {"steps": [1]}}
    plan = sweep.plan(spikes={"suites": {"other": other}, "corpora": ["text"]}, **more)
    assert set(plan.suites) == {"s", "other"}
    assert plan.settings("other").corpora == ["text"]
    assert plan.settings("s").corpora == ["text", "random"]
    # The sweep's choice of checkpoints is not theirs.
    assert [one.step for one in plan.selected("other").values()] == [1]
    assert plan.budgets(["other"]) == []


def test_contents_tell_what_names_sizes_and_times_do_not(one, tmp_path):
    """Fingerprints of contents are the same wherever a file lies, and whenever it was written."""
    settings = one.plan().config.measurement("s")
    checkpoint = Checkpoint("s", "r", "checkpoint-1", step=1, commit="c")
    folder = one.run / "checkpoint-1"

    def contents(**more):
        changed = dataclasses.replace(checkpoint, **more)
        return fingerprints.contents(changed, folder, settings)

    before = contents()
    for path in (one.text, folder / "tokenizer.json"):
        touch(path)
    assert contents(folder="elsewhere", status=("x",), chosen=False) == before
    assert (
        fingerprints.contents(
            checkpoint, folder, settings.model_copy(update={"device": "cpu", "batch_tokens": 9})
        )
        == before
    )
    shutil.copytree(folder, tmp_path / "copy")
    assert fingerprints.contents(checkpoint, tmp_path / "copy", settings) == before
    for more in ({"commit": "d"}, {"seed": 9}, {"step": 9}, {"tokens": 9}, {"revision": "x"}):
        assert contents(**more) != before
    rewrite(folder / "tokenizer.json")
    assert contents() != before
    before = contents()
    rewrite(one.text)
    assert contents() != before


def test_other_numbers_need_no_other_contents(one):
    checkpoint = Checkpoint("s", "r", "checkpoint-1", step=1, commit="c")
    one_, other = (one.plan(geometry={"n_points": n}).config.measurement("s") for n in (100, 200))
    folder = one.run / "checkpoint-1"
    assert fingerprints.contents(checkpoint, folder, one_) == fingerprints.contents(
        checkpoint, folder, other
    )
    assert fingerprints.numbers(one_) != fingerprints.numbers(other)
