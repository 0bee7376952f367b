"""The workflow passes the lint, writes reports, repeats no finished job, and can be extended."""

import json
import re
import shutil
import subprocess
import sys
import zipfile

import pandas as pd
import pytest
import torch
from transformers import AutoModelForCausalLM

from helpers.workflow import (
    ROOT,
    TINY,
    command,
    complete,
    configure,
    plan,
    read,
    settings,
    sweep,
    write,
)
from shapesweep.corpora import CORPORA
from shapesweep.figures import FIGURES
from shapesweep.metrics import METRICS


def newest_logs(folder, rule):
    """For each batch, return the text of the rule's newest log."""
    newest = {}
    for log in (folder / "results/logs" / rule).rglob("*.log"):
        batch = log.parent
        if batch not in newest or log.stat().st_mtime_ns > newest[batch].stat().st_mtime_ns:
            newest[batch] = log
    return [newest[batch].read_text(encoding="utf-8") for batch in sorted(newest)]


@pytest.fixture(scope="module")
def swept(tmp_path_factory, runs, text_file):
    """A finished sweep of four checkpoints on a single corpus. Tests use copies of this sweep."""
    folder = tmp_path_factory.mktemp("swept")
    shutil.copytree(runs, folder / "runs")
    few = {"corpora": ["text"], "checkpoints": {"steps": [0, 100]}, "checkpoints_per_job": 1}
    write(folder, settings(text_file, suites=TINY, **few))
    complete(folder)
    return folder


def measured_and_kept(log):
    """From the last line of a log, return the counts of measured and reused numbers."""
    last = log.splitlines()[-1]
    return [int(n) for n in re.search(r"(\d+) numbers measured, (\d+) kept", last).groups()]


def assert_one_metric_measured(folder, metric):
    """Check that the last run measured a single metric, for every checkpoint."""
    numbers = read(folder, "geometry").groupby(["run", "revision"])
    expected = sorted(numbers.metric.agg(lambda m: (m == metric).sum()))
    counts = [measured_and_kept(log) for log in newest_logs(folder, "geometry")]
    assert sorted(measured for measured, _ in counts) == expected
    assert sorted(map(sum, counts)) == sorted(numbers.size())


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
        assert text.startswith(("# Input: ", "# Output: ")), path.name
        for rule in re.split(r"^(?:rule|checkpoint) ", text, flags=re.MULTILINE)[1:]:
            if rule.startswith(("paper:", "spikes:")):
                continue  # Targets, which only name files of other rules.
            # Two rules only print text, and have no output files.
            parts = [] if rule.startswith(("manifests:", "plan:")) else ["output:"]
            if "\n    shell:" in rule:
                parts.append("log:")
            # Rules that only print or write a text finish at once, so they need no benchmark.
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
    assert planned.stdout.count("--threads 3 --retries 0 --out results/geometry") == 2


def test_the_report_has_every_figure_with_title_category_and_caption(again):
    complete(again, "--report", "report.zip")
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
        # Only the start of the caption is compared, because the start contains no emphasis or line
        # break.
        assert figure.caption.split("*")[0].split(".")[0] in page
    assert "Summary of the sweep" in page


def test_a_fresh_clone_does_not_repeat_a_finished_sweep(again, clone):
    # All files of the clone are newer than the results. The records of Snakemake are deleted.
    shutil.rmtree(again / ".snakemake")
    assert "Nothing to be done" in sweep(again, snakefile=clone / "Snakefile").stdout


def test_only_a_new_checkpoint_is_measured(again):
    runs = again / "runs/decoder"
    shutil.copytree(runs / "checkpoint-100", runs / "checkpoint-200")
    # Two checkpoints with the same weights would be flagged.
    model = AutoModelForCausalLM.from_pretrained(runs / "checkpoint-100")
    with torch.no_grad():
        model.lm_head.weight.mul_(torch.linspace(0.9, 1.1, model.lm_head.weight.shape[1]))
    model.save_pretrained(runs / "checkpoint-200")
    configure(again, {"checkpoints": {"steps": [0, 100, 200]}})
    assert plan(again, "numbers")["geometry"] == 1
    complete(again, "numbers")
    assert read(again, "geometry").step.max() == 200


def test_only_a_new_corpus_is_extracted_and_measured(again):
    configure(again, {"corpora": ["text", "shuffled"]})
    assert plan(again, "numbers")["geometry"] == 4
    complete(again, "numbers")
    logs = newest_logs(again, "geometry")
    assert set(re.findall(r": extracted ([^:\n]+)", "".join(logs))) == {"shuffled"}
    # As many numbers are kept for the old corpus as are measured for the new corpus.
    for measured, kept in map(measured_and_kept, logs):
        assert measured == kept != 0
    assert "Nothing to be done" in sweep(again, "numbers").stdout


def test_kept_shards_are_extracted_again_when_the_text_changes(workspace, text_file):
    text = workspace / "text.txt"
    shutil.copyfile(text_file, text)
    few = {"checkpoints": {"steps": [10]}, "corpora": ["text"]}
    configure(workspace, {**few, "keep_activations": True, "corpus.text": str(text)})
    complete(workspace, "numbers")
    assert "Nothing to be done" in sweep(workspace, "numbers").stdout
    with text.open("a", encoding="utf-8") as file:
        file.write("More of it than before.\n")
    # The shards are extracted again even if Snakemake does not remember their inputs.
    for remembered in (True, False):
        if not remembered:
            shutil.rmtree(workspace / ".snakemake")
        assert plan(workspace, "numbers")["geometry"] == 2
    complete(workspace, "numbers")
    assert len(list((workspace / "results/activations").glob("*/*/*/*/text"))) == 4


def test_only_a_metric_with_a_new_version_is_measured(again, clone):
    path = clone / "workflow/shapesweep/metrics/mean_cosine.py"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("CloudMetric(", "CloudMetric(version=2,"), encoding="utf-8")
    before = read(again, "geometry")
    for remembered in (True, False):
        if not remembered:
            shutil.rmtree(again / ".snakemake")
        assert plan(again, "numbers", snakefile=clone / "Snakefile")["geometry"] == 4
    complete(again, "numbers", snakefile=clone / "Snakefile")
    assert_one_metric_measured(again, "mean_cosine")
    after = read(again, "geometry")
    pd.testing.assert_frame_equal(
        before.drop(columns="metric_version"), after.drop(columns="metric_version")
    )
    assert set(after[after.metric == "mean_cosine"].metric_version) == {2}
    assert "Nothing to be done" in sweep(again, "numbers", snakefile=clone / "Snakefile").stdout


def example_files(name):
    """Return the path and the content of each file that a how-to page shows."""
    text = (ROOT / f"docs/how-to/{name}.md").read_text(encoding="utf-8")
    return re.findall(r"^Write `([^`]+)`:\n\n```\w+\n(.*?)```$", text, re.MULTILINE | re.DOTALL)


def test_how_to_examples_work_and_are_single_files(again, clone):
    for name in ("add-a-metric", "add-a-corpus", "add-a-figure", "add-a-suite"):
        ((path, content),) = example_files(name)
        assert not (clone / path).exists()
        (clone / path).write_text(content, encoding="utf-8")
    (again / "path/to").mkdir(parents=True)
    (again / "path/to/trainer-output").symlink_to(again / "runs/encoder")
    configure(again, {"corpora": ["text", "reversed"], "suites.mine": None})

    complete(again, "numbers", "results/figures", snakefile=clone / "Snakefile")
    geometry = read(again, "geometry")
    assert set(geometry.corpus) == {"text", "reversed"}
    assert set(geometry.metric) == {*METRICS, "top10_share"}
    ratio = geometry[geometry.metric == "top10_share"]
    # The ten largest of 16 eigenvalues have a share of at least 10/16.
    assert ratio.value.between(10 / 16, 1).all()
    assert (ratio.stderr > 0).all()
    embedding = ratio[(ratio.layer_kind == "embedding") & (ratio.selection == "no_first")]
    decoder = embedding[embedding.run == "decoder"].pivot(
        index="step", columns="corpus", values="value"
    )
    # Reversing the tokens does not change the embedding layer, because the decoder's embedding has
    # no positions.
    assert decoder.text.tolist() == pytest.approx(decoder.reversed.tolist(), rel=1e-9)
    assert set(geometry[geometry.suite == "mine"].run) == {"seed-0"}
    assert (again / "results/figures/cosine.svg").stat().st_size > 5000
    # The numbers of the first corpus are kept.
    logs = [log for log in newest_logs(again, "geometry") if "/tiny/" in log.splitlines()[-1]]
    assert all(measured_and_kept(log)[1] > 0 for log in logs)


def test_how_to_examples_use_new_names():
    names = {"add-a-metric": METRICS, "add-a-corpus": CORPORA, "add-a-figure": FIGURES}
    for name, known in names.items():
        ((path, _),) = example_files(name)
        assert path.split("/")[-1].removesuffix(".py") not in known
