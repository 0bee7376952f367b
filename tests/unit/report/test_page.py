"""The report page matches the tables, stays small, escapes names, and loads no other files."""

import base64
import hashlib
import json
import re

import numpy as np
import pandas as pd
import pytest

from helpers import page_results
from shapesweep import cli
from shapesweep.errors import ShapesweepError
from shapesweep.report import page
from shapesweep.report.page import gallery, numbers, record
from shapesweep.storage import schemas, tables


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return page_results.write(tmp_path_factory.mktemp("page") / "results")


@pytest.fixture(scope="module")
def read(folder):
    return page.read(folder)


def packed(read, **more):
    names = ("profiles", "trajectories", "phases", "moves", "shapes")
    return numbers.pack(*(read[name] for name in names), **more)


def test_page_has_every_number_of_the_profiles_to_four_digits(read):
    data, profiles = packed(read), read["profiles"]
    assert data["left_out"] == []
    n_numbers = sum(np.isfinite(np.array(c["value"], float)).sum() for c in data["curves"])
    assert n_numbers == len(profiles)
    row = profiles.query("run == 'decoder-seed1' and metric == 'id_gride' and k == 4").iloc[17]
    ((index, run),) = [(i, r) for i, r in enumerate(data["runs"]) if r["run"] == row.run]
    (curve,) = (
        c for c in data["curves"]
        if (c["run"], c["metric"], c["k"]) == (index, row.metric, row.k)
        and (c["corpus"], c["selection"]) == (row.corpus, row.selection)
    )  # fmt: skip
    i = [point["step"] for point in run["checkpoints"]].index(row.step)
    j = run["layers"].index([row.layer, row.layer_kind])
    for name in ("value", "low", "high"):
        # The page rounds numbers to four digits, which changes a number by at most 0.05 %.
        assert curve[name][i][j] == pytest.approx(row[name], rel=5e-4)
    assert curve["n"] == row.n_points
    assert data["flags"][curve["flag"][0][0]] == "undersampled"
    assert curve["middle"]["value"][i] is not None
    assert curve["course"]["verdict"] == "no rise and fall"
    assert curve["course"]["moves"] == [
        {"kind": "rise", "from_step": 1, "to_step": 1000, "size": 0.6, "low": 0.45, "high": 0.75}
    ]
    assert [shape["shape"] for shape in curve["shapes"]] == ["flat", "flat", "dome", "dome", "dome"]


def test_final_norm_is_last_and_the_mean_over_seeds_is_a_separate_run(read):
    data = packed(read)
    assert data["runs"][0]["layers"][-2:] == [[4, "block"], [4, "final_norm"]]
    assert [r["over"] for r in data["runs"]] == ["documents", "documents", "documents", "seeds"]
    assert data["runs"][-1]["checkpoints"][0]["revision"] is None


def test_checkpoints_of_runs_without_steps_have_only_tokens(tmp_path):
    folder = page_results.write(tmp_path / "results")
    page_results.place_by_tokens(folder)
    found = page.read(folder)
    listed = record.checkpoints(found["manifest"], found["origins"])
    assert {row["step"] for row in listed} == {None}
    assert {row["tokens"] for row in listed} == {step * 10**9 for step in page_results.STEPS}
    axes = [run["axis"] for run in packed(found)["runs"]]
    assert axes[0] == {"on_tokens": True, "unit": 1e9, "label": "training tokens"}
    assert axes == [axes[0]] * 4


def test_nan_and_infinity_become_null():
    found = numbers.rounded([[1.23456, np.nan], [np.inf, -0.000123456]])
    assert found == [[1.235, None], [None, -0.0001235]]


def test_page_has_a_size_limit_and_lists_omitted_curves(read):
    data = packed(read, bound=20_000)
    assert len(json.dumps(data["curves"], separators=(",", ":"))) <= 20_000 + 2
    kept = {(c["metric"], c["selection"], c["corpus"]) for c in data["curves"]}
    assert ("anisotropy", "no_first", "text") in kept
    left = {(omitted["metric"], omitted["k"]) for omitted in data["left_out"]}
    assert ("id_gride", 2) in left
    total = len(packed(read)["curves"])
    assert len(data["curves"]) + sum(omitted["runs"] for omitted in data["left_out"]) == total


def test_long_log_is_thinned(read):
    long = read["trajectories"].query("metric == 'loss_log' and run == 'decoder-seed0'").iloc[:1]
    long = pd.concat([long] * 2000).assign(step=range(2000)).astype({"step": "Int64"})
    data = packed({**read, "trajectories": long})
    (curve,) = data["losses"]
    assert len(curve["step"]) == numbers.LOGGED
    assert (curve["step"][0], curve["step"][-1]) == (0, 1999)


def test_names_are_escaped(folder, read):
    text = page.render(**read)
    assert page_results.HOSTILE not in text
    assert "&lt;img src=x onerror=alert(1)&gt;" in text
    (content,) = re.findall(r'<script id="data" type="application/json">(.*?)</script>', text)
    assert json.loads(content)["runs"][2]["run"] == page_results.HOSTILE
    assert page.as_json({"a": "</script><!--"}) == '{"a":"\\u003c/script>\\u003c!--"}'


def test_only_scripts_of_the_page_may_run(read):
    text = page.render(**read)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-inline" not in policy.split("style-src")[0]
    for script in re.findall(r"<script>(.*?)</script>", text, re.DOTALL):
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert not re.findall(r"<(?:link|script|img|iframe)[^>]*(?:src|href)=\"(?!data:|#)", text)


def test_record_lists_missing_and_doubtful_checkpoints(read):
    found = record.integrity(read["missing"], read["manifest"])
    assert [(problem["what"], problem["checkpoint"]) for problem in found] == [
        ("not measured", "decoder-seed0/checkpoint-7"),
        ("doubtful", "decoder-seed0/checkpoint-10"),
        ("manifest", f"{page_results.HOSTILE}/checkpoint-100"),
    ]
    assert found[-1]["reason"] == "missing_config"


def test_record_lists_what_was_measured(read):
    checkpoints = record.checkpoints(read["manifest"], read["origins"])
    assert len(checkpoints) == 14
    assert checkpoints[4] == {
        "suite": "tiny", "run": "decoder-seed0", "revision": "checkpoint-1000", "repository": None,
        "commit": "measured-1000", "step": 1000, "tokens": 2_048_000, "bytes": 2_902_248,
    }  # fmt: skip
    assert [row["checkpoints"] for row in record.versions(read["origins"])] == [15]
    digests = {row["corpus_digest"] for row in record.corpora(read["origins"])}
    assert digests == {"digest-of-text", "digest-of-random"}


def test_figures_that_are_too_large_are_listed(folder):
    parts = gallery.gallery(folder / "figures")
    entries = {figure["name"]: figure for part in parts for figure in part["figures"]}
    assert set(entries) == {"dome", "corpora"}
    assert entries["dome"]["csv"].startswith("step,run")
    assert entries["corpora"]["csv"] is None
    assert entries["dome"]["kind"] == "svg"
    few = gallery.gallery(folder / "figures", bound=100)
    dome = next(f for part in few for f in part["figures"] if f["name"] == "dome")
    assert (dome["kind"], dome["too_large"]) == ("png", ["dome.svg"])


def test_caption_is_converted_to_html():
    assert gallery.as_html("A *dome* < a box.") == "<p>A <em>dome</em> &lt; a box.</p>\n"


def test_the_same_results_give_the_same_page(folder, tmp_path):
    page.write(folder, tmp_path / "one.html")
    assert cli.main(["page", "--results", str(folder), "--out", str(tmp_path / "two.html")]) == 0
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_empty_sweep_has_a_page(read):
    frames = {name: part for name, part in read.items() if isinstance(part, pd.DataFrame)}
    empty = {name: frame.iloc[:0] for name, frame in frames.items()}
    text = page.render(**{**read, **empty, "figures": []})
    assert "Nothing was measured" in text
    assert "No figure was drawn" in text


def test_error_names_an_absent_or_foreign_file(tmp_path):
    def assert_error(message):
        with pytest.raises(ShapesweepError, match=message):
            page.write(tmp_path, tmp_path / "report.html")

    assert_error(r"profiles\.parquet: no such file")
    page_results.write(tmp_path)
    (tmp_path / "summary.txt").unlink()
    assert_error(r"summary\.txt: no such file")
    tables.write([], schemas.LOSSES, tmp_path / "origins.parquet")
    assert_error("not a table of this version")
