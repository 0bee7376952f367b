"""The plan states which jobs exist, what each job reads and writes, and what each job needs."""

import copy
import json
import re
from functools import partial
from pathlib import Path

import pytest

from helpers.plans import EXPECTED, FACT, HUB, TRAINED, list_hub, write, write_checkpoint
from shapesweep.config import measurement
from shapesweep.config.hub_suite import Expected
from shapesweep.config.suite import SUITE
from shapesweep.errors import CheckpointError, ShapesweepError, TransientError
from shapesweep.manifest import checkpoints, logs
from shapesweep.plan import costs, definitions, fingerprints
from shapesweep.plan.attempts import NAME as FINGERPRINT
from shapesweep.plan.workflow import BATCH_TABLES
from shapesweep.storage import failures, schemas, tables
from shapesweep.storage.digests import digest
from shapesweep.storage.manifests import Checkpoint


def test_paths_match_the_rules(one):
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
    # The rule `join` reads all files of a suite.
    parts = [*plan.tables(["s"]), budget, plan.record_file("s")]
    assert plan.files(["s"]) == [*parts, "manifests/s.parquet", "history/s.parquet"]


def test_budget_rule_that_selects_nothing_is_an_error(one):
    plan = one.plan(budget={"checkpoints": {"s": {"steps": [7]}}})
    with pytest.raises(ShapesweepError, match=r"budget\.checkpoints\.s: chooses none of 1"):
        plan.budgets(["s"])


def test_error_for_a_rule_that_selects_nothing_names_the_suite(one):
    with pytest.raises(ShapesweepError, match=r"^suites\.s: checkpoints: chooses none of 1"):
        one.plan(checkpoints={"steps": [7]}).batches("s")


def test_name_of_a_batch_keeps_its_checkpoints_after_the_run_has_grown(sweep):
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
    # The record of the old plan still contains the checkpoints of that plan.
    write(sweep.results / record_file, record)
    assert plan.recorded("s", old.folder(before))["revisions"] == before.revisions
    assert plan.recorded("s", "s/r/another/0123456789ab") is None
    assert plan.folder(after) == sweep.plan().folder(before)
    # A batch of a single checkpoint is named after its revision.
    assert plan.batch("s", "r", "checkpoint-6").revisions == ["checkpoint-6"]


def test_transient_failure_is_retried_under_another_name(sweep):
    sweep.train(1, 2)
    plan = sweep.plan()
    (batch,) = plan.batches("s")
    first = plan.folder(batch)
    sweep.fail(first, 1)
    # The plan of a sweep does not change while the sweep adds results.
    assert plan.folder(batch) == first
    again = sweep.plan()
    assert again.folder(batch) == f"{first}-2"
    assert re.fullmatch(FINGERPRINT, again.folder(batch).rpartition("/")[2])
    sweep.fail(f"{first}-2", 3)
    assert sweep.plan().folder(batch) == f"{first}-3"
    sweep.fail(f"{first}-3", 0)
    assert sweep.plan().folder(batch) == f"{first}-3"


def test_permanent_failure_is_not_retried(sweep):
    sweep.train(1)
    (batch,) = sweep.plan().batches("s")
    first = sweep.plan().folder(batch)
    sweep.fail(first, 0)
    assert sweep.plan().folder(batch) == first
    # The plan ignores a damaged table. The job that reads the table reports the damage.
    path = sweep.results / "geometry" / first / "failures.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    assert sweep.plan().folder(batch) == first


@pytest.mark.parametrize(("n_transient", "attempt"), [(0, ""), (1, "-2")])
def test_transient_failure_of_a_budget_is_retried(one, n_transient, attempt):
    more = {"budget": {"checkpoints": {"s": "last"}}}
    (path,) = one.plan(**more).budgets(["s"])
    metadata = {"transient": n_transient}
    tables.write([], schemas.BUDGETS, one.results / path, metadata)
    assert one.plan(**more).budgets(["s"]) == [path.replace(".parquet", f"{attempt}.parquet")]


@pytest.mark.parametrize(("kind", "attempt"), [(CheckpointError, ""), (TransientError, "-2")])
def test_transient_failure_of_a_tokenizer_is_retried(hub, kind, attempt):
    path = hub.plan().tokenizer("hub", "a")
    assert re.fullmatch(rf"tokenizers/hub/a/{FINGERPRINT}", path)
    (hub.results / path).mkdir(parents=True)
    failures.record(hub.results / path, Checkpoint("hub", "a", "step1"), kind("no answer"))
    assert hub.plan().tokenizer("hub", "a") == path + attempt


def test_folder_of_a_tokenizer_depends_only_on_its_contents(hub):
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
    """Return every path in a folder, with its size and modification time."""
    stats = [(path, path.stat()) for path in sorted(folder.rglob("*"))]
    return [(str(path), stat.st_size, stat.st_mtime_ns) for path, stat in stats]


def test_planning_writes_no_files(sweep, tmp_path, monkeypatch):
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


def test_new_plan_has_the_text_of_every_settings_file(sweep):
    sweep.train(1)
    list_hub(sweep.results)
    sweep.raw["suites"] |= {"hub": {**HUB, "ignored_weights": ["bias$"]}, "t": TRAINED}

    def text(path):
        # A job on a cluster makes its own plan.
        return sweep.plan().settings_text(Path(path).stem)

    plan = sweep.plan()
    for suite in plan.suites:
        settings = plan.config.measurement(suite)
        assert text(plan.measurement_file(suite)) == measurement.as_yaml(settings)
        assert text(plan.budget_file(suite)) == measurement.as_yaml(settings.for_budget)
    assert plan.measurement_file("hub") != plan.measurement_file("s")


def test_jobs_get_only_the_part_of_a_definition_that_they_read(sweep):
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
        for define in (definitions.for_listing, partial(definitions.for_tokenizer, run="a")):
            assert define("hub", other) == define("hub", plan.suites["hub"])


def test_tokenizer_job_finds_every_run(hub):
    phases = {"match": r"(?P<phase>stage\d)-step(?P<step>\d+)", "main_step": 9}
    phases["phases"] = {"stage2": {"own_run": True}}
    list_hub(hub.results, revisions=["stage1-step1", "stage2-step1", "main"])
    plan = hub.plan(suites={"hub": {**HUB, **phases}})
    whole = plan.suites["hub"]
    runs = [batch.run for batch in plan.batches("hub")]
    assert sorted(set(runs)) == ["a", "a.stage2"]
    for run in runs:
        alone = SUITE.validate_json(definitions.for_tokenizer("hub", whole, run))
        found = [
            list(checkpoints.tokenizers("hub", suite, hub.results, run)[1])
            for suite in (whole, alone)
        ]
        assert found[0] == found[1] != []


def test_definition_too_long_for_a_command_is_an_error(hub):
    names = [f"org/{number:099}" for number in range(1000)]
    suite = hub.plan(suites={"hub": {**HUB, "repositories": names}}).suites["hub"]
    with pytest.raises(ShapesweepError, match=r"suites\.hub: the definition has more than 100 kB"):
        definitions.for_listing("hub", suite)


def test_recipe_depends_only_on_its_run(sweep):
    def recipe(run, **more):
        suites = copy.deepcopy({"t": TRAINED})
        suites["t"]["runs"]["second"] |= more
        return definitions.for_training("t", sweep.plan(suites=suites).suites["t"], run)

    assert recipe("first", learning_rate=0.5) == recipe("first")
    assert recipe("second", learning_rate=0.5) != recipe("second")


def test_downloads_are_the_folders_of_hub_batches(sweep):
    sweep.train(1)
    sweep.raw["suites"] |= {"hub": HUB}
    # Until all suites are listed, it is unknown which downloads are still needed.
    assert sweep.plan().downloads() is None
    list_hub(sweep.results, revisions=[f"step{n}" for n in range(6)])
    plan = sweep.plan()
    assert plan.downloads() == [plan.download(batch) for batch in plan.batches("hub")]
    assert [name.split("/")[2] for name in plan.downloads()] == ["step0+3", "step4+1"]


def test_finished_batches_are_not_downloaded(hub):
    list_hub(hub.results, revisions=[f"step{n}" for n in range(6)])
    more = {"budget": {"checkpoints": {"hub": "last"}}}
    plan = hub.plan(**more)
    budgeted, full, rest = (plan.download(batch) for batch in plan.batches("hub"))
    assert plan.downloads() == [budgeted, full, rest]
    folders = [plan.folder(batch) for batch in plan.batches("hub")][:2]
    done = [path for path in plan.tables(["hub"]) if any(f"/{name}/" in path for name in folders)]
    for path in done:
        write(hub.results / path)
    # The weights of the first batch are still needed for the dimension budget.
    assert hub.plan(**more).downloads() == [budgeted, rest]
    (path,) = plan.budgets(["hub"])
    write(hub.results / path)
    assert hub.plan(**more).downloads() == [rest]
    (hub.results / done[-1]).unlink()
    assert hub.plan(**more).downloads() == [full, rest]


def test_download_folder_depends_on_what_is_to_be_measured(hub):
    """A sweep downloads only what it has to measure, so another sweep may need more files."""
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
    # The record contains the download of each output, for jobs in separate processes.
    write(hub.results / plan.record_file("hub"), plan.record("hub"))
    for output in (plan.folder(batch), plan.download(batch), *plan.budgets_of(batch)):
        assert hub.plan(**more).recorded("hub", output)["download"] == plan.download(batch)


def test_sweep_without_the_hub_has_no_downloads(one):
    assert one.plan().downloads() == []


def test_suite_on_the_hub_needs_its_listing(sweep):
    plan = sweep.plan(suites={"hub": HUB})
    assert plan.listable == plan.published == ["hub"]
    with pytest.raises(ShapesweepError, match=r"hub\.json: no such file"):
        plan.batches("hub")


def test_record_has_what_manifest_history_and_join_depend_on(sweep):
    sweep.train(*range(6))
    plan = sweep.plan(budget={"checkpoints": {"s": {"steps": [0]}}})
    record = json.loads(plan.record("s"))
    assert (record["suite"], record["checkpoints"]) == ("s", "all")
    assert record["budgets"] == plan.budgets(["s"])
    assert [(batch["folder"], batch["revisions"]) for batch in record["batches"]] == [
        (plan.folder(batch), batch.revisions) for batch in plan.batches("s")
    ]
    assert plan.record_file("s") == f"plans/s/{digest(plan.record('s'))}.json"


def test_record_depends_on_checkpoints_logs_and_accepted_flags(sweep):
    sweep.train(0, 5)
    chosen = {"checkpoints": {"steps": [0]}}
    found = [sweep.plan(**chosen).record_file("s")]
    assert sweep.plan(**chosen).record_file("s") == found[0]
    # A new checkpoint changes the record even if it is not selected, because the manifest lists it.
    sweep.train(9)
    found.append(sweep.plan(**chosen).record_file("s"))
    (sweep.run / "checkpoint-9/trainer_state.json").write_text("{}", encoding="utf-8")
    found.append(sweep.plan(**chosen).record_file("s"))
    found.append(sweep.plan().record_file("s"))
    suite = {**sweep.raw["suites"]["s"], "accept": ["discontinuous"]}
    found.append(sweep.plan(suites={"s": suite}).record_file("s"))
    found.append(sweep.plan(geometry={"n_points": 99}).record_file("s"))
    assert len(set(found)) == 6


def test_record_depends_on_how_logs_are_read(sweep, monkeypatch):
    sweep.train(0)
    found = sweep.plan().record_file("s")
    monkeypatch.setattr(logs, "VERSION", logs.VERSION + 1)
    assert sweep.plan().record_file("s") != found


def test_title_and_facts_of_a_suite_do_not_change_its_record(hub):
    titled = hub.plan(suites={"hub": {**HUB, "title": "A title", "facts": [FACT]}})
    assert titled.record_file("hub") == hub.plan().record_file("hub")


@pytest.mark.parametrize(
    "keys", [EXPECTED, {"repositories": [{"repository": "org/a", **EXPECTED}]}]
)
def test_what_the_hub_should_have_changes_neither_the_record_nor_any_job(hub, keys):
    assert set(EXPECTED) == set(Expected.model_fields)
    plans = [hub.plan(), hub.plan(suites={"hub": {**HUB, **keys}})]
    jobs = [
        (
            plan.record("hub"),
            plan.suites["hub"].listing_key(),
            definitions.for_listing("hub", plan.suites["hub"]),
            definitions.for_tokenizer("hub", plan.suites["hub"], "a"),
        )
        for plan in plans
    ]
    assert jobs[0] == jobs[1]


def test_batch_larger_than_the_disk_budget_is_an_error(hub):
    plan = hub.plan()
    (batch,) = plan.batches("hub")
    needed = sum(costs.footprint(model, plan.config) for model in batch.models)
    assert plan.disk_bytes(batch) == needed
    small = hub.plan(hub={"disk_gb": 1e-4})
    with pytest.raises(ShapesweepError, match=r"hub/a/step1 needs .*, but the limit is 0\.0001 GB"):
        small.disk_bytes(small.batch("hub", "a", "step1"))


def test_claim_on_the_local_disk_of_a_node_expires(hub):
    (batch,) = hub.plan().batches("hub")
    assert hub.plan().claim_seconds(batch) == float("inf")
    there = hub.plan(scratch="/scratch")
    least = 60 * (costs.DOWNLOAD_MINUTES + there.geometry_minutes(batch))
    assert least < there.claim_seconds(batch) < float("inf")


def test_more_checkpoints_get_more_time(sweep):
    sweep.train(*range(4))
    plan = sweep.plan(geometry={"n_points": 100_000})
    (batch,) = plan.batches("s")
    alone = plan.batch("s", "r", "checkpoint-2")
    assert plan.geometry_minutes(batch) > plan.geometry_minutes(alone) > costs.LEAST_MINUTES


def test_suites_of_spikes_have_their_own_corpora_and_no_budget(sweep, tmp_path):
    sweep.train(1)
    for step in (1, 2):
        write_checkpoint(tmp_path / f"other/checkpoint-{step}")
    other = {"source": "local", "runs": {"r": str(tmp_path / "other")}}
    more = {"corpora": ["text", "random"], "checkpoints": {"steps": [1]}}
    plan = sweep.plan(spikes={"suites": {"other": other}, "corpora": ["text"]}, **more)
    assert set(plan.suites) == {"s", "other"}
    assert plan.settings("other").corpora == ["text"]
    assert plan.settings("s").corpora == ["text", "random"]
    # The key `checkpoints` also applies to suites under `spikes`, but the key `budget` does not.
    assert [checkpoint.step for checkpoint in plan.selected("other").values()] == [1]
    assert plan.budgets(["other"]) == []
