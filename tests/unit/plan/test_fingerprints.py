"""Names that change with all that numbers depend on, and with nothing else."""

import copy
import dataclasses
import os
import shutil

import pytest

from helpers.plans import FACT, HUB, TRAINED
from shapesweep import metrics
from shapesweep.config import files
from shapesweep.config.sweep import Config
from shapesweep.corpora import CORPORA
from shapesweep.plan import fingerprints
from shapesweep.storage import schemas
from shapesweep.storage.manifests import Checkpoint

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
        for key in type(getattr(files.validate({"suites": ["embedded"]}), name)).model_fields
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
    monkeypatch.setattr(schemas, "VERSION", 99)
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
