"""The history of a run contains the losses from the training logs of the run."""

import json

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
