"""The history of a run contains the losses from the training logs of the run."""

import json

import numpy as np
import pytest

from shapesweep.config.suite import SUITE
from shapesweep.errors import ShapesweepError
from shapesweep.manifest import history
from shapesweep.storage import schemas, tables
from shapesweep.storage.schemas import PROBE_FILE


def losses(found):
    return found[found.metric == "loss"].set_index("step").value.to_dict()


def test_trainer_state_is_read(tmp_path):
    entries = [{"step": 8, "loss": 5.5, "grad_norm": 0.5}, {"step": 16, "eval_loss": 5.0}]
    for step, known in ((8, entries[:1]), (16, [*entries, {"step": 16, "loss": 4.0}])):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "trainer_state.json").write_text(json.dumps({"log_history": known}))
    found, problems = history.of_folder(tmp_path)
    assert losses(found) == {8: 5.5, 16: 4.0}
    assert found[found.metric == "gradient_norm"].value.tolist() == [0.5]
    assert problems == []
    # The newest trainer_state.json is truncated, so the file of the previous checkpoint is read.
    # The file of the previous checkpoint lacks the last entries of the log.
    (tmp_path / "checkpoint-16/trainer_state.json").write_text('{"log_history": [{"lo')
    found, (problem,) = history.of_folder(tmp_path)
    assert losses(found) == {8: 5.5}
    assert "checkpoint-16" in problem


def test_log_of_lucie_is_read(tmp_path):
    # This log has the columns that the authors of the model Lucie plot.
    (tmp_path / "log.csv").write_text(
        "training_steps,training_tokens,training_loss,walltime,gputime,learning_rate\n"
        "25,26214400,10.5,0.1,51.2,3.75e-06\n"
        "50,52428800,9.25,0.2,102.4,7.5e-06\n"
    )
    found = history.read_log(tmp_path / "log.csv")
    assert losses(found) == {25: 10.5, 50: 9.25}
    assert found[found.metric == "learning_rate"].value.tolist() == [3.75e-06, 7.5e-06]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.csv", "step,loss\n1,2.5\n2,\n3,nan\n", {1: 2.5, 3: np.nan}),
        ("a.csv", "iteration,lm loss\n1,2.5\n", {1: 2.5}),
        ("a.jsonl", '{"step": 1, "loss": 3}\n\n{"step": 2, "lr": 1}\n{"st', {1: 3.0}),
        ("a.jsonl", '{"step": 1, "loss": 3}\n{"step": 1, "loss": 2}\n', {1: 2.0}),
        ("a.jsonl", '{"_step": 1, "train/loss": Infinity}\n', {1: np.inf}),
        ("a.json", '{"log_history": []}', {}),
    ],
)
def test_other_logs_are_read_up_to_the_last_complete_line(tmp_path, name, text, expected):
    (tmp_path / name).write_text(text)
    np.testing.assert_equal(losses(history.read_log(tmp_path / name)), expected)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "time,loss\n1,2\n", "has no column step or training_steps"),
        ("a.csv", "step,accuracy\n1,2\n", "has no column loss or training_loss"),
        ("a.csv", "step,loss\n-1,2\n", "must contain non-negative integers"),
        ("a.jsonl", '{"st\n{"step": 1, "loss": 3}\n', "damaged"),
        ("a.jsonl", "[1]\n", "damaged"),
        ("a.json", "{}", "damaged"),
        ("a.txt", "step,loss\n", r"must be \.json, \.jsonl or \.csv"),
    ],
)
def test_invalid_log_raises_an_error(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ShapesweepError, match=message):
        history.read_log(tmp_path / name)
    with pytest.raises(ShapesweepError, match="there is no such log"):
        history.read_log(tmp_path / "absent.csv")


def test_history_of_a_local_suite_has_its_log_and_its_probe(tmp_path):
    (tmp_path / "log.csv").write_text("step,loss\n1,2.5\n")
    row = dict.fromkeys(schemas.PROBE.names) | {"step": 0, "metric": "kurtosis", "value": 3.0}
    tables.write([row], schemas.PROBE, tmp_path / PROBE_FILE)
    run = {"path": str(tmp_path), "losses": str(tmp_path / "log.csv")}
    suite = SUITE.validate_python({"source": "local", "runs": {"r": run}})
    found, problems = history.of_suite("s", suite, tmp_path)
    rows = found[["run", "source", "metric"]].to_numpy().tolist()
    assert (rows, problems) == ([["r", "log", "loss"], ["r", "probe", "kurtosis"]], [])
    before = history.states("s", suite)
    (tmp_path / "log.csv").write_text("step,loss\n1,2.5\n2,2.0\n")
    assert history.states("s", suite) != before
    (tmp_path / "log.csv").unlink()
    with pytest.raises(ShapesweepError, match=r"suites\.s\.runs\.r\.losses: there is no file"):
        history.states("s", suite)


def test_log_of_a_run_that_is_placed_by_tokens_is_left_out(tmp_path):
    """The log contains steps, which have no place between numbers of tokens."""
    raw = {"source": "hub", "mode": "branches", "match": r"(?P<tokens>\d+B)"}
    raw |= {"repositories": ["org/a"], "losses": {"a": "log.csv"}}
    listing = {"problem": None, "branches": {"5B": "c"}, "tags": {}, "commits": []}
    listing |= {"trees": {"c": []}, "config": {}}
    (tmp_path / "listings").mkdir()
    (tmp_path / "listings/s.json").write_text(json.dumps({"org/a": listing}), encoding="utf-8")
    found, (problem,) = history.of_suite("s", SUITE.validate_python(raw), tmp_path)
    assert not len(found)
    assert problem.startswith("suites.s.losses: the names of the checkpoints of a contain tokens")
