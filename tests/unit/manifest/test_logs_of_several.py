"""Rows of evaluations, of several processes and of several epochs are not taken for training."""

import json

import pytest

from shapesweep.config.suite import SUITE
from shapesweep.errors import ShapesweepError
from shapesweep.manifest import history
from shapesweep.manifest.logs import read_log
from shapesweep.storage.schemas import PROBE_FILE

STEPS = (100, 200, 300)


def read(tmp_path, columns, rows):
    path = tmp_path / "log.csv"
    lines = [",".join(map(str, row)) for row in [columns, *rows]]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = read_log(path)
    return found[found.metric == "loss"].set_index("step").value.to_dict()


@pytest.mark.parametrize(
    "column",
    ["split", "stage", "type", "kind", "event", "subset", "dataset", "metric", "logger", "prefix"],
)
@pytest.mark.parametrize(
    "value",
    ["validate", "evaluate", "evaluating", "held-out", "heldout", "val2", "testset", "cv", "Test"],
)
def test_rows_of_an_evaluation_are_left_out(tmp_path, column, value):
    rows = [row for step in STEPS for row in ((step, "train", 5), (step, value, 9))]
    assert read(tmp_path, ("step", column, "loss"), rows) == dict.fromkeys(STEPS, 5)


@pytest.mark.parametrize(
    ("column", "of_training", "of_evaluation"),
    [("is_eval", "False", "True"), ("eval", 0, 1), ("training", "true", "false"), ("train", 1, 0)],
)
def test_flags_of_an_evaluation_are_read(tmp_path, column, of_training, of_evaluation):
    rows = [row for s in STEPS for row in ((s, of_training, 5), (s, of_evaluation, 9))]
    assert read(tmp_path, ("step", column, "loss"), rows) == dict.fromkeys(STEPS, 5)


@pytest.mark.parametrize(
    ("column", "value"), [("dataset", "pile"), ("type", "scalar"), ("train", 7.5), ("eval", 3.5)]
)
def test_other_columns_of_these_names_have_no_effect(tmp_path, column, value):
    rows = [(step, value, 5) for step in STEPS]
    assert read(tmp_path, ("step", column, "loss"), rows) == dict.fromkeys(STEPS, 5)


@pytest.mark.parametrize("column", ["seed", "model", "rank", "local_rank", "gpu", "Host", "worker"])
def test_losses_of_several_processes_are_refused(tmp_path, column):
    rows = [(step, process, 5 + process) for step in STEPS for process in (0, 1)]
    with pytest.raises(ShapesweepError, match=f"several losses of a step.* the column {column}"):
        read(tmp_path, ("step", column, "loss"), rows)


def test_host_may_change_when_a_run_is_resumed(tmp_path):
    rows = [(100, "a", 5), (200, "a", 4), (200, "b", 4), (300, "b", 3)]
    assert read(tmp_path, ("step", "host", "loss"), rows) == {100: 5, 200: 4, 300: 3}


def test_steps_that_begin_again_in_each_epoch_are_refused(tmp_path):
    rows = [(epoch, step, 9 - epoch - step / 1000) for epoch in (1, 2) for step in STEPS]
    with pytest.raises(ShapesweepError, match="iter begin again in each epoch"):
        read(tmp_path, ("epoch", "iter", "loss"), [(e, s, v) for e, s, v in rows])


def test_few_steps_may_repeat_in_another_epoch(tmp_path):
    rows = [(1, 100, 5), (1, 200, 4), (1, 300, 3), (2, 300, 3.5), (2, 400, 2)]
    expected = {100: 5, 200: 4, 300: 3.5, 400: 2}
    assert read(tmp_path, ("epoch", "step", "loss"), rows) == expected


def state(folder, step, loss):
    folder.mkdir(parents=True)
    text = json.dumps({"log_history": [{"step": step, "loss": loss}]})
    (folder / "trainer_state.json").write_text(text, encoding="utf-8")


def test_only_folders_of_the_pattern_belong_to_a_run(tmp_path):
    state(tmp_path / "a-100", 100, 1)
    state(tmp_path / "b-900", 900, 9)
    state(tmp_path / "old-run", 999, 8)
    for name, step, loss in (("a", 100, 1), ("b", 900, 9)):
        raw = {"source": "local", "runs": {"r": str(tmp_path)}, "pattern": rf"{name}-(?P<step>\d+)"}
        suite = SUITE.validate_python(raw)
        found, problems = history.of_suite("s", suite, tmp_path)
        assert (found.step.tolist(), found.value.tolist(), problems) == ([step], [loss], [])


def test_state_and_probe_that_cannot_be_read_cost_no_other_log(tmp_path):
    state(tmp_path / "good/checkpoint-1", 1, 5)
    (tmp_path / "bad/checkpoint-1/trainer_state.json").mkdir(parents=True)
    (tmp_path / "bad" / PROBE_FILE).write_bytes(b"damaged")
    runs = {name: str(tmp_path / name) for name in ("good", "bad")}
    suite = SUITE.validate_python({"source": "local", "runs": runs})
    found, problems = history.of_suite("s", suite, tmp_path)
    assert found.run.tolist() == ["good"]
    assert len(problems) == 2
    assert "cannot be read: Is a directory" in problems[0]
    assert PROBE_FILE in problems[1]
