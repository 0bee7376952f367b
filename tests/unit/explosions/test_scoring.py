"""Warnings of planted explosions: what announces them is found, what does not is not."""

import numpy as np
import pandas as pd
import pytest

from shapesweep.explosions import onset, signals
from shapesweep.explosions import scoring as warnings
from shapesweep.report import explosions
from shapesweep.storage import schemas

STEPS = np.arange(0, 241, 2)
ONSET = 161


def run_of(name, rng, unstable, announced=(), after=0.0, ahead=20):
    """A run's history: noise, and before its explosion a growth of what announces it."""
    losses = rng.normal(3, 0.05, 240)
    if unstable:
        losses[ONSET - 1 :] += 4
    rows = [(s + 1, "log", "loss", None, None, v) for s, v in enumerate(losses)]
    rows += [
        (s + 1, "log", "gradient_norm", None, None, v)
        for s, v in enumerate(np.exp(rng.normal(0, 0.2, 240)))
    ]
    for metric, layer, k in (("id_twonn", 2, 2), ("id_twonn", 4, 2), ("kurtosis", 4, None)):
        values = np.exp(rng.normal(2, 0.02, len(STEPS)))
        if unstable and metric in announced:
            values[(ONSET - 1 - ahead <= STEPS) & (ONSET - 1 > STEPS)] *= 1.3
        if unstable:
            values[ONSET - 1 <= STEPS] *= 1 + after
        rows += [(s, "probe", metric, layer, k, v) for s, v in zip(STEPS, values, strict=True)]
    columns = ["step", "source", "metric", "layer", "k", "value"]
    made = pd.DataFrame(rows, columns=columns).assign(suite="planted", run=name)
    return made.reindex(columns=schemas.HISTORY.names)


def cohort(seed=0, n=10, **more):
    rng = np.random.default_rng(seed)
    parts = [run_of(f"u{i}", rng, True, **more) for i in range(n)]
    parts += [run_of(f"s{i}", rng, False) for i in range(n)]
    return warnings.warnings(pd.concat(parts, ignore_index=True))


@pytest.fixture(autouse=True)
def _few_resamplings(monkeypatch):
    monkeypatch.setattr(warnings, "RESAMPLED", 1000)


def family(made, name):
    return made["warnings"].query("level == 'family' and family == @name").iloc[0]


def test_what_announces_an_explosion_is_found_with_its_lead():
    made = cohort(announced=["id_twonn"])
    spikes = made["spikes"]
    assert spikes.onset.dropna().tolist() == [ONSET] * 10
    one, other = family(made, "ID"), family(made, "kurtosis")
    assert one.detection == 1.0
    assert one.detection_low > one.chance
    # It grows twenty updates before the weights whose loss is the onset.
    assert one.lead == pytest.approx(20, abs=2)
    assert one.resolved
    assert other.detection <= 0.4
    assert other.behind_low > 0
    assert "**The ID warns.**" in told(made)


def test_an_honest_null_is_said():
    made = cohort()
    for one in made["warnings"].itertuples():
        assert one.detection_low <= one.chance
    assert "**That the ID warns is not shown.**" in told(made)


def test_what_changes_with_the_explosion_is_no_warning():
    made = cohort(after=5.0)
    assert family(made, "ID").detection_low <= family(made, "ID").chance


def test_a_lead_within_the_interval_is_unresolved():
    made = cohort(announced=["id_twonn"], ahead=2)
    one = family(made, "ID")
    assert one.detection > 0.8
    assert one.lead <= 2
    assert not one.resolved
    assert "unresolved" in told(made)


def test_with_few_runs_nothing_is_scored():
    made = cohort(n=3)
    assert len(made["spikes"]) == 6
    assert not len(made["warnings"])
    assert "Nothing is scored" in told(made)
    nothing = warnings.warnings(pd.DataFrame(columns=schemas.HISTORY.names))
    assert all(not len(table) for table in nothing.values())
    assert "No loss was logged" in told(nothing)


def test_losses_belong_to_the_weights_before_their_step():
    rng = np.random.default_rng(0)
    history = run_of("u", rng, True)
    found = signals.read("u", history, ONSET - 1)
    assert found.onset == ONSET - 1
    assert found.moments.max() <= ONSET - 1
    column = found.values[:, found.names.index(("loss", None, None))]
    logged = history[(history.metric == "loss")].set_index("step").value
    # At moment 10 the losses of steps 10 and 11 are known: of the weights after 9 and 10 updates.
    assert column[5] == pytest.approx(logged.loc[[10, 11]].mean())


def test_a_log_that_is_coarser_than_the_probe_is_no_alarm_and_bounds_the_lead():
    rng = np.random.default_rng(0)
    parts = []
    for n, unstable in ((n, n < 10) for n in range(20)):
        run = run_of(f"r{n}", rng, unstable, announced=["id_twonn"], ahead=2)
        logged = run.source == "log"
        # The mean of four losses at a time, as Trainers log them: of steps 160 to 163, say.
        coarse = run[logged].assign(step=run[logged].step // 4 * 4 + 3)
        coarse = coarse.groupby([*coarse.columns.drop("value")], dropna=False).value.mean()
        parts.append(pd.concat([run[~logged], coarse.reset_index()]))
    made = warnings.warnings(pd.concat(parts, ignore_index=True))
    assert made["spikes"].onset.dropna().unique().tolist() == [163]
    loss = family(made, "loss")
    assert loss.false_alarms <= 3
    assert loss.interval == 4
    # An explosion at 161 may as well have begun at 160: the moment 158 is hardly before it.
    assert family(made, "ID").lead <= 4
    assert not family(made, "ID").resolved


def test_a_run_that_exploded_at_once_or_was_hardly_logged_is_not_scored():
    rng = np.random.default_rng(0)
    short = run_of("short", rng, False)
    short = short[(short.source == "probe") | (short.step <= 20)]
    (one,) = warnings.warnings(short)["spikes"].itertuples()
    assert pd.isna(one.onset)
    losses = short[short.source == "log"].query("metric == 'loss'").sort_values("step")
    assert not warnings._spike(losses).is_clear


def test_seldom_probes_are_no_error():
    rng = np.random.default_rng(0)
    parts = [run_of(f"r{n}", rng, n < 4) for n in range(8)]
    history = pd.concat(parts)
    # Every hundredth step of a log that is a hundred times as long.
    history = history.assign(step=history.step * 100)
    made = warnings.warnings(history)
    assert set(made["warnings"].interval) == {200}
    assert "unresolved" in told(made) or "none of them" in told(made)


def told(made):
    class Curves:
        spikes, approaches, warnings = (made[n] for n in ("spikes", "approaches", "warnings"))
        trajectories = pd.DataFrame(columns=schemas.TRAJECTORIES.names)

    return explosions.as_markdown(Curves)


def test_the_rule_of_an_onset_is_the_same_everywhere():
    made = cohort(n=4)
    rng = np.random.default_rng(0)
    losses = run_of("u0", rng, True).query("metric == 'loss'").value.to_numpy()
    assert made["spikes"].onset.iloc[0] == onset.first_onset(losses) + 1
