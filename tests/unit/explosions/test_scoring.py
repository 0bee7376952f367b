"""Scoring finds planted warnings of explosions, and finds no other warnings."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from shapesweep.explosions import onset, scoring, signals
from shapesweep.report import explosions
from shapesweep.storage import schemas

STEPS = np.arange(0, 241, 2)
ONSET = 161


def run_of(name, rng, unstable, announced=(), after=0.0, ahead=20):
    """Return the history of a run.

    The history is noise. If the run is unstable, the `announced` metrics grow before the explosion.
    """
    losses = rng.normal(3, 0.05, 240)
    if unstable:
        losses[ONSET - 1 :] += 4
    logged = {"loss": losses, "gradient_norm": np.exp(rng.normal(0, 0.2, 240))}
    rows = [
        (step, "log", metric, None, None, value)
        for metric, values in logged.items()
        for step, value in enumerate(values, start=1)
    ]
    for metric, layer, k in (("id_twonn", 2, 2), ("id_twonn", 4, 2), ("kurtosis", 4, None)):
        values = np.exp(rng.normal(2, 0.02, len(STEPS)))
        if unstable and metric in announced:
            values[(ONSET - 1 - ahead <= STEPS) & (ONSET - 1 > STEPS)] *= 1.3
        if unstable:
            values[ONSET - 1 <= STEPS] *= 1 + after
        rows += [(s, "probe", metric, layer, k, v) for s, v in zip(STEPS, values, strict=True)]
    columns = ["step", "source", "metric", "layer", "k", "value"]
    history = pd.DataFrame(rows, columns=columns).assign(suite="planted", run=name)
    return history.reindex(columns=schemas.HISTORY.names)


def cohort(seed=0, n=10, **more):
    rng = np.random.default_rng(seed)
    parts = [run_of(f"u{i}", rng, True, **more) for i in range(n)]
    parts += [run_of(f"s{i}", rng, False) for i in range(n)]
    return scoring.warnings(pd.concat(parts, ignore_index=True))


@pytest.fixture(autouse=True)
def _few_resamplings(monkeypatch):
    monkeypatch.setattr(scoring, "RESAMPLED", 1000)


def family(results, name):
    return results["warnings"].query("level == 'family' and family == @name").iloc[0]


def test_copies_of_runs_do_not_count():
    rng = np.random.default_rng(0)
    parts = [run_of(f"u{i}", rng, True, announced=["id_twonn"]) for i in range(6)]
    parts += [run_of(f"s{i}", rng, False) for i in range(6)]
    again = [part.assign(run=f"{part.run.iloc[0]}-again") for part in parts]
    alone = scoring.warnings(pd.concat(parts, ignore_index=True))
    copied = {("planted", part.run.iloc[0]) for part in again}
    both = scoring.warnings(pd.concat([*parts, *again], ignore_index=True), copied)
    pd.testing.assert_frame_equal(both["warnings"], alone["warnings"])
    assert len(both["spikes"]) == 24


def test_planted_warning_is_found_with_its_lead():
    results = cohort(announced=["id_twonn"])
    assert results["spikes"].onset.dropna().tolist() == [ONSET] * 10
    dimension, kurtosis = family(results, "ID"), family(results, "kurtosis")
    assert dimension.detection == 1.0
    assert dimension.detection_low > dimension.chance
    # The first high loss is the loss of the weights after ONSET - 1 updates. The ID starts to grow
    # 20 updates before these weights are reached.
    assert dimension.lead == pytest.approx(20, abs=2)
    assert dimension.resolved
    assert kurtosis.detection <= 0.4
    assert kurtosis.behind_low > 0
    assert "**The ID warns.**" in report_of(results)


def test_signals_without_information_get_no_warning_score():
    results = cohort()
    for row in results["warnings"].itertuples():
        assert row.detection_low <= row.chance
    assert "**It is not shown that the ID warns.**" in report_of(results)


def test_change_that_starts_with_the_explosion_is_no_warning():
    results = cohort(after=5.0)
    assert family(results, "ID").detection_low <= family(results, "ID").chance


def test_lead_within_the_probe_interval_is_unresolved():
    results = cohort(announced=["id_twonn"], ahead=2)
    row = family(results, "ID")
    assert row.detection > 0.8
    assert row.lead <= 2
    assert not row.resolved
    assert "unresolved" in report_of(results)


def test_too_few_runs_are_not_scored():
    results = cohort(n=3)
    assert len(results["spikes"]) == 6
    assert not len(results["warnings"])
    assert "No signal is scored" in report_of(results)
    nothing = scoring.warnings(pd.DataFrame(columns=schemas.HISTORY.names))
    assert all(not len(table) for table in nothing.values())
    assert "No loss was logged" in report_of(nothing)


def test_loss_belongs_to_the_weights_before_its_step():
    rng = np.random.default_rng(0)
    history = run_of("u", rng, True)
    found = signals.read("u", history, ONSET - 1)
    assert found.onset == ONSET - 1
    assert found.moments.max() <= ONSET - 1
    column = found.values[:, found.names.index(("loss", None, None))]
    logged = history[(history.metric == "loss")].set_index("step").value
    # At moment 10, which is after 10 updates, the losses of steps 10 and 11 are known. The loss of
    # step 10 belongs to the weights after 9 updates, and the loss of step 11 to the weights after
    # 10 updates.
    assert column[5] == pytest.approx(logged.loc[[10, 11]].mean())


def test_log_coarser_than_the_probe_raises_no_alarm_and_limits_the_lead():
    rng = np.random.default_rng(0)
    parts = []
    for n in range(20):
        run = run_of(f"r{n}", rng, n < 10, announced=["id_twonn"], ahead=2)
        logged = run.source == "log"
        # Trainers log the mean of several losses. In this test, each logged loss is the mean over
        # four steps, such as steps 160 to 163.
        coarse = run[logged].assign(step=run[logged].step // 4 * 4 + 3)
        coarse = coarse.groupby([*coarse.columns.drop("value")], dropna=False).value.mean()
        parts.append(pd.concat([run[~logged], coarse.reset_index()]))
    results = scoring.warnings(pd.concat(parts, ignore_index=True))
    assert results["spikes"].onset.dropna().unique().tolist() == [163]
    loss = family(results, "loss")
    assert loss.false_alarms <= 3
    assert loss.interval == 4
    # According to this log, the explosion at step 161 may have begun at step 160. Moment 158, at
    # which the ID starts to grow, is only two steps before step 160.
    assert family(results, "ID").lead <= 4
    assert not family(results, "ID").resolved


def test_run_with_a_short_log_is_not_scored():
    rng = np.random.default_rng(0)
    short = run_of("short", rng, False)
    short = short[(short.source == "probe") | (short.step <= 20)]
    (row,) = scoring.warnings(short)["spikes"].itertuples()
    assert pd.isna(row.onset)
    losses = short[short.source == "log"].query("metric == 'loss'").sort_values("step")
    assert not scoring._spike(losses).is_clear


def test_runs_with_rare_probes_are_scored():
    rng = np.random.default_rng(0)
    history = pd.concat([run_of(f"r{n}", rng, n < 4) for n in range(8)])
    # Multiply all steps of the history by 100.
    results = scoring.warnings(history.assign(step=history.step * 100))
    assert set(results["warnings"].interval) == {200}
    assert "unresolved" in report_of(results) or "none of them" in report_of(results)


def report_of(results):
    trajectories = pd.DataFrame(columns=schemas.TRAJECTORIES.names)
    of_sweep = {"trajectories": trajectories, "spiked": pd.DataFrame()}
    return explosions.as_markdown(SimpleNamespace(**of_sweep, **results))


def test_scoring_uses_the_rule_of_first_onset():
    results = cohort(n=4)
    rng = np.random.default_rng(0)
    losses = run_of("u0", rng, True).query("metric == 'loss'").value.to_numpy()
    assert results["spikes"].onset.iloc[0] == onset.first_onset(losses) + 1
