"""The plan: which jobs there are, what they read and write, and what they need."""

import copy
import json
import re
from pathlib import Path

import pytest
import yaml

from helpers.plans import FACT, HUB, TRAINED, list_hub, write_checkpoint
from shapesweep.config import measurement
from shapesweep.config.suite import SUITE
from shapesweep.errors import CheckpointError, ShapesweepError, TransientError
from shapesweep.manifest import checkpoints
from shapesweep.plan import costs, definitions, fingerprints
from shapesweep.plan.attempts import NAME as FINGERPRINT
from shapesweep.plan.workflow import BATCH_TABLES
from shapesweep.storage import failures, schemas, tables
from shapesweep.storage.digests import digest
from shapesweep.storage.manifests import Checkpoint


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


def test_a_budget_that_chooses_nothing_is_an_error(one):
    plan = one.plan(budget={"checkpoints": {"s": {"steps": [7]}}})
    with pytest.raises(ShapesweepError, match=r"budget\.checkpoints\.s: chooses none of 1"):
        plan.budgets(["s"])


def test_a_choice_of_nothing_names_the_suite(one):
    with pytest.raises(ShapesweepError, match=r"^suites\.s: checkpoints: chooses none of 1"):
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
    old = sweep.plan()
    _, before = old.batches("s")
    record_file, record = old.record_file("s"), old.record("s")
    assert before.name == "checkpoint-4+1"
    sweep.train(6, 7, 8)
    plan = sweep.plan()
    assert before.name not in [batch.name for batch in plan.batches("s")]
    after = plan.batch("s", "r", before.name)
    assert after.revisions == before.revisions
    # The checkpoints that it was planned with are on record, whatever is chosen now.
    path = sweep.results / record_file
    path.parent.mkdir(parents=True)
    path.write_text(record, encoding="utf-8")
    assert plan.recorded("s", old.folder(before))["revisions"] == before.revisions
    assert plan.recorded("s", "s/r/another/0123456789ab") is None
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
    tables.write([], schemas.BUDGETS, one.results / path, metadata)
    assert one.plan(**more).budgets(["s"]) == [path.replace(".parquet", f"{attempt}.parquet")]


@pytest.mark.parametrize(("kind", "attempt"), [(CheckpointError, ""), (TransientError, "-2")])
def test_a_tokenizer_that_failed_for_now_is_tried_again(hub, kind, attempt):
    path = hub.plan().tokenizer("hub", "a")
    assert re.fullmatch(rf"tokenizers/hub/a/{FINGERPRINT}", path)
    (hub.results / path).mkdir(parents=True)
    failures.record(hub.results / path, Checkpoint("hub", "a", "step1"), kind("no answer"))
    assert hub.plan().tokenizer("hub", "a") == path + attempt


def test_the_folder_of_a_tokenizer_stands_for_its_contents(hub):
    path = hub.results / "listings/hub.json"
    tokenizer, tables = hub.plan().tokenizer("hub", "a"), hub.plan().tables(["hub"])
    listed = json.loads(path.read_bytes())
    branches, trees = listed["org/a"]["branches"], listed["org/a"]["trees"]
    trees["another commit"] = trees.pop(branches["step2"])
    branches["step2"] = "another commit"
    path.write_text(json.dumps(listed), encoding="utf-8")
    assert hub.plan().tokenizer("hub", "a") == tokenizer
    assert hub.plan().tables(["hub"]) != tables
    (file,) = (file for file in trees["another commit"] if file["path"] == "tokenizer.json")
    file["blob"] = "another"
    path.write_text(json.dumps(listed), encoding="utf-8")
    assert hub.plan().tokenizer("hub", "a") != tokenizer


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
    assert listing_of(tmp_path) == before


def test_a_new_plan_knows_the_texts_of_all_settings_files(sweep):
    sweep.train(1)
    list_hub(sweep.results)
    sweep.raw["suites"] |= {"hub": {**HUB, "ignored_weights": ["bias$"]}, "t": TRAINED}

    def read(path):
        # A job on a cluster makes a new plan.
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
    found = SUITE.validate_json(definitions.for_training("t", plan.suites["t"], "first"))
    assert found.runs == {"first": plan.suites["t"].runs["first"]}
    assert fingerprints.training(found, "first") == fingerprints.training(plan.suites["t"], "first")
    found = SUITE.validate_json(definitions.for_listing("hub", plan.suites["hub"]))
    assert found.listing_key() == plan.suites["hub"].listing_key()
    for key, value in {"accept": ["discontinuous"], "losses": {"a": "log.csv"}}.items():
        other = sweep.plan(suites={"hub": {**HUB, key: value}, "t": TRAINED}).suites["hub"]
        assert definitions.for_listing("hub", other) == definitions.for_listing(
            "hub", plan.suites["hub"]
        )
        assert definitions.for_tokenizer("hub", other, "a") == definitions.for_tokenizer(
            "hub", plan.suites["hub"], "a"
        )


def test_the_job_of_a_tokenizer_finds_every_run(hub):
    phases = {"match": r"(?P<phase>stage\d)-step(?P<step>\d+)", "main_step": 9}
    phases["phases"] = {"stage2": {"own_run": True}}
    list_hub(hub.results, revisions=["stage1-step1", "stage2-step1", "main"])
    plan = hub.plan(suites={"hub": {**HUB, **phases}})
    whole = plan.suites["hub"]
    runs = [batch.run for batch in plan.batches("hub")]
    assert sorted(set(runs)) == ["a", "a.stage2"]
    for run in runs:
        alone = SUITE.validate_json(definitions.for_tokenizer("hub", whole, run))
        _, places = checkpoints.tokenizers("hub", whole, hub.results, run)
        expected = list(places)
        assert expected
        assert list(checkpoints.tokenizers("hub", alone, hub.results, run)[1]) == expected


def test_a_definition_that_is_too_long_for_a_command_is_an_error(hub):
    names = [f"org/{number:099}" for number in range(1000)]
    suite = hub.plan(suites={"hub": {**HUB, "repositories": names}}).suites["hub"]
    with pytest.raises(ShapesweepError, match=r"suites\.hub: more than 100 kB; name repositories"):
        definitions.for_listing("hub", suite)


@pytest.mark.parametrize("change", [{"device": "cpu"}, {"batch_tokens": 9}, {"scratch": "/s"}])
def test_a_settings_file_changes_with_what_its_job_reads_alone(one, change):
    assert one.plan(**change).measurement_file("s") == one.plan().measurement_file("s")


def test_a_recipe_is_that_of_its_run_alone(sweep):
    def recipe(run, **more):
        suites = copy.deepcopy({"t": TRAINED})
        suites["t"]["runs"]["second"] |= more
        return definitions.for_training("t", sweep.plan(suites=suites).suites["t"], run)

    assert recipe("first", learning_rate=0.5) == recipe("first")
    assert recipe("second", learning_rate=0.5) != recipe("second")


def test_downloads_are_the_folders_of_the_batches_on_the_hub(sweep):
    sweep.train(1)
    sweep.raw["suites"] |= {"hub": HUB}
    # Before a suite is listed, what is left over of it is not known.
    assert sweep.plan().downloads() is None
    list_hub(sweep.results, revisions=[f"step{n}" for n in range(6)])
    plan = sweep.plan()
    assert plan.downloads() == [plan.download(batch) for batch in plan.batches("hub")]
    assert [name.split("/")[2] for name in plan.downloads()] == ["step0+3", "step4+1"]


def test_what_is_finished_is_not_downloaded(hub):
    list_hub(hub.results, revisions=[f"step{n}" for n in range(6)])
    more = {"budget": {"checkpoints": {"hub": "last"}}}
    plan = hub.plan(**more)
    budgeted, full, rest = (plan.download(batch) for batch in plan.batches("hub"))
    assert plan.downloads() == [budgeted, full, rest]
    places = [plan.folder(batch) for batch in plan.batches("hub")][:2]
    done = [path for path in plan.tables(["hub"]) if any(f"/{one}/" in path for one in places)]
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


def test_files_are_fetched_for_what_is_to_be_measured(hub):
    """A download that another sweep has left may lack what was measured then."""
    more = {"budget": {"checkpoints": {"hub": "last"}}}
    plan = hub.plan(**more)
    batch, *_ = plan.batches("hub")
    names = {plan.download(batch)}
    rise = {"budget": {**more["budget"], "rise": 0.5}}
    for other in (hub.plan(**more, geometry={"n_points": 99}), hub.plan(**rise)):
        names.add(other.download(other.batches("hub")[0]))
    hub.fail(plan.folder(batch), 1)
    names.add(hub.plan(**more).download(batch))
    assert len(names) == 4
    # Jobs that run by themselves find it in the record, by any of their outputs.
    path = hub.results / plan.record_file("hub")
    path.parent.mkdir(parents=True)
    path.write_text(plan.record("hub"), encoding="utf-8")
    for output in (plan.folder(batch), plan.download(batch), *plan.budgets_of(batch)):
        assert hub.plan(**more).recorded("hub", output)["download"] == plan.download(batch)


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
