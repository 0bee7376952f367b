"""Courses over training, and verdicts on the two phases of the ID."""

import numpy as np
import pandas as pd
import pytest

from helpers.curves import CONTROL, STEPS, build, joined, make
from shapesweep.report import sentences

#: Steps like those of the embedded suite, with more of them where a curve turns.
MANY = (0, 1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
RISE_FALL = [2, 2, 2.1, 2.3, 2.8, 3.6, 4.3, 5, 5.7, 6, 5.7, 5.2, 4.6, 4.2, 4.0, 3.9]
FALL_RISE_FALL = [9, 9, 8.8, 8.2, 7, 5.5, 4.5, 4, 4.4, 5.1, 5.8, 6.4, 6.6, 6.3, 5.7, 5]
RISE = [2, 2, 2.1, 2.2, 2.4, 2.7, 3, 3.2, 3.5, 3.8, 4.2, 4.6, 5.1, 5.5, 6, 6.4]
FLAT = [4] * 16


def noisy(line, seed=0, scale=0.02):
    return np.array(line) + scale * np.random.default_rng(seed).standard_normal(len(line))


def of_run(line, control=None, scale=0.02):
    """Return the curves of a run with a paper's curve and possibly a control."""
    parts = [make(noisy(line, 0, scale), 0.01, ("id_twonn",), MANY)]
    if control is not None:
        parts.append(make(noisy(control, 1, scale), 0.01, ("id_twonn",), MANY, **CONTROL))
    return build(*joined(*parts))


@pytest.mark.parametrize(
    ("line", "course", "verdict"),
    [
        (RISE_FALL, "rise, fall", "rise and fall"),
        (FALL_RISE_FALL, "fall, rise, fall", "rise and fall"),
        (RISE, "rise", "no rise and fall"),
        (RISE[::-1], "fall", "no rise and fall"),
        (FLAT, "", "no rise and fall"),
        (FALL_RISE_FALL[:-4] + [6.6] * 4, "fall, rise", "no rise and fall"),
    ],
)
def test_course_of_a_curve(line, course, verdict):
    results = of_run(line)
    row = results["phases"].iloc[0]
    assert (row.course, row.verdict, row.tested) == (course, verdict, "paper")
    assert (row.n_checkpoints, row.first_step, row.last_step) == (16, 0, 512)
    moves = results["moves"]
    assert ", ".join(moves.kind) == course
    assert (moves.low > 0).all()
    assert ((moves.low <= moves["size"]) & (moves["size"] <= moves.high)).all()
    sizes = (moves.after - moves.before).abs().to_numpy(float)
    np.testing.assert_allclose(moves["size"].to_numpy(float), sizes)
    # A move begins where the previous move ends.
    assert (moves.from_step.to_numpy()[1:] == moves.to_step.to_numpy()[:-1]).all()


def test_place_and_size_of_the_moves():
    moves = of_run(FALL_RISE_FALL)["moves"]
    assert moves.to_step.tolist() == [32, 192, 512]
    # The middle blocks are 3 above the trajectory, at every step. The noise is 0.02.
    np.testing.assert_allclose(moves["size"], [5, 2.6, 1.6], atol=0.1)
    assert (moves.low < [5, 2.6, 1.6]).all()
    assert (moves.high > [5, 2.6, 1.6]).all()


@pytest.mark.parametrize(
    ("paper", "control", "verdict", "sentence"),
    [
        (RISE_FALL, FALL_RISE_FALL, "both", "and its control both rise and then fall"),
        (
            RISE_FALL,
            RISE,
            "paper only",
            "the paper's curve rises and then falls beyond the noise; its control",
        ),
        (
            RISE,
            RISE_FALL,
            "control only",
            "the control rises and then falls beyond the noise; the paper's curve",
        ),
        (RISE, FLAT, "neither", "neither the paper's curve nor its control"),
        (RISE_FALL, None, "untested", "not tested (paper curve: rise and fall; control curve: not"),
    ],
)
def test_verdict_of_the_two_tested_curves(paper, control, verdict, sentence):
    results = of_run(paper, control)
    assert results["verdicts"].verdict.tolist() == [verdict]
    names = ("profiles", "trajectories", "phases", "moves", "verdicts", "shapes")
    found = sentences.on_phases(sentences.runs(*(results[name] for name in names))[0])
    assert sentence in found[0]


def test_variants_get_their_own_verdicts():
    curves = ((RISE_FALL, {}), (FLAT, CONTROL), (RISE, {"corpus": "text.long"}))
    parts = [make(noisy(line), 0.01, ("id_twonn",), MANY, **more) for line, more in curves]
    results = build(*joined(*parts))
    verdicts = results["verdicts"].set_index("variant")
    assert verdicts.verdict.to_dict() == {"": "paper only", "long": "neither"}
    # The documents of the control do not depend on the variant.
    assert set(verdicts.control) == {"no rise and fall"}
    names = ("profiles", "trajectories", "phases", "moves", "verdicts", "shapes")
    found = sentences.on_phases(sentences.runs(*(results[name] for name in names))[0])
    assert "the paper's curve rises and then falls" in found[0]
    assert any(text.startswith("With the documents of the variant long: neither") for text in found)


def test_sentences_state_every_move_with_its_interval():
    results = of_run(RISE_FALL, FALL_RISE_FALL)
    names = ("profiles", "trajectories", "phases", "moves", "verdicts", "shapes")
    found = sentences.on_phases(sentences.runs(*(results[name] for name in names))[0])
    assert found[0].startswith("Two phases (id_twonn, middle blocks): ")
    assert "The control (id_twonn of passages, one_per_document, N = 100): " in found[2]
    words = [found[2].index(word) for word in ("it falls by", "it rises by 2.", "then it falls by")]
    assert words == sorted(words)
    assert "from step 32 to step 192" in found[2]


def test_a_curve_without_two_phases_is_described_with_its_resolution():
    results = of_run(RISE_FALL, FLAT)
    row = results["phases"].query("tested == 'control'").iloc[0]
    names = ("profiles", "trajectories", "phases", "moves", "verdicts", "shapes")
    found = sentences.on_phases(sentences.runs(*(results[name] for name in names))[0])
    assert f"rises and falls of less than {row.resolution:.2f} may be missed" in found[2]
    assert "may be missed" not in found[1]


def test_samples_that_disagree_give_no_verdict():
    parts = [
        make(noisy(line), 0.01, ("id_twonn",), MANY, **where)
        for line, where in [
            (RISE_FALL, {"corpus": "text"}),
            (RISE, CONTROL),
            (RISE, {"corpus": "text-2"}),
            (RISE, CONTROL | {"corpus": "passages-2"}),
        ]
    ]
    results = build(*joined(*parts))
    names = ("profiles", "trajectories", "phases", "moves", "verdicts", "shapes")
    found = sentences.on_phases(sentences.runs(*(results[name] for name in names))[0])
    assert (
        "the 2 samples of documents have different verdicts: paper only (1), neither (1)."
        in found[0]
    )


def test_sentences_warn_of_few_points():
    # The relative error of TwoNN is 1/√N.
    for n_points, words in ((100, "the relative error of each ID is about 10%"), (1200, None)):
        results = build(*make(noisy(RISE), 0.01, ("id_twonn",), MANY, n_points=n_points))
        assert results["phases"].n_points.tolist() == [n_points]
        names = ("profiles", "trajectories", "phases", "moves", "verdicts", "shapes")
        found = sentences.on_phases(sentences.runs(*(results[name] for name in names))[0])
        assert f"no_first, N = {n_points:,}): " in found[1]
        assert words in found[1] if words else "relative error" not in found[1]


def test_runs_of_several_seeds_are_summarised_by_their_spread():
    parts = [
        make(noisy(RISE_FALL, seed), 0.02, ("id_twonn",), MANY, run=f"d-seed{seed}", seed=seed)
        for seed in range(3)
    ]
    results = build(*joined(*parts))
    (found,) = sentences.on_seeds(results["verdicts"], results["trajectories"])
    assert found.startswith("s/d, mean over seeds: not tested (paper curve: rise and fall; ")
    seeds = results["trajectories"].query("over == 'seeds' and layers == 'middle' and step == 512")
    (row,) = seeds.itertuples()
    assert f"is {row.value:.2f} (95 % interval over seeds {row.low:.2f} to {row.high:.2f})" in found


def test_noise_of_documents_can_hide_a_move():
    # The error of a value is about 4, which exceeds both moves. The documents have the same effect
    # at every step, so differences between steps have a tenth of this noise.
    paper = make(noisy(RISE_FALL), 1.0, ("id_twonn",), MANY)
    assert build(*paper)["phases"].course.tolist() == ["rise, fall"]
    geometry, replicates = make(noisy(RISE_FALL), 30.0, ("id_twonn",), MANY)
    assert build(geometry, replicates)["phases"].course.tolist() == [""]


def test_noise_of_seeds_is_used_if_there_are_seeds():
    parts = [
        make([4, 5, 7 + 0.01 * seed, 6, 5], 0.02, ("id_twonn",), run=f"d-seed{seed}", seed=seed)
        for seed in range(3)
    ]
    results = build(*joined(*parts))
    assert set(results["phases"].noise_source) == {"seeds"}
    # With the noise of seeds, five checkpoints are enough.
    assert set(results["phases"].course) == {"rise, fall"}
    assert results["verdicts"].over.tolist().count("seeds") == 1
    alone = build(*parts[0])["phases"]
    assert set(alone.noise_source) == {"curve"}


def test_too_few_checkpoints_and_undefined_values_give_no_course():
    geometry, replicates = make([2, 3, 6, 5, 3], noise=0.02)
    few = [part[part.step <= 1] for part in (geometry, replicates)]
    results = build(*few)
    assert set(results["phases"].verdict) == {"too few checkpoints"}
    assert results["verdicts"].paper.tolist() == ["too few checkpoints"]
    geometry.loc[(geometry.layer == 3) & (geometry.step == 10), "value"] = np.nan
    assert set(build(geometry, replicates)["phases"].verdict) == {"undefined"}


def test_verdict_counts_the_curves_that_are_only_described():
    parts = [
        make(noisy(RISE_FALL), 0.01, ("id_twonn", "id_mle"), MANY),
        make(noisy(RISE), 0.01, ("id_twonn",), MANY, corpus="random"),
    ]
    row = build(*joined(*parts))["verdicts"].iloc[0]
    assert (row.n_curves, row.n_shown) == (2, 1)
    assert len(STEPS) == 5


def test_undefined_replicate_makes_a_curve_undefined():
    geometry, replicates = make([2, 3, 6, 5, 3], 0.02, ("id_twonn",))
    first = replicates.index[(replicates.revision == "checkpoint-10") & (replicates.layer == 3)][0]
    replicates.loc[first, "value"] = np.nan
    (row,) = build(geometry, replicates)["phases"].itertuples()
    assert row.verdict == "undefined"
    assert pd.isna(row.course)


def test_stages_after_pre_training_are_not_tested():
    geometry, replicates = make(noisy(RISE_FALL), 0.01, ("id_twonn",), MANY)
    geometry["stage"] = geometry["stage"].astype(object)
    geometry.loc[geometry.step > 64, "stage"] = "SFT"
    results = build(geometry, replicates)
    row = results["phases"].iloc[0]
    assert (row.last_step, row.course) == (64, "rise")
    stages = results["trajectories"].drop_duplicates("step").set_index("step").stage
    assert pd.isna(stages[64]) and stages[96] == "SFT"
    assert set(results["profiles"].stage.dropna()) == {"SFT"}
