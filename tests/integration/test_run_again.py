"""After a change, the rules named in the table of docs/how-to/run-again.md run again.

Dry runs test a sample of the table, or the whole table if SHAPESWEEP_ALL is set.
"""

import itertools
import os
import re
import shutil
import subprocess

import pytest

from helpers.run_again import CHANGES, TARGETS, expected, planned, table
from helpers.workflow import (
    EMBEDDED,
    LLAMA,
    command,
    complete,
    configuration,
    configure,
    read,
    refused,
    settings,
    sweep,
    write,
)
from shapesweep.config.sweep import Config
from shapesweep.plan.workflow import BATCH_TABLES

ALL = bool(os.environ.get("SHAPESWEEP_ALL"))
TRAINED = EMBEDDED | {"steps": [0, 2], "runs": {"small": {"learning_rate": 0.01, "model": LLAMA}}}
#: Rows of the table that other tests cover, because the changes are not in the configuration.
OTHERS = {
    "a checkpoint's files, or those of its base model (`suites`: `base`)",
    "a metric is added, or its `version` raised",
    "the program's files",
}


@pytest.fixture(scope="module")
def swept(tmp_path_factory, runs, text_file):
    """A finished sweep that measured three of a run's four checkpoints.

    It has a budget, the figures of the paper, and a trained run for `spikes`.
    """
    folder = tmp_path_factory.mktemp("swept")
    shutil.copytree(runs, folder / "runs")
    shutil.copytree(folder / "runs/decoder/checkpoint-10", folder / "runs/decoder/checkpoint-50")
    shutil.copyfile(text_file, folder / "other.txt")
    (folder / "log.csv").write_text("step,loss\n5,6.0\n", encoding="utf-8")
    chosen = settings(
        text_file,
        suites={"mine": {"source": "local", "runs": {"a": "runs/decoder"}}},
        checkpoints={"steps": [0, 10, 100, 2]},
        corpora=["text", "last", "passages"],
        budget={"checkpoints": {"mine": "last"}},
        spikes={"suites": {"tiny": TRAINED}},
    )
    write(folder, chosen)
    complete(folder, "all", "paper", "spikes")
    return folder


@pytest.fixture(autouse=True)
def unchanged(swept):
    """Check that dry runs change no result. Restore the configuration for the next test."""
    text = (swept / "sweep.yaml").read_text(encoding="utf-8")
    before = listing(swept / "results")
    yield
    (swept / "sweep.yaml").write_text(text, encoding="utf-8")
    assert listing(swept / "results") == before


def listing(folder):
    """Return all files with their sizes and modification times."""
    found = {path: path.stat() for path in folder.rglob("*")}
    return {path: (stat.st_size, stat.st_mtime_ns) for path, stat in found.items()}


def test_the_table_has_a_row_for_every_key(swept):
    rows = set(table())
    assert rows == set(CHANGES) | OTHERS
    named = " ".join(rows)
    for key, field in Config.model_fields.items():
        parts = getattr(field.annotation, "model_fields", {})
        for path in [f"{key}.{part}" for part in parts if part not in ("last", "passages")] or [
            key
        ]:
            # A change of the key `results` moves the results to another folder, but does not change
            # any result.
            assert f"`{path}`" in named or path == "results", path


CASES = [(row, target) for row in CHANGES for target in TARGETS]


@pytest.mark.parametrize(
    ("row", "target"), CASES if ALL else [*CASES[::7], *CASES[3::7]], ids=lambda word: word
)
def test_a_change_runs_the_rules_of_the_table(swept, row, target):
    for change in CHANGES[row]:
        assert planned(swept, change, target) == expected(row, target), change


def test_nothing_runs_without_a_change(swept):
    for target in (*TARGETS, "spikes"):
        assert "Nothing to be done" in sweep(swept, "--dry-run", target).stdout


@pytest.mark.parametrize(
    ("change", "rules"),
    [
        ({"spikes.suites.tiny.runs.small.seed": 1}, {"train", "geometry"}),
        ({"spikes.suites.tiny.runs.small.learning_rate": 0.02}, {"train", "geometry"}),
        ({"spikes.corpora": ["text", "random"]}, {"geometry"}),
        ({"corpus.seed": 1}, {"geometry"}),
        ({"corpora": ["text"]}, set()),
        ({"budget.rise": 0.1}, set()),
    ],
)
def test_spikes_have_their_own_corpora_and_no_budgets(swept, change, rules):
    assert planned(swept, change, "spikes") & {"train", "geometry", "budget"} == rules


@pytest.mark.parametrize("target", ["manifests", "plan"])
@pytest.mark.parametrize("row", ["`corpora`", "`checkpoints`, or a checkpoint is added"])
def test_manifests_and_plan_measure_nothing(swept, row, target):
    assert planned(swept, CHANGES[row][0], target) == set()


@pytest.fixture
def copied(swept, tmp_path):
    """A copy of the finished sweep."""
    folder = tmp_path / "copy"
    shutil.copytree(swept, folder)
    return folder


#: A file of each kind of output, as a glob pattern relative to the folder of the results.
OUTPUTS = [
    *("geometry.parquet", "failures.parquet", "curves/phases.parquet", "summary.txt"),
    *("config.yaml", "manifests/mine.parquet", "history/mine.parquet", "plans/mine/*.json"),
    *(f"geometry/mine/a/checkpoint-0+1/*/{name}.parquet" for name in BATCH_TABLES),
    "budgets/mine/a/checkpoint-100/*.parquet",
    *("report.html", "comparison.md", "spikes/geometry.parquet", "spikes/warnings.md"),
]
#: If one of these files is removed, it is written again only when a job needs it.
NEEDED = ["settings/*.yaml", "settings/text.jinja", "measured/mine/a/checkpoint-0/*.parquet"]
SAMPLE = [OUTPUTS[0], "geometry/mine/a/checkpoint-0+1/*/losses.parquet", "report.html"]
TARGETS_OF = {"spikes": "spikes", "comparison": "paper", "report": "all"}


def target_of(pattern):
    """Return a target that includes the given file."""
    return TARGETS_OF.get(re.match(r"\w+", pattern)[0], "numbers")


@pytest.mark.parametrize("pattern", OUTPUTS if ALL else SAMPLE)
def test_a_deleted_output_is_written_again(copied, pattern):
    (path,) = (copied / "results").glob(pattern)
    content = path.read_bytes()
    path.unlink()
    complete(copied, target_of(pattern))
    # Pages and figures contain the time of their creation.
    if path.suffix not in (".html", ".pdf", ".svg"):
        assert path.read_bytes() == content
    assert path.stat().st_size > 0
    assert "Nothing to be done" in sweep(copied, "--dry-run", target_of(pattern)).stdout


def test_a_missing_table_is_planned_while_the_template_is_written_again(copied):
    # Snakemake 9.27 skips jobs behind an `ancient` input that is written again, see config.smk.
    for path in (copied / "results").glob("geometry/mine/a/checkpoint-0+1/*/geometry.parquet"):
        path.unlink()
    found = sweep(copied, "--dry-run", "--forcerun", "template", "--", "numbers").stdout
    assert re.search("^geometry ", found, re.MULTILINE), found


@pytest.mark.parametrize("pattern", OUTPUTS if ALL else SAMPLE)
def test_a_truncated_output_is_written_again_or_reported(copied, pattern):
    (path,) = (copied / "results").glob(pattern)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    done = sweep(copied, target_of(pattern))
    assert "Traceback" not in done.stdout
    name = str(path.relative_to(copied))
    if path.read_bytes() != content:
        lines = [line for line in done.stdout.splitlines() if f"{name}: damaged" in line]
        assert lines, done.stdout
        assert "remove it, and run again" in lines[0]
        path.unlink()
        complete(copied, target_of(pattern))


def test_missing_and_damaged_figures_are_reported(copied):
    folder = copied / "results/figures"
    (folder / "dome.svg").unlink()
    (folder / "loss.pdf").write_bytes(b"%PDF-1.4")
    found = sweep(copied, "--dry-run").stdout
    advice = "damaged or missing; remove results/figures, and run again"
    assert f"results/figures/dome.svg: {advice}" in found
    assert f"results/figures/loss.pdf: {advice}" in found
    assert found.count(advice) == 2
    shutil.rmtree(folder)
    assert advice not in complete(copied)
    assert (folder / "dome.svg").is_file()


@pytest.mark.parametrize("pattern", NEEDED if ALL else NEEDED[:1])
def test_deleted_inputs_are_written_again_when_a_job_needs_them(copied, pattern):
    for path in (copied / "results").glob(pattern):
        path.unlink()
    configure(copied, {"geometry.n_points": 50})
    complete(copied, "numbers")
    found = read(copied, "geometry")
    assert found[found.metric == "id_twonn"].n_points.max() == 50


def test_truncated_settings_are_not_used(copied):
    (path,) = (
        path
        for path in (copied / "results/settings").glob("*.yaml")
        if {"- last", "  n_points: 100"} <= {*path.read_text(encoding="utf-8").splitlines()}
    )
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: text.index("geometry:")], encoding="utf-8")
    assert f"{path.name}: damaged; remove it, and run again" in refused(copied, "numbers")


def test_a_manifest_of_another_text_is_not_used(copied):
    original = configuration(copied)
    configure(copied, {"corpus.text": "other.txt"})
    # Run the sweep with the other text only until its manifest is written.
    complete(copied, "numbers", "--until", "manifest")
    write(copied, original)
    # Delete the records of Snakemake, so that Snakemake does not remember the first sweep.
    shutil.rmtree(copied / ".snakemake")
    shutil.rmtree(copied / "results/geometry")
    complete(copied, "numbers")
    assert "Nothing to be done" in sweep(copied, "--dry-run", "numbers").stdout


def test_dry_runs_do_not_disturb_a_running_sweep(copied):
    configure(copied, {"corpus.seed": 2})
    running = subprocess.Popen(
        **command(copied, "numbers"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    options = [["--dry-run"], ["--summary"], ["--dag"], ["--dry-run", "results/summary.txt"]]
    for words in itertools.cycle(options):
        done = sweep(copied, *words)
        assert "Traceback" not in done.stdout
        if running.poll() is not None:
            break
    output, _ = running.communicate()
    assert running.returncode == 0, output
    assert "Nothing to be done" in sweep(copied, "--dry-run", "numbers").stdout
