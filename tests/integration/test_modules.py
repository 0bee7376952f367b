"""The workflow runs as a module of other workflows, with various options and no profile."""

import shutil
import subprocess

import pytest

from helpers.workflow import (
    ROOT,
    command,
    complete,
    configure,
    error_line,
    read,
    refused,
    settings,
    submitting,
    sweep,
    write,
)

IMPORTER = """
configfile: "sweep.yaml"


module sweep:
    snakefile:
        {snakefile}
    config:
        config
    {prefix}


use rule * from sweep as {names}


rule everything:
    default_target: True
    input:
        rules.{names_of}numbers.input,
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """A git repository with the current workflow."""
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
    """A folder with the configuration of a sweep of a single tiny checkpoint."""
    shutil.copytree(runs / "decoder", tmp_path / "runs/decoder")
    suites = {"mine": {"source": "local", "runs": {"a": "runs/decoder"}}}
    chosen = settings(text_file, suites=suites, corpora=["text"], checkpoints={"steps": [10]})
    write(tmp_path, chosen)
    return tmp_path


def run(importer, *options):
    """Run `snakemake` on the workflow that imports shapesweep."""
    words = command(importer, *options, configfile=None)
    program, *rest = words["args"]
    words["args"] = [program, *rest[rest.index("--cores") :]]
    return subprocess.run(**words, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def import_workflow(importer, snakefile, prefix, names):
    """Write a workflow that imports shapesweep."""
    line = f'prefix:\n        "{prefix}"' if prefix else ""
    names_of = names.removesuffix("*")
    text = IMPORTER.format(snakefile=snakefile, prefix=line, names=names, names_of=names_of)
    (importer / "Snakefile").write_text(text, encoding="utf-8")


def check(importer, prefix):
    """Check that all results exist, and that the folder contains no other files."""
    assert set(read(importer / prefix, "geometry").step) == {10}
    left = {path.name for path in importer.iterdir()} - {".snakemake", "runs"}
    assert left == {"Snakefile", "sweep.yaml", (prefix or "results").partition("/")[0]}
    assert "Nothing to be done" in run(importer, "--dry-run").stdout


@pytest.mark.parametrize("source", ["path", "git"])
@pytest.mark.parametrize(
    ("prefix", "names"), [("", "*"), ("", "p_*"), ("deep/er", "p_*")], ids=["plain", "as", "prefix"]
)
def test_an_imported_workflow_measures_and_then_has_nothing_to_do(
    importer, repository, source, prefix, names
):
    snakefile = {
        "path": f'"{ROOT}/workflow/Snakefile"',
        "git": f'gitfile("{repository}", path="workflow/Snakefile", ref="main")',
    }[source]
    import_workflow(importer, snakefile, prefix, names)
    done = run(importer)
    assert done.returncode == 0, done.stdout
    assert "the workflow's profile is not in use" in done.stdout
    check(importer, prefix)


def test_a_prefix_does_not_change_paths_of_the_configuration(importer, text_file):
    shutil.copyfile(text_file, importer / "text.txt")
    configure(importer, {"corpus.text": "text.txt", "results": str(importer / "elsewhere")})
    import_workflow(importer, f'"{ROOT}/workflow/Snakefile"', "deep/er", "p_*")
    done = run(importer)
    assert done.returncode == 0, done.stdout
    assert (importer / "elsewhere/geometry.parquet").is_file()
    assert not (importer / "deep").exists()


def test_an_error_in_the_configuration_of_a_module_is_reported_in_one_line(importer):
    import_workflow(importer, f'"{ROOT}/workflow/Snakefile"', "", "p_*")
    path = importer / "sweep.yaml"
    text = path.read_text(encoding="utf-8")
    # Keys that belong only to the importing workflow are ignored, even if such a key appears twice.
    snakefile = importer / "Snakefile"
    rules = snakefile.read_text(encoding="utf-8").replace("   config\n", '   config["sweep"]\n')
    snakefile.write_text(rules, encoding="utf-8")
    nested = "sweep:\n" + "".join(f"  {line}\n" for line in text.splitlines())
    path.write_text(f"mine: 1\nmine: 2\n{nested}", encoding="utf-8")
    assert run(importer, "--dry-run").returncode == 0
    path.write_text(f"{nested}  corporas: [text]\n", encoding="utf-8")
    done = run(importer, "--dry-run")
    assert done.returncode != 0
    assert error_line(done.stdout).startswith("shapesweep: error: corporas: ")
    assert "Traceback" not in done.stdout


def test_an_imported_workflow_runs_on_a_cluster(importer, tmp_path_factory):
    import_workflow(importer, f'"{ROOT}/workflow/Snakefile"', "deep/er", "p_*")
    options = submitting(tmp_path_factory.mktemp("scheduler"))
    # Leave out --set-threads, because the module has renamed the rules in this option.
    done = run(importer, *options[: options.index("--set-threads")])
    assert done.returncode == 0, done.stdout
    check(importer, "deep/er")


def test_remote_storage_is_refused_in_one_line(workspace):
    more = ["--default-storage-provider", "fs", "--default-storage-prefix", "store"]
    line = error_line(refused(workspace, "--dry-run", *more))
    assert line.startswith("shapesweep: error: --default-storage-provider fs: ")


@pytest.mark.parametrize("snakefile", ["Snakefile", "workflow/Snakefile"])
def test_both_snakefiles_load_the_profile(workspace, snakefile):
    planned = sweep(workspace, "--dry-run", snakefile=ROOT / snakefile)
    assert "profiles/default for setting default command line arguments" in planned.stdout
    assert "profile is not in use" not in planned.stdout
    no_profile = sweep(workspace, "--dry-run", "--workflow-profile", "none")
    assert no_profile.stdout.count("the workflow's profile is not in use") == 1


@pytest.mark.parametrize("words", [["--containerize"], ["--sdm", "conda", "--dry-run"]])
def test_options_for_environments_cause_no_error(workspace, words):
    complete(workspace, *words)
