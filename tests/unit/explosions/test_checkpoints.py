"""Checkpoints are before, in or after a loss spike, and are compared with normal checkpoints."""

from types import SimpleNamespace

import numpy as np
import pandas as pd

from shapesweep.explosions import checkpoints
from shapesweep.figures.spiked import FIGURE
from shapesweep.report import explosions
from shapesweep.storage import schemas

STEPS = range(0, 1000, 100)


def trajectories(run, values, steps=STEPS, suite="s"):
    row = dict.fromkeys(schemas.TRAJECTORIES.names)
    row |= {"suite": suite, "run": run, "over": "documents", "layers": "middle"}
    row |= {"metric": "id_twonn", "corpus": "text", "selection": "no_first"}
    return pd.DataFrame(
        [
            row | {"step": step, "revision": f"step{step}", "value": v, "low": v - 1, "high": v + 1}
            for step, v in zip(steps, values, strict=True)
        ]
    ).astype({"step": "Int64"})


def history(run, losses, suite="s"):
    rows = {"suite": suite, "run": run, "source": "log", "step": range(0, 10 * len(losses), 10)}
    return pd.DataFrame({**rows, "metric": "loss", "value": losses}).astype({"step": "Int64"})


def manifest(**repositories):
    rows = [{"suite": "s", "run": run, "repository": name} for run, name in repositories.items()]
    return pd.DataFrame(rows, columns=["suite", "run", "repository"])


def spiking():
    """Losses of 100 log entries: the loss is 2 nats higher from step 500 to step 660."""
    losses = 3 + 0.01 * np.random.default_rng(0).standard_normal(100)
    losses[50:67] += 2
    return losses


def test_checkpoints_are_before_in_or_after_the_spike():
    calm = history("calm", np.full(100, 3.0))
    both = pd.concat([trajectories("a", range(10)), trajectories("calm", range(10))])
    logs = pd.concat([history("a", spiking()), calm])
    found = checkpoints.describe(both, logs, manifest(), {})
    # The run without a spike is left out.
    assert set(found.run) == {"a"}
    assert found.state.tolist() == ["before"] * 5 + ["in"] * 2 + ["after"] * 3
    # The checkpoint at step 500 is at the onset.
    assert np.allclose(found.loss.drop(5), [3] * 5 + [5] + [3] * 3, atol=0.1)
    assert found.value.tolist() == list(range(10))
    assert found.reference.isna().all()


def test_steps_outside_of_the_log_have_no_loss():
    steps = [0, 600, 990, 1500]
    found = checkpoints.describe(
        trajectories("a", range(4), steps), history("a", spiking()), manifest(), {}
    )
    assert found.state.fillna("").tolist() == ["before", "in", "after", ""]
    assert found.loss.isna().tolist() == [False, False, False, True]


def test_a_loss_that_is_not_finite_is_in_the_spike():
    losses = spiking()
    losses[50:67] = np.nan
    found = checkpoints.describe(trajectories("a", range(10)), history("a", losses), manifest(), {})
    assert found.state.tolist() == ["before"] * 5 + ["in"] * 2 + ["after"] * 3


def test_a_loss_that_is_not_finite_from_the_start_is_in_the_spike():
    losses = np.full(100, np.nan)
    losses[:30] = 3
    found = checkpoints.describe(trajectories("a", range(10)), history("a", losses), manifest(), {})
    assert found.state.tolist() == ["before"] * 3 + ["in"] * 7


def test_named_runs_are_laid_beside_the_run_of_their_repository():
    parts = [
        trajectories("x.spike", [5, 6, 7], [1, 2, 3]),
        trajectories("x.normal", [1, 2], [2, 3]),
        trajectories("x.other", [9], [3]),
        trajectories("y.normal", [8, 8, 8], [1, 2, 3]),
        trajectories("y.spike", [4], [7]),
    ]
    places = {"x.spike": "o/x", "x.normal": "o/x", "x.other": "o/x"}
    places |= {"y.normal": "o/y", "y.spike": "o/z"}
    nothing = pd.DataFrame(columns=schemas.HISTORY.names)
    found = checkpoints.describe(pd.concat(parts), nothing, manifest(**places), {"s": ["*.spike"]})
    assert found.run.tolist() == ["x.spike"] * 3 + ["y.spike"]
    assert found.state.tolist() == ["in"] * 4
    assert found.reference.fillna("").tolist() == ["", "x.normal", "x.normal", ""]
    assert found.reference_value.fillna(0).tolist() == [0, 1, 2, 0]
    assert found.reference_high.fillna(0).tolist() == [0, 2, 3, 0]


def test_without_spikes_the_table_is_empty():
    calm = history("a", np.full(100, 3.0))
    measured = trajectories("a", range(10))
    for table, logs in ((measured, calm), (measured, calm.iloc[:0]), (measured.iloc[:0], calm)):
        found = checkpoints.describe(table, logs, manifest(), {"s": ["b"]})
        assert not len(found)
        assert list(found.columns) == schemas.SPIKED.names


def test_the_report_states_what_is_known_of_each_run():
    parts = [
        trajectories("x.spike", [5, 6, 7], [1, 2, 3]),
        trajectories("x.normal", [1, 9, 2], [1, 2, 3]),
        trajectories("y.spike", [4], [7]),
        trajectories("a", range(10)),
    ]
    parts[1].loc[2, ["low", "high"]] = np.nan
    places = {"x.spike": "o/x", "x.normal": "o/x", "y.spike": "o/y"}
    found = checkpoints.describe(
        pd.concat(parts), history("a", spiking()), manifest(**places), {"s": ["*.spike"]}
    )
    curves = SimpleNamespace(
        spikes=pd.DataFrame(columns=["suite"]), spiked=found, trajectories=pd.concat(parts)
    )
    report = explosions.as_markdown(curves)
    # The third common step has no interval.
    assert "| s/x.spike | x.normal | `id_twonn` of text, no_first | 1 to 2 |" in report
    assert "+0.50 (-3.00 to +4.00) | 2 of 2 |" in report
    assert "s/y.spike: its checkpoints are in a spike, but its repository has no run" in report
    assert "| s/a | `id_twonn` of text, no_first | 4.00 (3.00 to 5.00) at step 400 |" in report
    assert "nan" not in report


def test_positions_of_runs_without_steps_are_written_as_tokens():
    places = [10**11, 2 * 10**11]
    parts = [trajectories(run, [5, 6], places) for run in ("x.spike", "x.normal")]
    measured = pd.concat(parts)
    measured["tokens"] = measured.step
    nothing = pd.DataFrame(columns=schemas.HISTORY.names)
    where = manifest(**{"x.spike": "o/x", "x.normal": "o/x"})
    found = checkpoints.describe(measured, nothing, where, {"s": ["*.spike"]})
    spikes = pd.DataFrame(columns=["suite"])
    report = explosions.as_markdown(
        SimpleNamespace(spikes=spikes, spiked=found, trajectories=measured)
    )
    assert "no_first | 100 B to 200 B tokens |" in report
    canvas = FIGURE.draw(FIGURE.data(SimpleNamespace(spiked=found)))
    canvas.draw_without_rendering()
    assert canvas.axes[-1].get_xlabel() == "training tokens"
    assert "150B" in [label.get_text() for label in canvas.axes[-1].get_xticklabels()]
