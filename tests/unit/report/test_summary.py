"""The summary of a sweep states the findings in aligned columns and in sentences."""

import pandas as pd

from helpers.curves import TOKENS, build, joined, make, write_curves
from shapesweep.errors import CheckpointError
from shapesweep.report import sentences, summary
from shapesweep.storage import failures
from shapesweep.storage.manifests import Checkpoint


def test_columns_of_long_steps_are_separated():
    row = {"layers": "middle", "selection": "no_first", "metric": "id_twonn"}
    values = {955_000: 2.68, 1_431_000: 2.72}
    points = [{"step": s, "tokens": 2**21 * s, "value": v} for s, v in values.items()]
    trajectories = pd.DataFrame([row | point for point in points])
    nothing = pd.DataFrame()
    curves = trajectories, trajectories, nothing, nothing, nothing, nothing
    run = sentences.Run("tinyllama", "late", "text", *curves)
    _, header, all_tokens, *_ = summary._along(run, nothing)
    assert header.split() == ["step", "955,000", "1,431,000"]
    assert all_tokens.split() == ["all", "tokens", "2.68", "2.72"]
    # Each value ends in the same column as the step above it.
    assert header.index("955,000") + 7 == all_tokens.index("2.68") + 4
    assert header.index("1,431,000") + 9 == all_tokens.index("2.72") + 4


def test_runs_without_steps_are_described_by_tokens(tmp_path):
    both = [make([2, 3, 6, 5, 3], 0.1, steps=TOKENS, selection=s) for s in ("all", "no_first")]
    geometry, replicates = joined(*both)
    checkpoint = Checkpoint("s", "decoder", None, step=18 * 10**9)
    hole = failures.as_row(checkpoint, CheckpointError("hole"))
    results = build(geometry.assign(tokens=geometry.step), replicates) | {"missing": [hole]}
    write_curves(results, tmp_path / "curves")
    text = " ".join(summary.write(tmp_path, tmp_path / "summary.txt").split())
    for words in (
        "Anisotropy over depth, 1 T tokens: ",
        "5.00 at 16.2 B tokens, ",
        " at 1 T tokens; ",
        "tokens 16.2 B 16.78 B 100 B 500 B 1 T",
        "not measured: s/decoder/18 B tokens: hole",
    ):
        assert words in text
    assert "step" not in text.partition("Where to look")[0]
