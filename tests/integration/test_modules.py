"""The workflow in other workflows, with options that others use, and without its profile."""

import shutil
import subprocess

import pytest

from helpers.workflow import ROOT, command, settings, sweep, write
from shapesweep import contracts, tables

IMPORTER = """
configfile: "sweep.yaml"


module sweep:
    snakefile:
        {snakefile}
    config:
        config
    {prefix}


use rule * from sweep as {names}


rule all:
    default_target: True
    input:
        rules.{names_of}numbers.input,
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A git repository of the workflow, as it is now."""
    folder = tmp_path_factory.mktemp("repository")
    for name in ("workflow", "config", "profiles"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored, symlinks=True)
    git = ["git", "-C", folder, "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run([*git, "init", "-q", "-b", "main"], check=True)
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "workflow"], check=True)
    return folder


@pytest.fixture
def importer(tmp_path, runs, text_file):
    """A folder with a configuration of one tiny checkpoint."""
    shutil.copytree(runs / "decoder", tmp_path / "runs/decoder")
    suites = {"mine": {"source": "local", "runs": {"a": "runs/decoder"}}}
    chosen = settings(text_file, suites=suites, corpora=["text"], checkpoints={"steps": [10]})
    write(tmp_path, chosen)
    return tmp_path


@pytest.mark.parametrize("source", ["path", "git"])
@pytest.mark.parametrize(
    ("prefix", "names"), [("", "*"), ("", "p_*"), ("deep/er", "p_*")], ids=["plain", "as", "prefix"]
)
def test_a_module_measures_and_is_done(importer, repository, source, prefix, names):
    snakefile = {
        "path": f'"{ROOT}/workflow/Snakefile"',
        "git": f'gitfile("{repository}", path="workflow/Snakefile", ref="main")',
    }[source]
    line = f'prefix:\n        "{prefix}"' if prefix else ""
    # Names of two rules must not be the same.
    text = IMPORTER.format(
        snakefile=snakefile, prefix=line, names=names, names_of=names.removesuffix("*")
    )
    text = text.replace("rule all:", "rule everything:")
    (importer / "Snakefile").write_text(text, encoding="utf-8")
    words = command(importer, configfile=None, snakefile=ROOT / "Snakefile")
    words["args"] = [words["args"][0], "--cores", "2"]
    done = subprocess.run(**words, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    assert "the workflow's profile is not in use" in done.stdout
    results = importer / prefix / "results"
    measured = tables.read(results / "geometry.parquet", contracts.GEOMETRY)
    assert set(measured.step) == {10}
    # Nothing of it lies elsewhere.
    left = {path.name for path in importer.iterdir()} - {".snakemake", "runs"}
    assert left == {"Snakefile", "sweep.yaml", (prefix or "results").partition("/")[0]}
    words["args"].append("--dry-run")
    again = subprocess.run(**words, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert "Nothing to be done" in again.stdout


def test_a_storage_is_refused_in_one_line(workspace):
    more = ["--default-storage-provider", "fs", "--default-storage-prefix", "store"]
    done = sweep(workspace, "--dry-run", *more)
    assert done.returncode != 0
    (line,) = [line for line in done.stdout.splitlines() if "error" in line]
    assert line.startswith("shapesweep: error: --default-storage-provider fs: ")
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize("snakefile", ["Snakefile", "workflow/Snakefile"])
def test_the_profile_is_loaded_from_anywhere(workspace, snakefile):
    planned = sweep(workspace, "--dry-run", snakefile=ROOT / snakefile)
    assert "profiles/default for setting default command line arguments" in planned.stdout
    assert "profile is not in use" not in planned.stdout
    without = sweep(workspace, "--dry-run", "--workflow-profile", "none")
    assert without.stdout.count("the workflow's profile is not in use") == 1


@pytest.mark.parametrize("words", [["--containerize"], ["--sdm", "conda", "--dry-run"]])
def test_options_for_environments_end_without_a_traceback(workspace, words):
    done = sweep(workspace, *words)
    assert done.returncode == 0, done.stdout
    assert "Traceback" not in done.stdout
