"""A batch groups checkpoints that are measured together, and has a name and a fingerprint."""

import re

import pytest

from helpers.plans import HUB
from shapesweep.config import files as config_files
from shapesweep.config.suite import NAME
from shapesweep.hub.revisions import Listed
from shapesweep.plan import batches, costs, workflow
from shapesweep.storage.files import File

#: The shape of Pythia-70m. Measuring a checkpoint of this shape takes a few minutes.
SMALL = {"hidden_size": 512, "num_hidden_layers": 6, "vocab_size": 50304}
LARGE = {"hidden_size": 4096, "num_hidden_layers": 32, "vocab_size": 50304}


def settings(**more):
    return config_files.validate({"suites": {"s": HUB}, **more})


def published(step, shape=SMALL, n_bytes=10**8, run="r"):
    files = (File("model.safetensors", n_bytes, "a", "b"),)
    location = {"repository": "o/a", "commit": f"c{step}"}
    return Listed(run, f"step{step}", step, files=files, config=shape, **location)


def cut(chosen, **more):
    chosen_settings = settings(**more)
    return batches.cut("s", chosen_settings.suites["s"], chosen, chosen_settings)


def test_consecutive_checkpoints_share_a_batch():
    found = cut([published(n) for n in range(10)], checkpoints_per_job=4)
    assert [batch.name for batch in found] == ["step0+3", "step4+3", "step8+1"]
    revisions = [revision for batch in found for revision in batch.revisions]
    assert revisions == [f"step{n}" for n in range(10)]


@pytest.mark.parametrize("n_later", [1, 3, 4, 9])
def test_later_checkpoints_do_not_change_full_batches(n_later):
    before = cut([published(n) for n in range(10)], checkpoints_per_job=4)
    after = cut([published(n) for n in range(10 + n_later)], checkpoints_per_job=4)
    keys = [[(batch.name, batch.fingerprint) for batch in found] for found in (before, after)]
    assert keys[0][:2] == keys[1][:2]
    assert keys[0][2] != keys[1][2]


def test_batch_has_checkpoints_of_a_single_run():
    found = cut([published(0), published(0, run="q"), published(1)], checkpoints_per_job=8)
    assert [(batch.run, batch.name) for batch in found] == [("r", "step0+1"), ("q", "step0")]


def test_small_checkpoints_share_a_batch_and_large_ones_do_not():
    assert max(len(batch.members) for batch in cut([published(n) for n in range(99)])) > 1
    alone = cut([published(n, LARGE, 10**10) for n in range(9)])
    assert [len(batch.members) for batch in alone] == [1] * 9


def test_checkpoints_with_a_budget_or_kept_activations_have_their_own_batch():
    chosen = [published(n) for n in range(5)]
    found = cut(chosen, checkpoints_per_job=8, budget={"checkpoints": {"s": "last"}})
    assert [batch.name for batch in found] == ["step4", "step0+3"]
    kept = cut(chosen, checkpoints_per_job=8, keep_activations=True)
    assert [batch.name for batch in kept] == [checkpoint.revision for checkpoint in chosen]


def test_batch_fits_on_the_disk_with_the_batches_in_progress():
    chosen, hub = [published(n) for n in range(64)], {"disk_gb": 4, "downloads": 2}
    found = cut(chosen, checkpoints_per_job=64, hub=hub)
    footprint = costs.footprint(found[0].models[0], settings(hub=hub))
    assert max(len(b.members) for b in found) * footprint <= 1e9
    assert (len(found[0].members) + 1) * footprint > 1e9


def test_name_of_a_batch_is_no_revision_and_is_safe_in_a_path():
    name = cut([published(0), published(1)], checkpoints_per_job=2)[0].name
    assert re.fullmatch(batches.BATCH, name)
    assert not re.match(NAME, name)
    for bad in ("../a", "a+0", "a+1+1", "a b", "+1", "a/b"):
        assert not re.fullmatch(batches.BATCH, bad)


def test_budgets_are_selected_once(sweep, monkeypatch):
    """Every job asks the plan for dimension budgets, but the plan must select them only once."""
    calls = []
    choose = workflow.budgeted
    monkeypatch.setattr(workflow, "budgeted", lambda *of: calls.append(of) or choose(*of))
    sweep.train(*range(6))
    plan = sweep.plan(budget={"checkpoints": {"s": "all"}})
    paths = [path for batch in plan.batches("s") for path in plan.budgets_of(batch)]
    assert sorted(paths) == sorted(plan.budgets(["s"]))
    assert len(paths) == 6
    assert len(calls) == 1
