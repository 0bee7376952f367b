"""Figures are drawn from any available data. With a lot of data, figures stay legible."""

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from helpers.curves import CONTROL, STEPS, TOKENS, build, joined, make, write_curves
from shapesweep import figures
from shapesweep.curves import tables as curves_tables
from shapesweep.errors import CheckpointError, ShapesweepError
from shapesweep.figures._select import PANELS, at_chosen, runs
from shapesweep.figures._training import short
from shapesweep.metrics import METRICS
from shapesweep.report import summary
from shapesweep.storage import failures, schemas
from shapesweep.storage.manifests import Checkpoint


def test_panels_are_shared_equally_between_models():
    rows = [
        {"suite": "s", "run": f"{model}-seed{seed}", "model": model, "family": family}
        for model, family in (("a", "decoder"), ("b", "decoder"), ("e", "encoder"))
        for seed in range(20)
    ]
    chosen = runs(pd.DataFrame(rows))
    assert len(chosen) == PANELS
    names = [run for _, run, _ in chosen]
    assert names == ["a-seed0", "a-seed1", "b-seed0", "b-seed1", "e-seed0", "e-seed1"]


def test_drawn_checkpoints_are_evenly_spaced_in_log_step():
    steps = [0, *(2**n for n in range(10)), *range(1000, 144_000, 1000)]
    table = pd.DataFrame({"suite": "s", "run": "r", "step": pd.array(steps, dtype="Int64")})
    table["tokens"] = table.step * 512
    chosen = sorted(at_chosen(table, 12).step)
    assert chosen[0] == 0 and chosen[-1] == 143_000 and len(chosen) <= 12
    assert sum(step < 1000 for step in chosen) == pytest.approx(7, abs=1)
    few = table.head(3)
    assert at_chosen(few, 12).equals(few)
    unknown = pd.array([None], dtype="Int64")
    unnamed = pd.DataFrame({"suite": "s", "run": "r", "step": unknown, "tokens": unknown})
    assert len(at_chosen(unnamed, 12)) == 1


def test_steps_are_abbreviated():
    steps = (0, 512, 1000, 143_000, 1_500_000, 131_072)
    assert list(map(short, steps)) == ["0", "512", "1k", "143k", "1.5M", "131,072"]
    tokens = (16_780_000_000, 1_006_632_960_000, 2_420_000_000_000)
    assert list(map(short, tokens)) == ["16.78B", "1.007T", "2.42T"]


#: Figures with an axis of training.
OVER_TRAINING = ["id_training", "id_models", "massive", "dome_training", "convergence", "corpora"]


def every_metric(**more):
    """Return the geometry and replicates of every metric, with and without first tokens."""
    names, line = sorted(METRICS), [2, 3, 6, 5, 3]
    texts = [make(line, 0.1, names, selection=s, **more) for s in ("all", "no_first")]
    few = CONTROL | {"selection": "few_documents"}
    controls = [make(line, 0.1, ["id_twonn", "id_gride"], **of, **more) for of in (CONTROL, few)]
    return joined(*texts, *controls)


@pytest.mark.parametrize("measured", [True, False])
def test_figures_with_data_are_drawn_and_the_summary_is_written(tmp_path, measured):
    both = [part if measured else part.iloc[:0] for part in every_metric()]
    checkpoint = Checkpoint("s", "decoder", "checkpoint-7", step=7)
    failure = failures.as_row(checkpoint, CheckpointError("why"))
    folder = tmp_path / "curves"
    write_curves(build(*both) | {"missing": [failure]}, folder)
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures/old.svg").touch()
    drawn = figures.draw_all(folder, tmp_path / "figures")
    found = {path.name: path for path in (tmp_path / "figures").iterdir()}
    assert set(found) == {f"{name}.{kind}" for name in drawn for kind in figures.EXTENSIONS}
    # Without measurements, only the figures of synthetic points are drawn.
    assert len(drawn) > 10 if measured else drawn == ["cone", "ribbon"]
    first = {name: path.read_bytes() for name, path in found.items()}
    again = figures.draw(["dome", "cone"], folder, tmp_path / "figures")
    assert again == (["dome", "cone"] if measured else ["cone"])
    assert {path.name: path.read_bytes() for path in found.values()} == first
    text = summary.write(tmp_path, tmp_path / "summary.txt")
    assert "not measured: s/decoder/checkpoint-7: why" in text
    if measured:
        assert "no rise and no fall exceeds the noise" in " ".join(text.split())


def test_figures_mark_where_a_stage_begins(tmp_path):
    geometry, replicates = every_metric()
    geometry["stage"] = geometry["stage"].astype(object)
    geometry.loc[geometry.step == 1000, "stage"] = "SFT"
    drawn = drawn_from(geometry, replicates, tmp_path)
    for name in ("massive", "id_training"):
        marked = [ax for ax in drawn[name].axes if any("SFT" in t.get_text() for t in ax.texts)]
        assert marked, name
        (line, *_) = [line for line in marked[0].lines if line.get_linestyle() == ":"]
        assert 100 < line.get_xdata()[0] < 1000
    plt.close("all")


def test_numbers_are_drawn_by_document_length(tmp_path):
    names = ["anisotropy", "massive_share", "id_twonn"]
    parts = []
    for corpus, length in (("text", 32), ("text.short", 8), ("text.long", 128)):
        for selection in ("all", "no_first"):
            of = {"corpus": corpus, "document_length": length, "selection": selection}
            parts.append(make([2, 3, 6, 5, 3], 0.1, names, **of))
    parts.append(make([2, 3, 6, 5, 3], 0.1, names, corpus="text.other", text_sha256="other"))
    write_curves(build(*joined(*parts)), tmp_path)
    curves = curves_tables.Curves.read(tmp_path)
    shown = figures.FIGURES["lengths"].data(curves)
    assert set(shown.corpus) == {"text", "text.short", "text.long"}
    assert set(shown.step) == {1000}
    (top, below) = figures.FIGURES["lengths"].draw(shown).axes
    assert [label.get_text() for label in below.get_xticklabels()] == ["8", "32", "128"]
    assert len(top.lines) == 3
    plt.close("all")
    # Other figures show only the text itself.
    assert curves.corpora == ["text"]


def labels(figure):
    """Return the labels of all axes of training of a figure, and of its bars of colours."""
    texts = [ax.get_xlabel() for ax in figure.axes] + [ax.get_ylabel() for ax in figure.axes]
    texts.append(figure.get_supxlabel())
    return {text for text in texts if "training" in text}


def drawn_from(geometry, replicates, folder):
    """Draw every figure over training; return the figures by name."""
    write_curves(build(geometry, replicates), folder)
    read = curves_tables.Curves.read(folder)
    found = {}
    for name, figure in figures.FIGURES.items():
        shown = figure.data(read)
        if len(shown) and "step" in shown:
            found[name] = figure.draw(shown)
    return found


def test_runs_without_steps_are_drawn_over_tokens(tmp_path):
    geometry, replicates = every_metric(steps=TOKENS)
    drawn = drawn_from(geometry.assign(tokens=geometry.step), replicates, tmp_path)
    assert {name: labels(figure) for name, figure in drawn.items() if labels(figure)} == {
        **{name: {"training tokens"} for name in (*OVER_TRAINING, "dome", "scales")},
        "heatmap": {"checkpoint (training tokens)"},
    }
    ax = drawn["massive"].axes[0]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "10B", "100B", "1T"]
    assert ax.get_xlim()[0] > -2e9 and 1e12 < ax.get_xlim()[1] < 2e12
    assert "at 1 T tokens" in drawn["corpora"].axes[0].get_xlabel()
    plt.close("all")


@pytest.mark.parametrize("is_known", [True, False])
def test_runs_on_steps_and_runs_on_tokens_share_no_axis(tmp_path, is_known):
    """If the tokens of all checkpoints are known, all runs are drawn over tokens."""
    by_tokens = every_metric(steps=TOKENS, run="by-tokens")
    by_tokens[0]["tokens"] = by_tokens[0].step
    by_steps = every_metric()
    if is_known:
        by_steps[0]["tokens"] = by_steps[0].step * 2**30
    drawn = drawn_from(*joined(by_steps, by_tokens), tmp_path)
    both = {"training step", "training tokens"}
    for name in ("massive", "dome_training", "corpora", "id_training"):
        assert labels(drawn[name]) == both
    for name in ("id_models", "convergence"):
        assert labels(drawn[name]) == ({"training tokens"} if is_known else both)
        # Without a common axis, a panel shows one of the two runs.
        for ax in drawn[name].axes:
            assert sum(len(line.get_xdata()) == 5 for line in ax.lines) <= (2 if is_known else 1)
    assert labels(drawn["dome"]) == ({"training tokens"} if is_known else {"training of each run"})
    plt.close("all")


def test_names_are_not_broken_at_their_hyphens():
    figure, run = plt.figure(), "my-run-with-hyphens"
    revisions = [f"checkpoint-{step}" for step in (100, 200, 300)]
    missing = pd.DataFrame({"run": run, "revision": revisions, "step": 1, "measured": False})
    figures._name_missing(figure, missing, set())
    for revision in revisions:
        assert f"{run}/{revision}" in figure.get_suptitle()
    plt.close(figure)


def test_figures_are_drawn_with_undefined_numbers_and_with_one_block(tmp_path):
    metrics = ["anisotropy", "id_twonn", "id_mle", "same_document_nn"]
    text = make([2, 3, 6, 5, 3], 0.1, metrics=metrics, selection="no_first")
    geometry, replicates = joined(text, make([2, 3, 6, 5, 3], 0.1, metrics, **CONTROL))
    geometry.loc[geometry.selection == CONTROL["selection"], "value"] = np.nan
    few = [t[t.layer <= 1].assign(n_layers=1) for t in (geometry, replicates)]
    few[1] = few[1].drop(columns="n_layers")
    for name, both in (("undefined", (geometry, replicates)), ("one block", few)):
        folder = tmp_path / name
        write_curves(build(*both), folder / "curves")
        drawn = curves_tables.Curves.read(folder / "curves")
        for title, figure in figures.FIGURES.items():
            if name == "one block":
                figures.draw([title], folder / "curves", folder / "figures")
            elif len(shown := figure.data(drawn)):
                figure.draw(shown).canvas.draw()
        plt.close("all")
        assert "5 checkpoints" in summary.write(folder, folder / "summary.txt")


@pytest.mark.parametrize("is_broken", [False, True])
def test_no_line_crosses_a_break(tmp_path, is_broken):
    """Figures over training are recognised by their logarithmic axis of steps."""
    run = {"suite": "s", "run": "decoder"}
    losses = [
        dict.fromkeys(schemas.LOSSES.names)
        | run
        | {"revision": f"checkpoint-{s}", "step": s, "value": 3.0, "stderr": 0.1}
        | source
        for source in ({"source": "eval", "corpus": "text"}, {"source": "log", "corpus": None})
        for s in STEPS
    ]
    break_row = run | {"revision": "checkpoint-10", "step": 10, "flag": "break"}
    found = [dict.fromkeys(schemas.CONTINUITY.names) | break_row] if is_broken else []
    write_curves(build(*every_metric(), losses, found), tmp_path)
    drawn = curves_tables.Curves.read(tmp_path)
    crossing = set()
    for name, figure in figures.FIGURES.items():
        shown = figure.data(drawn)
        for ax in figure.draw(shown).axes if len(shown) else ():
            if ax.get_xscale() != "symlog":
                continue
            lines = [line.get_xdata() for line in ax.lines if line.get_linestyle() != "None"]
            bands = [path.vertices[:, 0] for part in ax.collections for path in part.get_paths()]
            if any(len(x) > 1 and min(x) < 10 <= max(x) for x in [*lines, *bands]):
                crossing.add(name)
    plt.close("all")
    assert crossing == (set() if is_broken else set(OVER_TRAINING))


@pytest.mark.parametrize("text", ["ID of {layers}", "{8}"])
def test_title_with_braces_is_refused(text):
    fields = {"data": None, "draw": None, "caption": "", "title": "ID", "category": "Models"}
    for name in ("title", "category"):
        with pytest.raises(ValueError, match="must not contain braces"):
            figures.Figure(**(fields | {name: text}))


def test_error_names_an_unknown_figure(tmp_path):
    with pytest.raises(ShapesweepError, match=r"no figure 'dame'; did you mean dome"):
        figures.draw(["dame"], tmp_path, tmp_path)
