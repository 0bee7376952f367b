"""The join excludes or marks checkpoints with suspicious weights or losses."""

import json

import numpy as np
import pandas as pd
import pytest

from shapesweep.curves import join
from shapesweep.errors import CheckpointError, ShapesweepError, TransientError, UnexpectedError
from shapesweep.plan.workflow import BATCH_TABLES
from shapesweep.storage import manifests, schemas, tables
from shapesweep.storage.failures import as_row, explanation, kind, without_budget
from shapesweep.storage.manifests import Checkpoint

#: Maximum number of checkpoints in a batch.
MAX_BATCH = 3


class Swept:
    """The results of a run before the join: a plan, a manifest, and the tables of its batches."""

    def __init__(self, folder):
        self.folder = folder
        self.plan = {"suite": "s", "definition": {}, "batches": [], "budgets": []}
        self.checkpoints = []

    def measure(self, samples, loss_at_0=5.6, failures=None, run="r", family="decoder", **more):
        """Write the tables of checkpoints. `samples` contains the sampled weights by step."""
        failures = failures or {}
        steps = list(samples)
        for start in range(0, len(steps), MAX_BATCH):
            part = steps[start : start + MAX_BATCH]
            location = f"s/{run}/step{part[0]}/0123456789ab"
            rows = {name: [] for name in BATCH_TABLES}
            for step in part:
                row = {"suite": "s", "run": run, "revision": f"step{step}", "step": step}
                if error := failures.get(step):
                    rows["failures"].append(as_row(Checkpoint(**row), error))
                    continue
                loss = {"source": "eval", "corpus": "text", "text_sha256": "ab"}
                loss["value"] = 5.6 if step else loss_at_0
                rows["geometry"].append(
                    dict.fromkeys(schemas.GEOMETRY.names) | row | {"value": 1, "family": family}
                )
                rows["losses"].append(row | loss | {"stderr": 0.1})
                rows["origins"].append(dict.fromkeys(schemas.ORIGINS.names) | row)
                weight = {"revision": f"step{step}", "tensor_class": "other"}
                rows["samples"] += [weight | {"value": value} for value in samples[step]]
            vocabularies = {f"step{step}": 300 for step in part if step not in failures}
            metadata = {"samples": {"vocabularies": vocabularies}}
            for name, its in rows.items():
                path = self.folder / f"geometry/{location}/{name}.parquet"
                tables.write(its, getattr(schemas, name.upper()), path, metadata.get(name))
            revisions = [f"step{step}" for step in part]
            self.plan["batches"].append({"folder": location, "run": run, "revisions": revisions})
        about = {"architecture": "LlamaForCausalLM", **more}
        self.checkpoints += [
            Checkpoint("s", run, f"step{step}", step=step, **about) for step in steps
        ]
        return self

    def add_budget(self, step, rows, metadata=None):
        """Write the table of the dimension budget of a checkpoint."""
        path = f"budgets/s/r/step{step}/0123456789ab.parquet"
        self.plan["budgets"].append(path)
        tables.write(rows, schemas.BUDGETS, self.folder / path, metadata)

    def join(self):
        """Join all tables. Return the revisions that have numbers, and the table of failures."""
        (self.folder / "plan.json").write_text(json.dumps(self.plan), encoding="utf-8")
        manifests.write(self.checkpoints, self.folder / "s.parquet")
        tables.write([], schemas.HISTORY, self.folder / "history.parquet")
        files = ([self.folder / name] for name in ("plan.json", "s.parquet", "history.parquet"))
        join.join(*files, self.folder, self.folder / "joined")
        return self.read("geometry").revision.tolist(), self.read("failures")

    def read(self, name):
        return tables.read(self.folder / f"joined/{name}.parquet", getattr(schemas, name.upper()))


@pytest.fixture
def swept(tmp_path):
    return Swept(tmp_path)


@pytest.fixture
def straight():
    rng = np.random.default_rng(0)
    start, direction = rng.standard_normal((2, 500))
    return {step: start + direction * step / 8 for step in (0, 1, 2, 4, 8)}


def test_checkpoints_without_problems_are_joined(swept, straight):
    measured, failures = swept.measure(straight).join()
    assert measured == ["step0", "step1", "step2", "step4", "step8"]
    assert not len(failures)
    assert swept.read("origins").revision.tolist() == measured
    assert swept.read("losses").revision.tolist() == measured
    assert swept.read("continuity").step.tolist() == [1, 2, 4, 8]


def test_budget_of_an_excluded_checkpoint_is_excluded(swept, straight):
    straight[2] = np.random.default_rng(9).standard_normal(500)
    swept.measure(straight)
    for step in (2, 8):
        row = {"suite": "s", "run": "r", "revision": f"step{step}", "step": step, "k": 3}
        swept.add_budget(step, [dict.fromkeys(schemas.BUDGETS.names) | row])
    swept.join()
    budgets = swept.read("budgets")
    assert budgets.revision.tolist() == ["step8"]
    assert budgets.k.tolist() == [3]


def test_budget_that_could_not_be_measured_is_a_failure(swept, straight):
    swept.measure(straight, failures={4: CheckpointError("broken")})
    for step in (4, 8):
        checkpoint = Checkpoint("s", "r", f"step{step}", step=step)
        failure = without_budget(checkpoint, CheckpointError("has no head"))
        swept.add_budget(step, [], {"failure": failure})
    _, failures = swept.join()
    # A checkpoint that was not measured has a single row in the table of failures, even if its
    # budget also failed.
    assert [(row.revision, kind(row), row.reason) for row in failures.itertuples()] == [
        ("step8", "incomplete", "no dimension budget: has no head"),
        ("step4", "not measured", "broken"),
    ]


def test_checkpoint_of_another_training_is_excluded_and_is_a_failure(swept, straight, tmp_path):
    straight[2] = np.random.default_rng(9).standard_normal(500)
    measured, failures = swept.measure(straight).join()
    assert measured == ["step0", "step1", "step4", "step8"]
    (failure,) = failures.itertuples()
    assert failure.reason.startswith("discontinuous: its weights are far from both neighbouring")
    assert (failure.revision, failure.measured) == ("step2", False)
    listed = manifests.read(tmp_path / "joined/manifest.parquet")
    status = {checkpoint.revision: checkpoint.status for checkpoint in listed}
    assert (status["step2"], status["step4"]) == (("discontinuous",), ())
    swept.plan["definition"] = {"accept": ["discontinuous"]}
    measured, failures = swept.join()
    assert "step2" in measured
    assert failures.measured.tolist() == [True]


def test_checkpoint_with_the_weights_of_another_step_is_excluded(swept, straight, tmp_path):
    straight[8] = straight[2]
    measured, failures = swept.measure(straight).join()
    assert measured == ["step0", "step1", "step2", "step4"]
    (failure,) = failures.itertuples()
    reason = "same_weights_as:step2: its weights are those of another step of this run"
    assert (failure.revision, failure.reason, failure.measured) == ("step8", reason, False)
    listed = manifests.read(tmp_path / "joined/manifest.parquet")
    status = {checkpoint.revision: checkpoint.status for checkpoint in listed}
    assert (status["step2"], status["step8"]) == ((), ("same_weights_as:step2",))
    swept.plan["definition"] = {"accept": ["discontinuous"]}
    measured, failures = swept.join()
    assert "step8" in measured
    assert failures.measured.tolist() == [True]


def test_runs_of_the_same_checkpoint_without_a_step_are_copies(swept, straight):
    for run in ("r", "again"):
        swept.measure({None: straight[8]}, run=run)
    measured, failures = swept.join()
    assert len(measured) == 2
    (copy,) = swept.read("copies").itertuples()
    assert (copy.run, copy.of, pd.isna(copy.step)) == ("again", "r", True)
    (failure,) = failures.itertuples()
    assert failure.reason.startswith("copy: its weights are those of r")
    assert failure.run == "again"


def test_foreign_checkpoints_at_the_ends_are_excluded_and_are_failures(swept, straight, tmp_path):
    *ends, other = np.random.default_rng(9).standard_normal((3, 500))
    swept.measure({step: weights + 3 * other for step, weights in straight.items()}, run="good")
    straight |= dict(zip((0, 8), ends, strict=True))
    # The loss shows that step 0 is trained, but the checkpoint has a single row of failures.
    measured, failures = swept.measure(straight, loss_at_0=2.0).join()
    assert measured == [f"step{step}" for step in (0, 1, 2, 4, 8, 1, 2, 4)]
    assert failures.run.unique().tolist() == ["r"]
    assert failures[["revision", "step", "measured"]].to_numpy().tolist() == [
        ["step0", 0, False],
        ["step8", 8, False],
    ]
    for reason, neighbour in zip(failures.reason, ("step1", "step4"), strict=True):
        start = "discontinuous: its weights do not belong to this run: their correlation with the "
        assert reason.startswith(f"{start}weights of {neighbour} is ")
        assert abs(float(reason.partition(" is ")[2].partition(",")[0])) < 0.2
    status = {c.key[1:]: c.status for c in manifests.read(tmp_path / "joined/manifest.parquet")}
    flagged = [key for key, flags in status.items() if flags]
    assert flagged == [("r", "step0"), ("r", "step8")]
    # In `continuity.parquet`, the first checkpoint has its own step, and no previous checkpoint.
    rows = swept.read("continuity").query("run == 'r' and flag != ''")
    assert rows.revision.tolist() == ["step0", "step8"]
    assert rows.step.tolist() == [0, 8]
    assert rows.previous.isna().tolist() == [True, False]
    swept.plan["definition"] = {"accept": ["discontinuous"]}
    measured, failures = swept.join()
    assert len(measured) == 10
    assert failures.measured.tolist() == [True, True, True]
    assert failures.reason.str.startswith("its loss at step 0 is 2.00").sum() == 1


def test_a_last_checkpoint_from_another_run_does_not_make_the_run_a_copy(swept, straight):
    rng = np.random.default_rng(1)
    start, direction = rng.standard_normal((2, 500))
    other = {step: start + direction * step / 8 for step in straight}
    swept.measure(straight).measure({**other, 8: straight[8]}, run="other")
    _, failures = swept.join()
    assert failures[["run", "revision"]].to_numpy().tolist() == [["other", "step8"]]
    assert not len(swept.read("copies"))


def test_other_runs_of_a_suite_show_that_step_0_is_foreign(swept):
    rng = np.random.default_rng(0)

    def coarse(correlation):
        start, noise, direction = rng.standard_normal((3, 500))
        own = correlation * start + np.sqrt(1 - correlation**2) * noise
        return {0: start} | {step: own + direction * step / 40_000 for step in (1000, 2000, 4000)}

    for run, correlation in {"r": 0, "a": 0.8, "b": 0.8}.items():
        swept.measure(coarse(correlation), run=run)
    _, failures = swept.join()
    assert failures[["run", "revision"]].to_numpy().tolist() == [["r", "step0"]]


@pytest.mark.parametrize(
    ("loss", "family", "is_odd"),
    [
        (np.log(300) + 0.4, "decoder", False),
        (np.log(300) - 0.6, "decoder", True),
        (2.0, "decoder", True),
        (2.0, "encoder", False),
    ],
)
def test_loss_at_step_0_that_no_untrained_model_has_is_doubtful(
    swept, straight, loss, family, is_odd
):
    swept.measure(straight, loss, family=family)
    measured, failures = swept.join()
    assert len(measured) == 5
    assert failures.measured.tolist() == [True] * is_odd
    reason = f"its loss at step 0 is {loss:.2f}, but the loss of an untrained"
    assert failures.reason.str.startswith(reason).all()


def test_copy_of_another_run_is_named_even_if_its_last_checkpoint_is_excluded(swept, straight):
    # The labels of the last two checkpoints of both runs are swapped.
    swapped = straight | {4: straight[8], 8: straight[4]}
    swept.measure(swapped).measure(swapped, run="again")
    _, failures = swept.join()
    copies = swept.read("copies")
    assert (copies.run.tolist(), copies.of.tolist()) == (["again"], ["r"])
    named = failures[failures.reason.str.startswith("copy: its weights are those of r")]
    assert (named.run.tolist(), named.step.tolist()) == (["again"], copies.step.tolist())
    assert named.measured.all()


def test_failures_of_batches_are_marked_as_transient_or_not(swept, straight):
    measured, failures = swept.measure(
        straight, failures={1: TransientError("later"), 2: UnexpectedError("never")}
    ).join()
    assert measured == ["step0", "step4", "step8"]
    found = failures[["reason", "revision", "transient"]].itertuples(index=False)
    assert [tuple(row) for row in found] == [("later", "step1", True), ("never", "step2", False)]
    # All three steps are in the batch of step 0, whose log the summary names.
    log = "logs/geometry/s/r/step0/0123456789ab.log"
    assert failures.log.tolist() == [log] * 2
    assert [explanation(row) for row in failures.itertuples()] == [
        "later; the next sweep tries again",
        f"never; log: {log}",
    ]


def test_problem_in_the_manifest_is_a_failure(swept, straight):
    swept.measure(straight)
    status = ("hole", "missing_weights")
    for step, chosen in ((16, True), (32, False)):
        checkpoint = Checkpoint(
            "s", "r", f"step{step}", step=step, status=status, chosen=chosen, selected=False
        )
        swept.checkpoints.append(checkpoint)
    measured, failures = swept.join()
    assert len(measured) == 5
    assert failures.reason.tolist() == ["hole, missing_weights"]
    assert failures.revision.tolist() == ["step16"]


def test_checkpoint_added_after_the_plan_waits_for_the_next_run(swept, straight):
    swept.measure(straight)
    swept.checkpoints.append(Checkpoint("s", "r", "step16", step=16))
    measured, failures = swept.join()
    assert "step16" not in measured
    assert not len(failures)


def test_checkpoint_removed_after_the_plan_is_a_failure(swept, straight):
    swept.measure(straight, failures={8: CheckpointError("no longer exists")})
    del swept.checkpoints[-1]
    measured, failures = swept.join()
    assert measured == ["step0", "step1", "step2", "step4"]
    assert failures.reason.tolist() == ["no longer exists"]


def test_error_names_an_absent_table_of_a_batch(swept, straight, tmp_path):
    swept.measure(straight)
    path = tmp_path / "geometry/s/r/step4/0123456789ab/origins.parquet"
    path.unlink()
    with pytest.raises(ShapesweepError, match=rf"{path}: no such file"):
        swept.join()
