"""The curves: averages, differences and peaks, with errors that belong together."""

import numpy as np
import pandas as pd
import pytest

from helpers.curves import (
    GROUPS,
    STEPS,
    as_read,
    build,
    by_checkpoint,
    make,
    nothing_else,
    number,
)
from shapesweep import curves
from shapesweep.curves import intervals
from shapesweep.errors import ShapesweepError
from shapesweep.estimators import jackknife
from shapesweep.report import sentences
from shapesweep.storage import schemas, tables


def phases(geometry, replicates):
    return build(geometry, replicates)["phases"]


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
    found = phases(*make(trajectory, noise=0.02))
    row = found[found.metric == "id_twonn"].iloc[0]
    assert (row.verdict, row.peak_step) == (verdict, step)
    # Blocks 2, 3 and 4 of six are the middle.
    assert row.peak == pytest.approx(trajectory[STEPS.index(step)] + 3)


def test_paired_differences_are_surer_than_their_ends():
    geometry, replicates = make([2, 3, 6, 5, 3], noise=1.0)
    made = build(geometry, replicates)
    row, middle = made["phases"].iloc[0], made["trajectories"]
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
    found = curves.build(
        geometry, by_checkpoint(pd.concat([replicates, more])), *nothing_else(rows)
    )["trajectories"]
    found = found[found.metric.str.startswith("loss")].set_index(["metric", "corpus"])
    assert found.loc[("loss_eval", "last")].n_documents == 99
    assert found.loc[("loss_eval", "last")].pooling == "last"
    assert found.loc[("loss_eval", "text")].n_documents == 16
    assert len(found) == 3


def test_behind_a_break_is_another_segment_and_no_phase():
    geometry, replicates = make([2, 3, 6, 5, 3], noise=0.02)
    last = geometry.step.max()
    place = {"suite": "s", "run": "decoder", "revision": f"checkpoint-{last}", "step": last}
    rows = [{**dict.fromkeys(schemas.CONTINUITY.names), **place, "flag": "break"}]
    made = curves.build(geometry, by_checkpoint(replicates), *nothing_else(continuity=rows))
    for name in ("profiles", "trajectories", "shapes", "distances"):
        found = made[name]
        assert set(found[found.step < last].segment) == {0}, name
        assert set(found[found.step == last].segment) == {1}, name
    assert set(made["phases"].last_step) == {sorted(geometry.step.unique())[-2]}
    # Until there it only rises: the fall belongs to another training.
    assert "peak" in set(phases(geometry, replicates).verdict)


def test_two_checkpoints_make_no_peak():
    geometry, replicates = make([2, 3, 6, 5, 3], noise=0.02)
    few = [part[part.step <= 1] for part in (geometry, replicates)]
    assert set(phases(*few).verdict) == {"too few checkpoints"}


def test_an_undefined_value_is_not_averaged_away():
    geometry, replicates = make([2, 3, 6, 5, 3], noise=0.02)
    geometry.loc[(geometry.layer == 3) & (geometry.step == 10), "value"] = np.nan
    assert set(phases(geometry, replicates).verdict) == {"undefined"}


def test_the_middles_error_comes_from_its_replicates():
    geometry, replicates = make([2, 3, 6, 5, 3], noise=0.5)
    middle = build(geometry, replicates)["trajectories"]
    row = middle.query("layers == 'middle' and metric == 'anisotropy' and step == 10").iloc[0]
    mine = replicates.query("metric == 'anisotropy' and step == 10 and 2 <= layer <= 4")
    without = mine.groupby("group").value.mean()
    half = jackknife.half_width(jackknife.stderr(without), GROUPS)
    assert row.high - row.value == pytest.approx(half)
    assert row.value == pytest.approx(6 + 3)


def test_the_bands_know_their_number_of_groups():
    geometry, replicates = make([2, 3, 6, 5, 3], noise=0.5)
    profile = build(geometry, replicates)["profiles"]
    expected = jackknife.half_width(geometry.stderr.to_numpy(float), GROUPS)
    np.testing.assert_allclose(profile.high - profile.value, expected)


def test_runs_that_differ_by_their_seed_make_one_with_a_band_over_seeds():
    parts = [
        make([2, 3, 6 + seed, 5, 3], noise=0.02, run=f"decoder-seed{seed}", seed=seed)
        for seed in range(3)
    ]
    geometry, replicates = (pd.concat(part) for part in zip(*parts, strict=True))
    made = build(geometry, replicates)
    seeds = made["trajectories"].query("over == 'seeds' and layers == 'middle'")
    assert set(seeds.run) == set(seeds.model) == {"decoder"}
    row = seeds[(seeds.metric == "id_twonn") & (seeds.step == 10)].iloc[0]
    # The mean of 9, 10 and 11, and t(2) = 4.303 times the standard deviation 1 over the root of 3.
    assert row.value == pytest.approx(10)
    assert row.high - row.value == pytest.approx(4.303 / np.sqrt(3), rel=1e-3)
    profiles = made["profiles"].query("over == 'seeds' and step == 10 and layer == 4")
    assert len(profiles) == 3
    told = made["phases"].query("metric == 'id_twonn'").set_index("run")
    assert set(told.noise_source) == {"seeds"}
    # They differ at one of four trained steps, by a variance of 1; their mean has a third of it.
    assert told.loc["decoder-seed0"].noise == pytest.approx(np.sqrt(1 / 4))
    assert told.loc["decoder"].noise == pytest.approx(np.sqrt(1 / 12))
    assert told.loc["decoder"].over == "seeds"


def test_seeds_that_share_only_their_start_tell_no_noise_of_training():
    parts = [make([2, 3, 6, 5, 3], 0.02, run=f"d-seed{seed}", seed=seed) for seed in range(2)]
    later = parts[1][0].step > 0
    for table in parts[1]:
        table.loc[table.step > 0, "step"] += 7
    assert later.any()
    geometry, replicates = (pd.concat(part) for part in zip(*parts, strict=True))
    made = build(geometry, replicates)
    assert set(made["phases"].noise_source) == {"residuals"}
    # And a mean over seeds is there only where all of them are.
    assert set(made["trajectories"].query("over == 'seeds'").step) == {0}


@pytest.mark.parametrize(
    ("run", "model"),
    [
        ("pythia-410m-seed3", "pythia-410m"),
        ("seed_3", "model"),
        ("decoder", "decoder"),
        ("a.seed12-x", "a-x"),
        ("seed1_big", "big"),
        ("linseed2-x", "linseed2-x"),
        # Models whose name is Seed.
        ("Seed-36B", "Seed-36B"),
        ("seed-8b-base", "seed-8b-base"),
    ],
)
def test_a_model_is_a_run_without_its_seed(run, model):
    named = intervals.with_names(pd.DataFrame({"run": [run], "architecture": ["BertModel"]}))
    assert named.model.tolist() == [model]


PROFILES = {
    "dome": [0.1, 0.3, 0.5, 0.6, 0.5, 0.3, 0.1],
    "box": [0.1, 0.9, 0.9, 0.9, 0.9, 0.9, 0.1],
    "flat": [0.1, 0.12, 0.15, 0.12, 0.1, 0.1, 0.1],
    "other": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7],
}


@pytest.mark.parametrize("shape", PROFILES)
def test_a_profile_has_a_shape(shape):
    geometry, replicates = with_profile(PROFILES[shape], PROFILES["flat"])
    made = build(geometry, replicates)["shapes"]
    row = made[(made.selection == "all") & (made.metric == "anisotropy")].iloc[0]
    assert row["shape"] == shape
    if shape == "dome":
        # Half of the height of 0.5 lies at 0.35: a quarter of the way from layer 1 to 2.
        assert row.height == pytest.approx(0.5)
        assert (row.left, row.right) == pytest.approx((1.25 / 6, 4.75 / 6))
        assert row.centre == pytest.approx(0.5)
        assert row.height_low < 0.5 < row.height_high
        # Without the first token 0.05 of the height is left.
        assert row.sink_share == pytest.approx(0.9)
    if shape in {"flat", "other"}:
        assert pd.isna(row.centre)
        assert pd.isna(row.sink_share)


def test_a_rise_that_the_documents_do_not_bear_out_is_no_dome():
    geometry, replicates = with_profile(PROFILES["dome"], PROFILES["flat"], noise=0.3)
    made = build(geometry, replicates)["shapes"]
    assert set(made[made.metric == "anisotropy"]["shape"]) <= {"other", "flat"}


def test_distances_are_to_the_last_profile_and_to_the_other_models_of_the_family():
    parts = [
        make(line, noise=0.02, run=run, architecture=architecture, metrics=("anisotropy",))
        for run, line, architecture in (
            ("a", [2, 3, 6, 5, 3], "LlamaForCausalLM"),
            ("b", [9, 9, 9, 9, 4], "LlamaForCausalLM"),
            ("c", [0, 0, 0, 0, 0], "BertForMaskedLM"),
        )
    ]
    geometry, replicates = (pd.concat(part) for part in zip(*parts, strict=True))
    made = build(geometry, replicates)["distances"].set_index(["run", "to", "step"])
    assert made.loc[("a", "final", 10)].value == pytest.approx(3)
    assert made.loc[("a", "final", 1000)].value == 0
    assert made.loc[("a", "family", 10)].value == pytest.approx(2)
    assert made.loc[("b", "family", 0)].value == pytest.approx(6)
    assert "family" not in made.loc["c"].index.get_level_values("to")


def test_a_model_with_a_hole_in_its_profile_leaves_the_family_of_the_others():
    parts = [
        make([line] * 5, 0.02, run=run, metrics=("anisotropy",))
        for run, line in (("a", 2), ("b", 3), ("c", 9))
    ]
    geometry, replicates = (pd.concat(part) for part in zip(*parts, strict=True))
    hole = (geometry.run == "c") & (geometry.layer == 2) & (geometry.step == 1000)
    geometry.loc[hole, "value"] = np.nan
    made = build(geometry, replicates)["distances"].query("to == 'family' and run == 'a'")
    assert made.value.to_numpy() == pytest.approx(1)
    assert set(made.n_runs) == {1}


def with_profile(every, bulk, noise=0.01):
    """Geometry of one checkpoint whose anisotropy follows a profile, with and without sinks."""
    rng = np.random.default_rng(1)
    geometry, replicates = [], []
    for selection, values in (("all", every), ("no_first", bulk)):
        for layer, value in enumerate(values):
            without = value + noise * rng.standard_normal(GROUPS)
            error = float(jackknife.stderr(without))
            row = number(7, layer, "anisotropy", value, stderr=error, selection=selection)
            geometry.append(row)
            keep = {key: row[key] for key in schemas.REPLICATES.names if key in row}
            replicates += [keep | {"group": g, "value": v} for g, v in enumerate(without)]
    return as_read(geometry, schemas.GEOMETRY), as_read(replicates, schemas.REPLICATES)


def test_the_authors_numbers_stand_beside_ours_where_their_model_was_run():
    geometry, replicates = make(
        [0.99] * 5, 0.001, run="opt-125m", selection="all", metrics=("anisotropy",)
    )
    geometry["value"], geometry["n_points"] = 0.984, 13764
    made = build(geometry, replicates)["comparison"].set_index(["run", "metric", "layer"])
    # 0.01 of tolerance, set beforehand.
    assert made.loc[("opt-125m", "anisotropy", 1)].verdict == "agrees"
    assert made.loc[("opt-125m", "anisotropy", 3)].verdict == "differs"
    assert made.loc[("Llama-2-7b-hf", "anisotropy", 1)].verdict == "not run"
    assert set(made.verdict) == {"agrees", "differs", "not run"}
    # Documents of another length are another question.
    geometry["n_points"] = 128 * 64
    made = build(geometry, replicates)["comparison"]
    assert set(made.verdict) == {"other sampling", "not run"}


@pytest.mark.parametrize(
    ("every", "between", "said"),
    [
        ([2, 3, 6, 5, 3], [9, 7, 5, 4, 3], "none is shown any more"),
        ([2, 3, 6, 5, 3], [2, 3, 7, 5, 3], "remain when neighbours come from other"),
        ([9, 7, 5, 4, 3], [2, 3, 6, 5, 3], "shown only between documents"),
        ([9, 7, 5, 4, 3], [9, 7, 6, 4, 3], "No two phases of the ID are shown"),
    ],
)
def test_the_first_sentence_on_the_id_says_what_the_control_leaves(every, between, said):
    # Of the noise from seed to seed a hundredth, so that five checkpoints are enough.
    parts = []
    for seed in range(3):
        for metric, line in (("id_twonn", every), ("id_twonn_between", between)):
            line = np.array(line) + 0.01 * np.random.default_rng(seed).standard_normal(5)
            more = {"run": f"d-seed{seed}", "seed": seed, "metrics": (metric,)}
            parts.append(make(line, 0.02, **more))
    geometry, replicates = (pd.concat(part) for part in zip(*parts, strict=True))
    made = build(geometry, replicates)
    one = sentences.runs(*(made[n] for n in ("profiles", "trajectories", "phases", "shapes")))[0]
    assert said in sentences.on_phases(one)[0]


def test_it_does_not_matter_how_many_checkpoints_are_in_memory(monkeypatch):
    corpora = [make([2, 3, 6, 5, 3], noise=0.1, corpus=name) for name in ("text", "random")]
    geometry, replicates = (pd.concat(parts) for parts in zip(*corpora, strict=True))
    order = {step: place for place, step in enumerate(STEPS)}
    geometry = geometry.sort_values("step", key=lambda s: s.map(order), kind="stable")
    at_once = build(geometry, replicates)
    monkeypatch.setattr(curves, "AT_ONCE", 2)
    for name, table in build(geometry, replicates).items():
        pd.testing.assert_frame_equal(table, at_once[name], check_exact=True)


def test_a_checkpoint_of_another_depth_has_a_profile_of_its_own(monkeypatch):
    monkeypatch.setattr(curves, "AT_ONCE", 1)
    geometry, replicates = make([2, 3, 6, 5, 3], noise=0.1)
    geometry, replicates = (
        table[(table.revision != "checkpoint-1000") | (table.layer <= 4)].copy()
        for table in (geometry, replicates)
    )
    geometry.loc[geometry.revision == "checkpoint-1000", "n_layers"] = 4
    assert len(build(geometry, replicates)["shapes"]) == 3 * len(STEPS)


def test_damaged_and_foreign_tables_are_named(tmp_path):
    path = tmp_path / "geometry.parquet"
    with pytest.raises(ShapesweepError, match=r"geometry\.parquet: no such file"):
        tables.read(path, schemas.GEOMETRY)
    path.write_bytes(b"PAR1 no table")
    with pytest.raises(ShapesweepError, match=r"geometry\.parquet: damaged"):
        tables.read(path, schemas.GEOMETRY)
    tables.write([], schemas.LOSSES, path)
    with pytest.raises(ShapesweepError, match="not a table of this version"):
        tables.read(path, schemas.GEOMETRY)
    with pytest.raises(ValueError, match="no column"):
        tables.write([{"sute": "s"}], schemas.LOSSES, path)
