"""The README's commands on published suites work with miniature models of the same names."""

import hashlib
import os
import re
import subprocess

import pytest
import yaml
from huggingface_hub.utils.sha import git_hash

from helpers import miniature
from helpers.hub_suites import files
from helpers.models import TEXT
from helpers.published_names import repositories
from helpers.workflow import ROOT, SCRIPTS, read, warm_programs
from shapesweep.config.files import validate
from shapesweep.figures import EXTENSIONS
from shapesweep.hub.texts import GITHUB, MIRROR

#: The number of checkpoints that each command measures. Each run has at most two checkpoints. For
#: OLMo 2 1B, the last checkpoint belongs to the second stage. This stage is a separate run, which
#: the configuration leaves out.
N_CHECKPOINTS = {"pythia": 3 * 2, "olmo": 1 + 2, "paper": 6 + 2 + 2 + 2 * 2}
#: A repository that users can only access with a token.
GATED = "meta-llama/Llama-2-7b-hf"


def commands():
    """Return the README's commands by the name of the shipped configuration that they use."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"^(snakemake [^#\n]*config/(\w+)\.yaml)", text, re.MULTILINE)
    return {name: line for line, name in found if not {"manifests", "plan"} & set(line.split())}


@pytest.fixture
def published(standin, clone, tmp_path, tokenizers, monkeypatch):
    """A function that publishes everything that a configuration of the clone needs."""

    def publish(name):
        default, shipped = (
            yaml.safe_load((clone / f"config/{file}.yaml").read_text(encoding="utf-8"))
            for file in ("config", name)
        )
        chosen = validate(default | shipped, clone / "workflow/shapesweep/suites")
        for suite_name, suite in chosen.suites.items():
            wanted = repositories(suite_name, suite)
            miniature.publish(standin, suite_name, suite, wanted, tokenizers, tmp_path)
            for group in suite.groups():
                if group.tokenizer and group.tokenizer not in standin.repositories:
                    decoder = files(tokenizers["decoder"], tmp_path / "t")
                    standin.add(group.tokenizer, files=decoder)
        if GATED in standin.repositories:
            standin.repositories[GATED].is_gated = True
        # The clone's text `paper` is a small text, which the stand-in serves instead of GitHub.
        path = clone / "workflow/shapesweep/texts/paper.yaml"
        definition = yaml.safe_load(path.read_text(encoding="utf-8"))
        path.write_text(yaml.safe_dump(definition | {"blob": git_hash(TEXT.encode())}), "utf-8")
        for url in definition["urls"]:
            standin.web[url.removeprefix(GITHUB)] = TEXT.encode()
        monkeypatch.setenv(MIRROR, standin.url)
        return chosen

    return publish


def run(command, clone):
    """Run a shell command in a clone."""
    package = clone / "workflow"
    path = os.pathsep.join(map(str, [warm_programs(package), SCRIPTS, os.environ["PATH"]]))
    return subprocess.run(
        command,
        shell=True,
        cwd=clone,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(package)},
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_all_commands_of_the_readme_are_tested():
    assert set(commands()) == {"pythia", "olmo", "paper"}


@pytest.mark.parametrize("name", ["pythia", "olmo", "paper"])
def test_a_command_of_the_readme_completes(published, standin, clone, name):
    chosen = published(name)
    done = run(commands()[name], clone)
    assert done.returncode == 0, done.stdout
    assert "Traceback" not in done.stdout
    results = clone / "results"
    assert sum(path.endswith("/enwik88.txt") for _, path in standin.asked) == 1
    # Every table with a corpus identifies the text.
    digest = hashlib.sha256(TEXT.encode()).hexdigest()
    for table in ("geometry", "replicates", "origins", "curves/trajectories", "curves/phases"):
        assert set(read(clone, table).text_sha256) == {digest}, table
    measured, failed = read(clone, "geometry"), read(clone, "failures")
    assert set(measured.suite) == set(chosen.suites)
    refused = failed[~failed.reason.isin(["empty_main", "hole"])]
    # Every published checkpoint was measured, except the model that needs a token.
    assert set(refused.run) == ({"Llama-2-7b-hf"} if name == "paper" else set()), refused
    n_measured = measured.groupby(["suite", "run"]).revision.nunique()
    assert set(n_measured) <= set(range(1, miniature.MAX_CHECKPOINTS + 1))
    assert n_measured.sum() == N_CHECKPOINTS[name]
    drawn = {path.stem for path in (results / "figures").glob("[!.]*")}
    assert {"dome", "families", "id_models"} <= drawn
    assert ("comparison" in drawn) == (name == "paper")
    for figure in drawn:
        for extension in EXTENSIONS:
            assert (results / f"figures/{figure}.{extension}").stat().st_size
    assert (results / "summary.txt").is_file()
    if name == "paper":
        assert "not run" in (results / "comparison.md").read_text(encoding="utf-8")
    else:
        assert (results / "report.html").stat().st_size > 4e6


def test_a_text_that_differs_by_a_byte_is_refused(published, standin, clone):
    published("olmo")
    for path, content in standin.web.items():
        standin.web[path] = content[:-1] + b"?"
    done = run(commands()["olmo"], clone)
    assert done.returncode != 0
    assert "cannot fetch paper: " in done.stdout
    assert "is not this text: its git blob id is" in done.stdout
    assert "Traceback" not in done.stdout
    assert not list((clone / "results").rglob("*.safetensors"))
    assert not (clone / "results/geometry.parquet").exists()
