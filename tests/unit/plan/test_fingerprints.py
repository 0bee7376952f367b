"""Settings and files change a fingerprint if, and only if, they affect numbers."""

import copy
import dataclasses
import os
import shutil

import pytest

from helpers.plans import EXPECTED, FACT, HUB, TRAINED
from shapesweep import metrics
from shapesweep.config import files
from shapesweep.config.sweep import Config
from shapesweep.corpora import CORPORA
from shapesweep.plan import fingerprints
from shapesweep.storage import schemas
from shapesweep.storage.manifests import Checkpoint

#: A value that differs from the default, for each key that affects numbers.
DEPENDS = [
    *({"geometry": {key: value}} for key, value in (("n_points", 99), ("groups", 7))),
    *(
        {"corpus": {key: value}}
        for key, value in (
            *(("text", "stdlib"), ("sampling", "paper"), ("documents", 9), ("length", 9)),
            *(("seed", 9), ("last", {"documents": 9}), ("last", {"length": 9})),
            *(("passages", {"documents": 9}), ("passages", {"length": 9})),
            *(("samples", 2), ("variants", {"long": {"length": 9}})),
        )
    ),
    {"corpora": ["text"]},
    {"suites": {"s": {"tokens_per_step": 9}}},
]
#: A value that differs from the default, for each key that does not affect numbers.
INDEPENDENT = [
    {"results": "elsewhere"},
    {"checkpoints": {"steps": [1]}},
    {"budget": {"checkpoints": {"s": "last"}}},
    {"budget": {"checkpoints": {"s": "last"}, "rise": 0.5}},
    {"phases": {"paper": {"corpus": "text", "selection": "all", "metric": "id_mle"}}},
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
    return {f"{key}.{part}" for change in changes for key in change for part in _parts(change[key])}


def _parts(value):
    return value if isinstance(value, dict) else [""]


def test_every_key_of_a_configuration_is_in_one_of_the_lists():
    every = {key for change in DEPENDS + INDEPENDENT for key in change}
    assert every == set(Config.model_fields)
    inside = {
        f"{name}.{key}"
        for name in ("geometry", "corpus")
        for key in type(getattr(files.validate({"suites": ["embedded"]}), name)).model_fields
    }
    assert inside <= keys(DEPENDS)


def merged(change, sweep):
    """Merge a change of a suite into the definition of that suite."""
    if "suites" not in change:
        return change
    suites = {
        name: {**sweep.raw["suites"][name], **more} for name, more in change["suites"].items()
    }
    return {"suites": suites}


@pytest.mark.parametrize("change", DEPENDS, ids=str)
def test_settings_that_numbers_depend_on_change_the_fingerprint(one, change):
    assert one.fingerprint() == one.fingerprint()
    assert one.fingerprint(**merged(change, one)) != one.fingerprint()


@pytest.mark.parametrize("change", INDEPENDENT, ids=str)
def test_settings_that_numbers_do_not_depend_on_change_no_fingerprint(one, change):
    before, after = one.plan(), one.plan(**change)
    assert after.tables(["s"]) == before.tables(["s"])
    assert after.measurement_file("s") == before.measurement_file("s")


def test_seed_of_a_run_changes_the_fingerprint(one):
    runs = {"r": {"path": str(one.run), "seed": 9}}
    assert one.fingerprint(suites={"s": {"source": "local", "runs": runs}}) != one.fingerprint()


def touch(path):
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns - 10**9))


def rewrite(path):
    """Change the contents and the size of a file, and keep its modification time."""
    stat = path.stat()
    path.write_bytes(path.read_bytes() + b"!")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize("change", [touch, rewrite])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "text"])
def test_changed_files_change_the_fingerprint(one, change, name):
    before = one.fingerprint()
    change(one.text if name == "text" else one.run / "checkpoint-1" / name)
    assert one.fingerprint() != before


def test_files_that_are_not_read_do_not_change_the_fingerprint(one):
    before = one.fingerprint()
    (one.run / "checkpoint-1/optimizer.pt").write_bytes(b"x")
    assert one.fingerprint() == before


def test_new_versions_change_the_fingerprint(one, monkeypatch):
    found = {one.fingerprint()}
    for known, name in ((metrics.METRICS, next(iter(metrics.METRICS))), (CORPORA, "text")):
        monkeypatch.setitem(known, name, dataclasses.replace(known[name], version=99))
        found.add(one.fingerprint())
    for module, name in ((fingerprints, "FORMAT_VERSION"), (schemas, "VERSION")):
        monkeypatch.setattr(module, name, 99)
        found.add(one.fingerprint())
    assert len(found) == 5


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
def test_how_a_hub_suite_is_loaded_changes_the_fingerprint(hub, more):
    assert hub_batch(hub, **more) != hub_batch(hub)


@pytest.mark.parametrize(
    "more",
    [
        {"title": "A title", "facts": [FACT]},
        EXPECTED,
        {"accept": ["shares_file_with"]},
        {"grid": [1, 2, 3]},
        {"losses": {"a": "org/a:log.csv"}},
    ],
    ids=str,
)
def test_other_keys_of_a_hub_suite_do_not_change_the_fingerprint(hub, more):
    assert hub_batch(hub, **more) == hub_batch(hub)


def test_another_commit_changes_the_fingerprint(hub):
    before = hub_batch(hub)
    path = hub.results / "listings/hub.json"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("commit of step2", "another commit"), encoding="utf-8")
    assert hub_batch(hub) != before


def test_recipe_changes_only_the_fingerprints_of_its_runs(sweep):
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


def test_fingerprint_of_contents_does_not_depend_on_paths_and_times(one, tmp_path):
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
    # The keys `device`, `batch_tokens` and `geometry` do not change `fingerprints.contents`.
    other = one.plan(device="cpu", batch_tokens=9, geometry={"n_points": 200}).config
    assert fingerprints.contents(checkpoint, folder, other.measurement("s")) == before
    shutil.copytree(folder, tmp_path / "copy")
    assert fingerprints.contents(checkpoint, tmp_path / "copy", settings) == before
    for more in ({"commit": "d"}, {"seed": 9}, {"step": 9}, {"tokens": 9}, {"revision": "x"}):
        assert contents(**more) != before
    rewrite(folder / "tokenizer.json")
    assert contents() != before
    before = contents()
    rewrite(one.text)
    assert contents() != before


def test_geometry_settings_change_the_fingerprint_of_numbers(one):
    plans = [one.plan(geometry={"n_points": n}) for n in (100, 200)]
    first, second = (fingerprints.numbers(plan.config.measurement("s")) for plan in plans)
    assert first != second


@pytest.mark.parametrize(
    ("change", "changed"),
    [
        ({"budget": {"rise": 0.5}}, {"budgets"}),
        ({"corpora": ["random"]}, {"tables", "measurement_file"}),
        ({"geometry": {"n_points": 99}}, {"tables", "measurement_file"}),
        ({"corpus": {"last": {}}}, {"tables", "measurement_file"}),
        ({"geometry": {"groups": 7}}, {"tables", "measurement_file", "budgets", "budget_file"}),
        ({"corpus": {"seed": 9}}, {"tables", "measurement_file", "budgets", "budget_file"}),
        ({"corpus": {"documents": 9}}, {"tables", "measurement_file", "budgets", "budget_file"}),
    ],
)
def test_budgets_depend_only_on_the_text_its_groups_and_the_rise(one, change, changed):
    one.raw["budget"] = {"checkpoints": {"s": "last"}}
    one.raw["corpus"]["last"] = {"documents": 9}

    before, after = one.plan(), one.plan(**change)
    outputs = {"tables": ["s"], "budgets": ["s"], "measurement_file": "s", "budget_file": "s"}
    assert changed == {
        output
        for output, suites in outputs.items()
        if getattr(before, output)(suites) != getattr(after, output)(suites)
    }


def test_documents_of_an_unused_corpus_change_nothing(one):
    text = {"corpora": ["text"]}
    other = one.plan(**text, corpus={"last": {"documents": 9}})
    assert other.tables(["s"]) == one.plan(**text).tables(["s"])
    assert other.measurement_file("s") == one.plan(**text).measurement_file("s")
