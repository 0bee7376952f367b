"""The join: what a run's weights and losses tell against a checkpoint, before it is believed."""

import numpy as np
import pytest

from shapesweep import contracts, join, tables
from shapesweep.geometry import AGAIN


@pytest.fixture
def swept(tmp_path):
    """A function that writes measured checkpoints of a run as the rooms before leave them."""

    def write(samples, losses=(), failures=(), vocabulary=300, architecture="LlamaForCausalLM"):
        rows = []
        for step, sample in samples.items():
            place = tmp_path / f"geometry/s/r/step{step}"
            row = {"suite": "s", "run": "r", "revision": f"step{step}", "step": step}
            geometry = {**dict.fromkeys(contracts.GEOMETRY.names), **row, "value": 1.0}
            tables.write([geometry], contracts.GEOMETRY, place / "geometry.parquet")
            tables.write([], contracts.REPLICATES, place / "replicates.parquet")
            loss = {**row, "source": "eval", "corpus": "text", "value": dict(losses).get(step, 5.6)}
            tables.write([{**loss, "stderr": 0.1}], contracts.LOSSES, place / "losses.parquet")
            failed = dict(failures).get(step)
            said = {"reason": failed, "measured": False, "transient": failed == "later"}
            tables.write(
                [{**row, **said}] if failed else [], contracts.FAILURES, place / "failures.parquet"
            )
            if failed == "later":
                (place / AGAIN).touch()
            if not failed:
                values = [{"tensor_class": "other", "value": value} for value in sample]
                more = {"vocabulary": vocabulary}
                tables.write(values, contracts.SAMPLE, place / "sample.parquet", more)
            made = dict.fromkeys(contracts.MANIFEST.names) | row
            made |= {"architecture": architecture, "status": [], "chosen": True, "selected": True}
            rows.append(made)
        return rows

    def joined(rows, accepted=None):
        tables.write(rows, contracts.MANIFEST, tmp_path / "s.parquet")
        join.join([tmp_path / "s.parquet"], tmp_path / "geometry", tmp_path, accepted)
        geometry = tables.read(tmp_path / "geometry.parquet", contracts.GEOMETRY)
        failures = tables.read(tmp_path / "failures.parquet", contracts.FAILURES)
        return geometry.revision.tolist(), failures

    return write, joined


@pytest.fixture
def straight():
    rng = np.random.default_rng(0)
    start, way = rng.standard_normal((2, 500))
    return {step: start + way * step / 8 for step in (0, 1, 2, 4, 8)}


def test_a_budget_of_what_is_left_out_is_left_out(swept, straight, tmp_path):
    write, joined = swept
    straight[2] = np.random.default_rng(9).standard_normal(500)
    joined(write(straight))
    budgets = []
    for step in (2, 8):
        row = {"suite": "s", "run": "r", "revision": f"step{step}", "step": step, "k": 3}
        budgets.append(tmp_path / f"budget-{step}.parquet")
        tables.write([dict.fromkeys(contracts.BUDGETS.names) | row], contracts.BUDGETS, budgets[-1])
    join.join([tmp_path / "s.parquet"], tmp_path / "geometry", tmp_path, budgets=budgets)
    made = tables.read(tmp_path / "budgets.parquet", contracts.BUDGETS)
    assert made.revision.tolist() == ["step8"]
    assert made.k.tolist() == [3]


def test_a_checkpoint_of_another_training_is_left_out_and_named(swept, straight):
    write, joined = swept
    straight[2] = np.random.default_rng(9).standard_normal(500)
    rows = write(straight)
    measured, failures = joined(rows)
    assert measured == ["step0", "step1", "step4", "step8"]
    (one,) = failures.itertuples()
    assert one.reason == "discontinuous: its neighbours lie closer together"
    assert (one.revision, one.measured) == ("step2", False)
    measured, failures = joined(rows, {"s": ["discontinuous"]})
    assert "step2" in measured
    assert failures.measured.tolist() == [True]


@pytest.mark.parametrize(
    ("loss", "architecture", "is_odd"),
    [
        (np.log(300) + 0.4, "LlamaForCausalLM", False),
        (np.log(300) - 0.6, "LlamaForCausalLM", True),
        (2.0, "LlamaForCausalLM", True),
        (2.0, "BertForMaskedLM", False),
    ],
)
def test_a_loss_at_step_0_that_is_not_that_of_an_untrained_model_is_doubtful(
    swept, straight, loss, architecture, is_odd
):
    write, joined = swept
    rows = write(straight, losses={0: loss}.items(), architecture=architecture)
    measured, failures = joined(rows)
    assert len(measured) == 5
    assert failures.measured.tolist() == [True] * is_odd
    if is_odd:
        assert failures.reason[0].startswith(
            f"its loss at step 0 is {loss:.2f}, where an untrained"
        )


def test_what_could_not_be_fetched_this_time_is_told_and_asked_for_again(swept, straight, tmp_path):
    write, joined = swept
    rows = write(straight, failures={1: "later", 2: "never"}.items())
    _, failures = joined(rows)
    assert dict(zip(failures.reason, failures.revision, strict=True)) == {
        **{"later": "step1", "never": "step2"},
    }
    assert (tmp_path / "geometry/s/r/step1").exists()
    join.forget(tmp_path)
    assert not (tmp_path / "geometry/s/r/step1").exists()
    assert (tmp_path / "geometry/s/r/step2").exists()
