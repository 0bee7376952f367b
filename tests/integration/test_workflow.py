"""The workflow passes the lint, writes reports, repeats nothing, and can be extended."""

import json
import re
import shutil
import subprocess
import sys
import zipfile

import pandas as pd
import pytest
import yaml

from helpers.workflow import ROOT, command, plan, sweep, write
from shapesweep.corpora import CORPORA
from shapesweep.figures import FIGURES
from shapesweep.metrics import METRICS
from shapesweep.storage import schemas, tables

FIRST = {"corpora": ["text"], "checkpoints": {"steps": [0, 100]}}


def configuration(folder):
    return yaml.safe_load((folder / "sweep.yaml").read_text(encoding="utf-8"))


def newest_logs(folder, rule):
    """Return the text of the newest log of a rule for each batch."""
    newest = {}
    for log in (folder / "results/logs" / rule).rglob("*.log"):
        batch = log.parent
        if batch not in newest or log.stat().st_mtime_ns > newest[batch].stat().st_mtime_ns:
            newest[batch] = log
    return [newest[batch].read_text(encoding="utf-8") for batch in sorted(newest)]


def logged(folder, rule):
    """Return the last line of the newest log of a rule for each batch."""
    return [text.splitlines()[-1] for text in newest_logs(folder, rule)]


@pytest.fixture(scope="module")
def swept(tmp_path_factory, runs, text_file):
    """A finished sweep of four checkpoints on a single corpus. Tests use copies of it."""
    folder = tmp_path_factory.mktemp("swept")
    shutil.copytree(runs, folder / "runs")
    paths = {run: f"runs/{run}" for run in ("decoder", "encoder")}
    sweep_of = {
        "suites": {"tiny": {"source": "local", "runs": paths}},
        "corpus": {"text": str(text_file), "documents": 16, "length": 16},
        "geometry": {"n_points": 100, "groups": 4},
        "device": "cpu",
        "checkpoints_per_job": 1,
        **FIRST,
    }
    write(folder, sweep_of)
    done = sweep(folder)
    assert done.returncode == 0, done.stdout
    return folder


def assert_one_metric_measured(folder, metric):
    """Check that the last run measured only one metric, but for every checkpoint."""
    numbers = pd.read_parquet(folder / "results/geometry.parquet").groupby(["run", "revision"])
    expected = sorted(numbers.metric.agg(lambda m: (m == metric).sum()))
    matches = [
        re.search(r"(\d+) numbers measured, (\d+) kept", line)
        for line in logged(folder, "geometry")
    ]
    assert sorted(int(match[1]) for match in matches) == expected
    assert sorted(int(match[1]) + int(match[2]) for match in matches) == sorted(numbers.size())


@pytest.fixture
def again(swept, tmp_path):
    folder = tmp_path / "again"
    shutil.copytree(swept, folder)
    return folder


@pytest.mark.parametrize("snakefile", ["Snakefile", "workflow/Snakefile"])
def test_both_snakefiles_pass_the_lint_and_plan_the_same_jobs(workspace, snakefile):
    words = [sys.executable, ROOT / "tests/lint_workflow.py", ROOT / snakefile]
    linted = subprocess.run(words, env=command(workspace)["env"], check=False)
    assert linted.returncode == 0
    jobs = plan(workspace, snakefile=ROOT / snakefile)
    assert (jobs["manifest"], jobs["geometry"]) == (1, 2)


def test_every_rule_has_comments_a_message_logs_and_resources():
    for path in (ROOT / "workflow/rules").glob("*.smk"):
        if path.name in ("plan.smk", "internals.smk"):
            continue
        text = path.read_text(encoding="utf-8")
        assert text.startswith(("# In: ", "# Out: ")), path.name
        for rule in re.split(r"^(?:rule|checkpoint) ", text, flags=re.MULTILINE)[1:]:
            if rule.startswith(("paper:", "spikes:")):
                continue  # Targets, which only name files of other rules.
            # Two rules only print.
            parts = [] if rule.startswith(("manifests:", "plan:")) else ["output:"]
            if "\n    shell:" in rule:
                parts.append("log:")
            # Rules that only write a text or print finish at once.
            if not rule.startswith(("template:", "manifests:", "plan:")) and "shell:" in rule:
                parts.append("benchmark:")
            if "\n    localrule: True" not in rule:
                parts.append("threads:")
                assert "mem_mb=" in rule
                assert "runtime=" in rule
            for part in (*parts, "message:"):
                assert f"\n    {part}" in rule, (path.name, rule.split(":")[0], part)


def test_jobs_use_the_threads_of_their_rule(workspace):
    planned = sweep(workspace, "--dry-run", "--cores", "4", "--set-threads", "geometry=3")
    assert planned.stdout.count("--threads 3 --out results/geometry") == 2


def test_the_report_has_every_figure_with_title_category_and_caption(again):
    done = sweep(again, "--report", "report.zip")
    assert done.returncode == 0, done.stdout
    with zipfile.ZipFile(again / "report.zip") as packed:
        page = packed.read("report/report.html").decode("utf-8")
        names = packed.namelist()
    assert "The Shape of Learning" in page
    drawn = {path.stem for path in (again / "results/figures").glob("[!.]*")}
    assert len(drawn) > 10
    for name, figure in FIGURES.items():
        assert any(path.endswith(f"/{name}.svg") for path in names) == (name in drawn)
        if name not in drawn:
            continue
        assert json.dumps(figure.title)[1:-1] in page
        assert f'"{figure.category}"' in page
        # The start of the caption, without emphasis and line breaks.
        assert figure.caption.split("*")[0].split(".")[0] in page
    assert "Summary of the sweep" in page


def test_a_fresh_clone_does_not_repeat_a_finished_sweep(again, clone):
    # All files of the clone are newer than the results, and Snakemake's records are deleted.
    shutil.rmtree(again / ".snakemake")
    done = sweep(again, snakefile=clone / "Snakefile")
    assert "Nothing to be done" in done.stdout


def test_only_a_new_checkpoint_is_measured(again):
    runs = again / "runs/decoder"
    shutil.copytree(runs / "checkpoint-100", runs / "checkpoint-200")
    write(again, {**configuration(again), "checkpoints": {"steps": [0, 100, 200]}})
    jobs = plan(again, "numbers")
    assert jobs["geometry"] == 1
    assert sweep(again, "numbers").returncode == 0
    measured = tables.read(again / "results/geometry.parquet", schemas.GEOMETRY)
    assert measured.step.max() == 200


def test_only_a_new_corpus_is_extracted_and_measured(again):
    write(again, {**configuration(again), "corpora": ["text", "shuffled"]})
    assert plan(again, "numbers")["geometry"] == 4
    done = sweep(again, "numbers")
    assert done.returncode == 0, done.stdout
    logs = [text.splitlines() for text in newest_logs(again, "geometry")]
    extracted = {line.split(": ")[1] for log in logs for line in log if ": extracted " in line}
    assert extracted == {"extracted shuffled"}
    matches = [re.search(r"(\d+) numbers measured, (\d+) kept", log[-1]) for log in logs]
    # Both corpora have the same number of numbers.
    assert all(match[1] == match[2] != "0" for match in matches)
    assert "Nothing to be done" in sweep(again, "numbers").stdout


def test_kept_shards_are_extracted_again_when_the_text_changes(workspace, text_file):
    text = workspace / "text.txt"
    shutil.copyfile(text_file, text)
    chosen = {**configuration(workspace), "keep_activations": True, "corpora": ["text"]}
    chosen |= {"checkpoints": {"steps": [10]}, "corpus": {**chosen["corpus"], "text": str(text)}}
    write(workspace, chosen)
    assert sweep(workspace, "numbers").returncode == 0
    assert "Nothing to be done" in sweep(workspace, "numbers").stdout
    with text.open("a", encoding="utf-8") as file:
        file.write("More of it than before.\n")
    # Also when Snakemake does not remember the inputs of the shards.
    for remembered in (True, False):
        if not remembered:
            shutil.rmtree(workspace / ".snakemake")
        assert plan(workspace, "numbers")["geometry"] == 2
    done = sweep(workspace, "numbers")
    assert done.returncode == 0, done.stdout
    assert len(list((workspace / "results/activations").glob("*/*/*/*/text"))) == 4


def test_only_a_metric_with_a_new_version_is_measured(again, clone):
    path = clone / "workflow/shapesweep/metrics/mean_cosine.py"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("CloudMetric(", "CloudMetric(version=2,"), encoding="utf-8")
    before = pd.read_parquet(again / "results/geometry.parquet")
    for remembered in (True, False):
        if not remembered:
            shutil.rmtree(again / ".snakemake")
        jobs = plan(again, "numbers", snakefile=clone / "Snakefile")
        assert jobs["geometry"] == 4
    done = sweep(again, "numbers", snakefile=clone / "Snakefile")
    assert done.returncode == 0, done.stdout
    assert_one_metric_measured(again, "mean_cosine")
    after = pd.read_parquet(again / "results/geometry.parquet")
    pd.testing.assert_frame_equal(
        before.drop(columns="metric_version"), after.drop(columns="metric_version")
    )
    assert set(after[after.metric == "mean_cosine"].metric_version) == {2}
    assert "Nothing to be done" in sweep(again, "numbers", snakefile=clone / "Snakefile").stdout


def example_files(name):
    """Return the path and the content of each file in a how-to."""
    text = (ROOT / f"docs/how-to/{name}.md").read_text(encoding="utf-8")
    return re.findall(r"^Write `([^`]+)`:\n\n```\w+\n(.*?)```$", text, re.MULTILINE | re.DOTALL)


def test_how_to_examples_work_and_are_single_files(again, clone):
    for name in ("add-a-metric", "add-a-corpus", "add-a-figure", "add-a-suite"):
        ((path, content),) = example_files(name)
        assert not (clone / path).exists()
        (clone / path).write_text(content, encoding="utf-8")
    (again / "path/to").mkdir(parents=True)
    (again / "path/to/trainer-output").symlink_to(again / "runs/encoder")
    changed = configuration(again)
    changed["corpora"] = ["text", "reversed"]
    changed["suites"]["mine"] = None
    write(again, changed)

    done = sweep(again, "numbers", "results/figures", snakefile=clone / "Snakefile")
    assert done.returncode == 0, done.stdout
    geometry = tables.read(again / "results/geometry.parquet", schemas.GEOMETRY)
    assert set(geometry.corpus) == {"text", "reversed"}
    assert set(geometry.metric) == {*METRICS, "top10_share"}
    ratio = geometry[geometry.metric == "top10_share"]
    # The share of 10 of 16 axes is at least 10/16.
    assert ratio.value.between(10 / 16, 1).all()
    assert (ratio.stderr > 0).all()
    embedding = ratio[(ratio.layer_kind == "embedding") & (ratio.selection == "no_first")]
    decoder = embedding[embedding.run == "decoder"].pivot(
        index="step", columns="corpus", values="value"
    )
    # The order of the tokens does not matter here: the decoder's embedding has no positions.
    assert decoder.text.tolist() == pytest.approx(decoder.reversed.tolist(), rel=1e-9)
    assert set(geometry[geometry.suite == "mine"].run) == {"seed-0"}
    assert (again / "results/figures/cosine.svg").stat().st_size > 5000
    # The numbers of the first corpus are kept.
    kept = [line for line in logged(again, "geometry") if "/tiny/" in line]
    assert all(int(re.search(r"(\d+) kept", line)[1]) > 0 for line in kept)


def test_how_to_examples_use_new_names():
    names = {"add-a-metric": METRICS, "add-a-corpus": CORPORA, "add-a-figure": FIGURES}
    for name, known in names.items():
        ((path, _),) = example_files(name)
        assert path.split("/")[-1].removesuffix(".py") not in known
