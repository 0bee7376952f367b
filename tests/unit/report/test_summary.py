"""The summary of a sweep, as a terminal shows it."""

import pandas as pd

from shapesweep.report import sentences, summary


def test_columns_of_long_steps_are_separated():
    steps = [955_000, 1_431_000]
    trajectories = pd.DataFrame(
        {
            "layers": "middle",
            "selection": "no_first",
            "metric": "id_twonn",
            "step": steps,
            "value": [2.68, 2.72],
        }
    )
    nothing = pd.DataFrame()
    run = sentences.Run("tinyllama", "late", "text", nothing, trajectories, nothing, nothing)
    _, header, all_neighbours, *_ = summary._along(run)
    assert header.split() == ["step", "955000", "1431000"]
    assert all_neighbours.split() == ["all", "neighbours", "2.68", "2.72"]
    # Numbers end in the same column as their steps.
    assert header.index("955000") + 6 == all_neighbours.index("2.68") + 4
    assert header.index("1431000") + 7 == all_neighbours.index("2.72") + 4
