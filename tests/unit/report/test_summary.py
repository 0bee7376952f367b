"""In a terminal, the columns of the summary of a sweep are aligned."""

import pandas as pd

from shapesweep.report import sentences, summary


def test_columns_of_long_steps_are_separated():
    row = {"layers": "middle", "selection": "no_first", "metric": "id_twonn"}
    values = {955_000: 2.68, 1_431_000: 2.72}
    trajectories = pd.DataFrame([row | {"step": s, "value": v} for s, v in values.items()])
    nothing = pd.DataFrame()
    curves = nothing, trajectories, nothing, nothing, nothing, nothing
    run = sentences.Run("tinyllama", "late", "text", *curves)
    _, header, all_tokens, *_ = summary._along(run, nothing)
    assert header.split() == ["step", "955000", "1431000"]
    assert all_tokens.split() == ["all", "tokens", "2.68", "2.72"]
    # Each value ends in the same column as the step above it.
    assert header.index("955000") + 6 == all_tokens.index("2.68") + 4
    assert header.index("1431000") + 7 == all_tokens.index("2.72") + 4
