"""Curves contain averages, differences and peaks with consistent errors."""

import numpy as np
import pandas as pd
import pytest

from helpers.curves import GROUPS, STEPS, as_tables, build, joined, make, number
from shapesweep import curves
from shapesweep.curves import intervals
from shapesweep.errors import ShapesweepError
from shapesweep.estimators import jackknife
from shapesweep.storage import schemas, tables


def test_losses_have_the_documents_and_pooling_of_their_corpus():
    geometry, replicates = make([2, 3, 6, 5, 3], noise=0.02)
    other, more = make([2, 3, 6, 5, 3], noise=0.02, corpus="last", pooling="last", n_documents=99)
    row = {"suite": "s", "run": "decoder", "revision": "a", "step": 1, "value": 3.0, "stderr": 0.1}
    rows = [
        row | {"source": source, "corpus": corpus, "text_sha256": None}
        for source, corpus in (("eval", "text"), ("eval", "last"), ("log", None))
    ]
    both = joined((geometry, replicates), (other, more))
    found = build(*both, losses=rows)["trajectories"]
    found = found[found.metric.str.startswith("loss")].set_index(["metric", "corpus"])
    assert found.loc[("loss_eval", "last")].n_documents == 99
    assert found.loc[("loss_eval", "last")].pooling == "last"
    assert found.loc[("loss_eval", "text")].n_documents == 16
    assert len(found) == 3


def test_checkpoints_after_a_break_are_a_new_segment_without_phases():
    geometry, replicates = make([2, 3, 6, 5, 3], noise=0.02)
    last = geometry.step.max()
    checkpoint = {"suite": "s", "run": "decoder", "revision": f"checkpoint-{last}", "step": last}
    rows = [{**dict.fromkeys(schemas.CONTINUITY.names), **checkpoint, "flag": "break"}]
    results = build(geometry, replicates, continuity=rows)
    for name in ("profiles", "trajectories", "shapes", "distances"):
        found = results[name]
        assert set(found[found.step < last].segment) == {0}, name
        assert set(found[found.step == last].segment) == {1}, name
    assert set(results["phases"].last_step) == {sorted(geometry.step.unique())[-2]}
    # Without the table of breaks, the whole trajectory is described.
    assert set(build(geometry, replicates)["phases"].last_step) == {last}


def test_error_of_the_middle_comes_from_its_replicates():
    geometry, replicates = make([2, 3, 6, 5, 3], noise=0.5)
    middle = build(geometry, replicates)["trajectories"]
    row = middle.query("layers == 'middle' and metric == 'id_twonn' and step == 10").iloc[0]
    mine = replicates.query("metric == 'id_twonn' and step == 10 and 2 <= layer <= 4")
    without = mine.groupby("group").value.mean()
    half = jackknife.half_width(jackknife.stderr(without), GROUPS)
    assert row.high - row.value == pytest.approx(half)
    assert row.value == pytest.approx(6 + 3)


def test_bands_depend_on_the_number_of_groups():
    geometry, replicates = make([2, 3, 6, 5, 3], noise=0.5, metrics=("id_twonn",))
    profile = build(geometry, replicates)["profiles"]
    expected = jackknife.half_width(geometry.stderr.to_numpy(float), GROUPS)
    np.testing.assert_allclose(profile.high - profile.value, expected)


def test_runs_that_differ_only_in_seed_are_averaged_with_a_band_over_seeds():
    parts = [
        make([2, 3, 6 + seed, 5, 3], noise=0.02, run=f"decoder-seed{seed}", seed=seed)
        for seed in range(3)
    ]
    results = build(*joined(*parts))
    seeds = results["trajectories"].query("over == 'seeds' and layers == 'middle'")
    assert set(seeds.run) == set(seeds.model) == {"decoder"}
    row = seeds[(seeds.metric == "id_twonn") & (seeds.step == 10)].iloc[0]
    # The value is the mean of 9, 10 and 11. The half width of the interval is t(2) = 4.303 times
    # the standard deviation 1, divided by √3.
    assert row.value == pytest.approx(10)
    assert row.high - row.value == pytest.approx(4.303 / np.sqrt(3), rel=1e-3)
    profiles = results["profiles"].query("over == 'seeds' and step == 10 and layer == 4")
    assert len(profiles) == 2
    phase_rows = results["phases"].query("metric == 'id_twonn'").set_index("run")
    assert set(phase_rows.noise_source) == {"seeds"}
    # After step 0, the three runs differ at only one of four steps, with a variance of 1. On
    # average over the four steps, the variance is 1/4 for a run, and 1/12 for the mean of the runs.
    assert phase_rows.loc["decoder-seed0"].noise == pytest.approx(np.sqrt(1 / 4))
    assert phase_rows.loc["decoder"].noise == pytest.approx(np.sqrt(1 / 12))
    assert phase_rows.loc["decoder"].over == "seeds"


def test_copies_count_neither_as_seeds_nor_as_models():
    parts = [
        make([2, 3, 6 + seed, 5, 3], noise=0.02, run=f"decoder-seed{seed}", seed=seed)
        for seed in range(3)
    ]
    copy = {"suite": "s", "run": "decoder-seed2", "of": "decoder-seed0", "step": 10}
    results = build(*joined(*parts), copies=[copy | {"correlation": 1.0}])
    seeds = results["trajectories"].query("over == 'seeds' and layers == 'middle'")
    row = seeds[(seeds.metric == "id_twonn") & (seeds.step == 10)].iloc[0]
    # The mean over two seeds is 9.5. The copy keeps its own curves.
    assert row.value == pytest.approx(9.5)
    alone = results["trajectories"].query("run == 'decoder-seed2' and over == 'documents'")
    assert len(alone)
    phases = results["phases"].set_index(["run", "metric"])
    assert phases.loc[("decoder-seed0", "id_twonn")].noise_source == "seeds"
    assert phases.loc[("decoder-seed0", "id_twonn")].noise == pytest.approx(
        phases.loc[("decoder-seed2", "id_twonn")].noise
    )
    # All runs have the same model, so no other model of the family is left.
    assert set(results["distances"].to) == {"final"}


def test_copy_of_another_model_is_left_out_of_the_mean_of_its_family():
    names = ("a", "b-seed0", "b-seed1")
    lines = ([2, 3, 6, 5, 3], [2, 3, 6, 5, 4], [2, 3, 6, 5, 9])
    parts = [make(line, 0.02, run=run) for run, line in zip(names, lines, strict=True)]
    copy = {"suite": "s", "run": "b-seed1", "of": "b-seed0", "step": 10, "correlation": 1.0}
    of_family = build(*joined(*parts), copies=[copy])["distances"].query("to == 'family'")
    mine = of_family.query("run == 'a' and step == 1000 and metric == 'id_twonn'")
    assert mine.n_runs.tolist() == [1]
    assert mine.value.iloc[0] == pytest.approx(1)


def test_intervals_over_seeds_stay_inside_bounds():
    parts = [
        make([value] * 5, 0.0, ("mean_cosine",), run=f"d-seed{seed}", seed=seed)
        for seed, value in enumerate([0.99, 0.999, 0.9])
    ]
    for geometry, _ in parts:
        geometry["value"] -= geometry.layer
    seeds = build(*joined(*parts))["profiles"].query("over == 'seeds'")
    assert len(seeds)
    assert (seeds.high <= 1).all()
    assert (seeds.low < seeds.value).all()


def test_samples_of_documents_get_their_own_verdicts():
    line = [2, 3, 6, 5, 3]
    corpora = [make(line, 0.02, ("id_twonn",), corpus=name) for name in ("text", "text-2")]
    results = build(*joined(*corpora))
    assert results["verdicts"]["sample"].tolist() == [1, 2]
    assert results["phases"].tested.tolist() == ["paper", "paper"]


def test_seeds_that_share_only_step_0_give_no_training_noise():
    parts = [make([2, 3, 6, 5, 3], 0.02, run=f"d-seed{seed}", seed=seed) for seed in range(2)]
    for table in parts[1]:
        table.loc[table.step > 0, "step"] += 7
    results = build(*joined(*parts))
    assert set(results["phases"].noise_source) == {"curve"}
    # A mean over seeds is computed only at steps for which every seed has a checkpoint.
    assert set(results["trajectories"].query("over == 'seeds'").step) == {0}


def test_model_name_is_the_run_name_without_its_seed():
    models = {"pythia-410m-seed3": "pythia-410m", "a.seed12-x": "a-x", "seed1_big": "big"}
    # These names contain no random seed, even if they contain the word `seed`.
    unchanged = ("decoder", "linseed2-x", "Seed-36B", "seed-8b-base")
    models |= {"seed_3": "model", **dict(zip(unchanged, unchanged, strict=True))}
    runs = pd.DataFrame({"suite": "s", "run": list(models), "architecture": "BertModel"})
    named = intervals.with_names(runs, pd.DataFrame(columns=schemas.COPIES.names))
    assert named.model.tolist() == list(models.values())


PROFILES = {
    "dome": [0.1, 0.3, 0.5, 0.6, 0.5, 0.3, 0.1],
    "box": [0.1, 0.9, 0.9, 0.9, 0.9, 0.9, 0.1],
    "flat": [0.1, 0.12, 0.15, 0.12, 0.1, 0.1, 0.1],
    "other": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7],
}


@pytest.mark.parametrize("shape", PROFILES)
def test_shape_of_a_profile_is_recognised(shape):
    geometry, replicates = with_profile(PROFILES[shape], PROFILES["flat"])
    shapes = build(geometry, replicates)["shapes"]
    row = shapes[(shapes.selection == "all") & (shapes.metric == "anisotropy")].iloc[0]
    assert row["shape"] == shape
    if shape == "dome":
        # The profile crosses half of its height at the value 0.35, which is a quarter of the way
        # from layer 1 to layer 2.
        assert row.height == pytest.approx(0.5)
        assert (row.left, row.right) == pytest.approx((1.25 / 6, 4.75 / 6))
        assert row.centre == pytest.approx(0.5)
        assert row.height_low < 0.5 < row.height_high
    if shape in {"flat", "other"}:
        assert pd.isna(row.centre)


def test_profile_that_rests_on_one_group_of_documents_has_no_interval():
    geometry, replicates = with_profile(PROFILES["dome"], PROFILES["flat"], noise=0.001)
    inner = (replicates.layer == 3) & (replicates.selection == "all")
    replicates.loc[inner & (replicates.group == 2), "value"] = 0.1
    geometry.loc[(geometry.layer == 3) & (geometry.selection == "all"), "flag"] = "one_group"
    results = build(geometry, replicates)
    row = results["shapes"].query("selection == 'all'").iloc[0]
    assert row["shape"] == "other"
    assert np.isnan([row.height_low, row.height_high]).all()
    # The height without this group comes from layer 2 or 4, whose value is 0.5.
    assert row.height_without_group == pytest.approx(0.4, abs=0.05)
    profile = results["profiles"].query("selection == 'all'").set_index("layer")
    assert np.isnan(profile.low[3])
    assert profile.low[2] < 0.5 < profile.high[2]
    middle = results["trajectories"].query("layers == 'middle' and selection == 'all'").iloc[0]
    assert middle.flag == "one_group"
    assert np.isnan(middle.low)
    assert middle.without_group == pytest.approx((0.5 + 0.1 + 0.5) / 3, abs=0.05)


def test_intervals_of_shares_stay_inside_their_bounds():
    geometry, replicates = with_profile([0.02, 0.98] * 3 + [0.5], PROFILES["flat"], noise=0.05)
    profile = build(geometry, replicates)["profiles"]
    assert ((profile.low >= 0) & (profile.high <= 1)).all()
    assert ((profile.low < profile.value) & (profile.value < profile.high)).all()


def test_rise_within_the_error_between_documents_is_no_dome():
    geometry, replicates = with_profile(PROFILES["dome"], PROFILES["flat"], noise=0.3)
    shapes = build(geometry, replicates)["shapes"]
    assert set(shapes[shapes.metric == "anisotropy"]["shape"]) <= {"other", "flat"}


def test_distances_are_to_the_final_profile_and_to_other_models_of_the_family():
    parts = [
        make(line, noise=0.02, run=run, family=family, metrics=("anisotropy",))
        for run, line, family in (
            ("a", [2, 3, 6, 5, 3], "decoder"),
            ("b", [9, 9, 9, 9, 4], "decoder"),
            ("c", [0, 0, 0, 0, 0], "encoder"),
        )
    ]
    distances = build(*joined(*parts))["distances"].set_index(["run", "to", "step"]).value
    assert distances["a", "final", 10] == pytest.approx(3)
    assert distances["a", "final", 1000] == 0
    assert distances["a", "family", 10] == pytest.approx(2)
    assert distances["b", "family", 0] == pytest.approx(6)
    assert "family" not in distances["c"].index.get_level_values("to")


def test_model_with_an_incomplete_profile_is_excluded_from_its_family():
    parts = [
        make([line] * 5, 0.02, run=run, metrics=("anisotropy",))
        for run, line in (("a", 2), ("b", 3), ("c", 9))
    ]
    geometry, replicates = joined(*parts)
    hole = (geometry.run == "c") & (geometry.layer == 2) & (geometry.step == 1000)
    geometry.loc[hole, "value"] = np.nan
    distances = build(geometry, replicates)["distances"].query("to == 'family' and run == 'a'")
    assert distances.value.to_numpy() == pytest.approx(1)
    assert set(distances.n_runs) == {1}


def with_profile(every, bulk, noise=0.01):
    """Return the tables of a checkpoint with given anisotropies.

    `every` contains the anisotropies of all tokens. `bulk` contains the anisotropies without the
    first tokens.
    """
    rng, rows = np.random.default_rng(1), []
    for selection, values in (("all", every), ("no_first", bulk)):
        for layer, value in enumerate(values):
            without = value + noise * rng.standard_normal(GROUPS)
            error = float(jackknife.stderr(without))
            row = number(7, layer, "anisotropy", value, stderr=error, selection=selection)
            rows.append((row, without))
    return as_tables(rows)


def test_results_are_compared_with_the_authors_numbers_for_the_same_model():
    geometry, replicates = make(
        [0.99] * 5, 0.001, run="opt-125m", selection="all", metrics=("anisotropy",)
    )
    geometry["value"], geometry["n_points"] = 0.984, 13764
    comparison = build(geometry, replicates)["comparison"].set_index(["run", "metric", "layer"])
    # The comparison has a tolerance of 0.01, which was set in advance.
    assert comparison.loc[("opt-125m", "anisotropy", 1)].verdict == "agrees"
    assert comparison.loc[("opt-125m", "anisotropy", 3)].verdict == "differs"
    assert comparison.loc[("Llama-2-7b-hf", "anisotropy", 1)].verdict == "not run"
    assert set(comparison.verdict) == {"agrees", "differs", "not run"}
    # Numbers from documents of different lengths are not comparable.
    geometry["n_points"] = 128 * 64
    comparison = build(geometry, replicates)["comparison"]
    assert set(comparison.verdict) == {"other sampling", "not run"}


def test_number_of_checkpoints_in_memory_does_not_change_the_tables(monkeypatch):
    corpora = [make([2, 3, 6, 5, 3], noise=0.1, corpus=name) for name in ("text", "random")]
    geometry, replicates = joined(*corpora)
    geometry = geometry.sort_values("step", kind="stable")
    at_once = build(geometry, replicates)
    monkeypatch.setattr(curves, "AT_ONCE", 2)
    for name, table in build(geometry, replicates).items():
        pd.testing.assert_frame_equal(table, at_once[name], check_exact=True)


def test_checkpoint_of_another_depth_has_its_own_profile(monkeypatch):
    monkeypatch.setattr(curves, "AT_ONCE", 1)
    geometry, replicates = make([2, 3, 6, 5, 3], noise=0.1)
    geometry, replicates = (
        table[(table.revision != "checkpoint-1000") | (table.layer <= 4)].copy()
        for table in (geometry, replicates)
    )
    geometry.loc[geometry.revision == "checkpoint-1000", "n_layers"] = 4
    assert len(build(geometry, replicates)["shapes"]) == 2 * len(STEPS)


def test_error_names_absent_damaged_and_foreign_tables(tmp_path):
    path = tmp_path / "geometry.parquet"

    def assert_error(message):
        with pytest.raises(ShapesweepError, match=rf"geometry\.parquet: {message}"):
            tables.read(path, schemas.GEOMETRY)

    assert_error("no such file")
    path.write_bytes(b"PAR1 no table")
    assert_error("damaged")
    tables.write([], schemas.LOSSES, path)
    assert_error("not a table of this version")
    with pytest.raises(ValueError, match="no column"):
        tables.write([{"sute": "s"}], schemas.LOSSES, path)
