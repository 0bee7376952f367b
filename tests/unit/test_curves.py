"""The curves: averages, differences and peaks, with errors that belong together."""

import numpy as np
import pandas as pd
import pytest

from shapesweep import curves, figures, summary, tables
from shapesweep.errors import ShapesweepError
from shapesweep.estimators import jackknife

STEPS = (0, 1, 10, 100, 1000)
GROUPS = 8


def number(step, layer, metric, value, **more):
    kind = "embedding" if layer == 0 else "block"
    row = dict.fromkeys(tables.GEOMETRY.names) | {
        "suite": "s", "run": "decoder", "architecture": "LlamaForCausalLM", "n_layers": 6,
        "revision": f"checkpoint-{step}", "step": step, "corpus": "text", "pooling": "tokens",
        "layer": layer, "layer_kind": kind, "selection": "no_first", "metric": metric,
        "value": value, "n_points": 100, "document_length": 16, "n_documents": 16, "flag": "",
        "metric_version": 1, "n_duplicates": 0, "n_dropped": 0,
    }  # fmt: skip
    return row | more


def make(trajectory, noise, metrics=("id_twonn", "id_twonn_between", "anisotropy"), **more):
    """Geometry and replicates of a run whose every block follows a trajectory."""
    rng = np.random.default_rng(0)
    # What the documents do to a number they do at every step: the differences are paired.
    shared = rng.standard_normal(GROUPS) * noise
    geometry, replicates = [], []
    for metric in metrics:
        for step, value in zip(STEPS, trajectory, strict=True):
            for layer in range(7):
                without = value + layer + shared + rng.standard_normal(GROUPS) * noise / 10
                error = float(jackknife.stderr(without))
                row = number(step, layer, metric, value + layer, stderr=error, **more)
                geometry.append(row)
                keep = {key: row[key] for key in tables.REPLICATES.names if key in row}
                replicates += [keep | {"group": g, "value": v} for g, v in enumerate(without)]
    return as_read(geometry, tables.GEOMETRY), as_read(replicates, tables.REPLICATES)


def as_read(rows, schema):
    """Rows as they come back from a file."""
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        tables.write(rows, schema, Path(folder) / "table.parquet")
        return tables.read(Path(folder) / "table.parquet", schema)


@pytest.mark.parametrize(
    ("trajectory", "verdict", "step"),
    [
        ([2, 3, 6, 5, 3], "peak", 10),
        ([9, 7, 5, 4, 3], "no peak", 1),
        ([2, 3, 4, 5, 6], "no peak", 100),
        ([4, 4, 4.001, 4, 4], "no peak", 10),
    ],
)
def test_a_peak_is_found_and_only_a_peak(trajectory, verdict, step):
    found = curves.phases(*make(trajectory, noise=0.02))
    row = found[found.metric == "id_twonn"].iloc[0]
    assert (row.verdict, row.peak_step) == (verdict, step)
    # Blocks 2, 3 and 4 of six are the middle.
    assert row.peak == pytest.approx(trajectory[STEPS.index(step)] + 3)


def test_paired_differences_are_surer_than_their_ends():
    geometry, replicates = make([2, 3, 6, 5, 3], noise=1.0)
    row = curves.phases(geometry, replicates).iloc[0]
    middle = curves.trajectories(geometry, replicates, as_read([], tables.LOSSES))
    middle = middle[(middle.layers == "middle") & (middle.metric == row.metric)]
    assert row.half_width < 0.5 * (middle.high - middle.value).max()


def test_losses_carry_their_own_corpus_documents():
    geometry, replicates = make([2, 3, 6, 5, 3], noise=0.02)
    other, more = make([2, 3, 6, 5, 3], noise=0.02, corpus="last", pooling="last", n_documents=99)
    geometry = pd.concat([geometry, other])
    rows = [
        {"suite": "s", "run": "r", "revision": "a", "step": 1, "source": source, "corpus": corpus,
         "value": 3.0, "stderr": 0.1}
        for source, corpus in (("eval", "text"), ("eval", "last"), ("log", None))
    ]  # fmt: skip
    rows = [{**row, "suite": geometry.suite.iloc[0], "run": geometry.run.iloc[0]} for row in rows]
    found = curves.trajectories(
        geometry, pd.concat([replicates, more]), as_read(rows, tables.LOSSES)
    )
    found = found[found.metric.str.startswith("loss")].set_index(["metric", "corpus"])
    assert found.loc[("loss_eval", "last")].n_documents == 99
    assert found.loc[("loss_eval", "last")].pooling == "last"
    assert found.loc[("loss_eval", "text")].n_documents == 16
    assert len(found) == 3


def test_two_checkpoints_make_no_peak():
    geometry, replicates = make([2, 3, 6, 5, 3], noise=0.02)
    few = [part[part.step <= 1] for part in (geometry, replicates)]
    assert set(curves.phases(*few).verdict) == {"too few checkpoints"}


def test_an_undefined_value_is_not_averaged_away():
    geometry, replicates = make([2, 3, 6, 5, 3], noise=0.02)
    geometry.loc[(geometry.layer == 3) & (geometry.step == 10), "value"] = np.nan
    assert set(curves.phases(geometry, replicates).verdict) == {"undefined"}


def test_the_middles_error_comes_from_its_replicates():
    geometry, replicates = make([2, 3, 6, 5, 3], noise=0.5)
    middle = curves.trajectories(geometry, replicates, as_read([], tables.LOSSES))
    row = middle.query("layers == 'middle' and metric == 'anisotropy' and step == 10").iloc[0]
    mine = replicates.query("metric == 'anisotropy' and step == 10 and 2 <= layer <= 4")
    without = mine.groupby("group").value.mean()
    half = jackknife.half_width(jackknife.stderr(without), GROUPS)
    assert row.high - row.value == pytest.approx(half)
    assert row.value == pytest.approx(6 + 3)


def test_the_bands_know_their_number_of_groups():
    geometry, replicates = make([2, 3, 6, 5, 3], noise=0.5)
    profile = curves.profiles(geometry, replicates)
    expected = jackknife.half_width(geometry.stderr.to_numpy(float), GROUPS)
    np.testing.assert_allclose(profile.high - profile.value, expected)


def profile(values, half=0.01):
    rows = [
        {"layer": k, "layer_kind": "block" if k else "embedding", "n_layers": len(values) - 1,
         "value": v, "low": v - half, "high": v + half}
        for k, v in enumerate(values)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_a_dome_is_higher_than_both_of_its_ends():
    assert summary.dome(profile([0.1, 0.5, 0.6, 0.2]))["is_dome"]
    assert not summary.dome(profile([0.1, 0.2, 0.4, 0.6]))["is_dome"]
    assert not summary.dome(profile([0.1, 0.11, 0.12, 0.1], half=0.05))["is_dome"]
    assert summary.dome(profile([0.1, 0.2])) is None


@pytest.mark.parametrize("measured", [True, False])
def test_every_figure_is_drawn_and_the_summary_written(tmp_path, measured):
    geometry, replicates = make([2, 3, 6, 5, 3], noise=0.1, metrics=sorted(_metrics()))
    both = [pd.concat([part, part.assign(selection="all")]) for part in (geometry, replicates)]
    geometry, replicates = (part if measured else part.iloc[:0] for part in both)
    losses = as_read([], tables.LOSSES)
    failures = as_read(
        [
            {
                **{"suite": "s", "run": "decoder", "revision": "checkpoint-7", "step": 7},
                **{"reason": "why", "measured": False, "transient": False},
            }
        ],
        tables.FAILURES,
    )
    folder = tmp_path / "curves"
    made = {
        "profiles": (curves.profiles(geometry, replicates), tables.PROFILES),
        "trajectories": (curves.trajectories(geometry, replicates, losses), tables.TRAJECTORIES),
        "phases": (curves.phases(geometry, replicates), tables.PHASES),
        "missing": (failures, tables.FAILURES),
    }
    for name, (table, schema) in made.items():
        tables.write(table, schema, folder / f"{name}.parquet")
    for name in figures.FIGURES:
        figures.draw(name, folder, tmp_path / "figures")
        first = (tmp_path / f"figures/{name}.svg").read_bytes()
        figures.draw(name, folder, tmp_path / "figures")
        assert (tmp_path / f"figures/{name}.svg").read_bytes() == first
    text = summary.write(tmp_path, tmp_path / "summary.txt")
    assert "not measured: s/decoder/checkpoint-7: why" in text
    if measured:
        assert "peak 9.00 at step 10" in text


def _metrics():
    from shapesweep.metrics import METRICS

    return METRICS


def test_an_unknown_figure_is_named(tmp_path):
    with pytest.raises(ShapesweepError, match=r"no figure 'dame'; did you mean dome"):
        figures.draw("dame", tmp_path, tmp_path)


def test_damaged_and_foreign_tables_are_named(tmp_path):
    path = tmp_path / "geometry.parquet"
    with pytest.raises(ShapesweepError, match=r"geometry\.parquet: no such file"):
        tables.read(path, tables.GEOMETRY)
    path.write_bytes(b"PAR1 no table")
    with pytest.raises(ShapesweepError, match="damaged or not Parquet"):
        tables.read(path, tables.GEOMETRY)
    tables.write([], tables.LOSSES, path)
    with pytest.raises(ShapesweepError, match="not a table of this version"):
        tables.read(path, tables.GEOMETRY)
    with pytest.raises(ValueError, match="no column"):
        tables.write([{"sute": "s"}], tables.LOSSES, path)
