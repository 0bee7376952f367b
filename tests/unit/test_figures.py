"""What figures show of a sweep that has more than can be seen."""

import pandas as pd
import pytest

from shapesweep.figures._panels import short
from shapesweep.figures._select import PANELS, at_chosen, runs


def test_of_many_runs_every_model_and_family_has_a_panel_before_a_second_seed():
    made = [
        {"suite": "s", "run": f"{model}-seed{seed}", "model": model, "family": family}
        for model, family in (("a", "decoder"), ("b", "decoder"), ("e", "encoder"))
        for seed in range(20)
    ]
    chosen = runs(pd.DataFrame(made))
    assert len(chosen) == PANELS
    names = [run for _, run, _ in chosen]
    assert names == ["a-seed0", "a-seed1", "b-seed0", "b-seed1", "e-seed0", "e-seed1"]


def test_of_many_checkpoints_those_are_drawn_that_are_evenly_spaced_in_log_step():
    steps = [0, *(2**n for n in range(10)), *range(1000, 144_000, 1000)]
    table = pd.DataFrame({"suite": "s", "run": "r", "step": pd.array(steps, dtype="Int64")})
    chosen = sorted(at_chosen(table, 12).step)
    assert chosen[0] == 0 and chosen[-1] == 143_000 and len(chosen) <= 12
    assert sum(step < 1000 for step in chosen) == pytest.approx(7, abs=1)
    few = table.head(3)
    assert at_chosen(few, 12).equals(few)
    unknown = pd.DataFrame({"suite": "s", "run": "r", "step": pd.array([None], dtype="Int64")})
    assert len(at_chosen(unknown, 12)) == 1


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (0, "0"),
        (512, "512"),
        (1000, "1k"),
        (143_000, "143k"),
        (1_500_000, "1.5M"),
        (131_072, "131,072"),
    ],
)
def test_a_step_is_short(step, said):
    assert short(step) == said
