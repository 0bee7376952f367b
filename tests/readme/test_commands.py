"""The README's commands on published suites, with miniature models under the published names."""

import os
import re
import subprocess

import pytest
import yaml

from helpers import miniature
from helpers.hub_suites import files
from helpers.models import TEXT
from helpers.published_names import repositories
from helpers.standin import StandIn
from helpers.workflow import ROOT, SCRIPTS, warm_programs
from shapesweep.config.files import validate
from shapesweep.figures import EXTENSIONS
from shapesweep.storage import schemas, tables

#: Checkpoints that each command measures: at most two of each run. The last checkpoint of OLMo 2 1B
#: belongs to its second stage, a run that the configuration leaves out.
N_CHECKPOINTS = {"pythia": 3 * 2, "olmo": 1 + 2, "paper": 6 + 2 + 2 + 2 * 2}
#: Repositories that users can only access with a token.
GATED = ("meta-llama/Llama-2-7b-hf",)


def commands():
    """Return the README's commands with a shipped configuration, by its name."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"^(snakemake [^#\n]*config/(\w+)\.yaml)", text, re.MULTILINE)
    return {name: line for line, name in found if not {"manifests", "plan"} & set(line.split())}


@pytest.fixture
def published(clone, tmp_path, tokenizers, monkeypatch):
    """A function that publishes everything that a configuration of the clone needs."""
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with StandIn() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)

        def publish(name):
            shipped = [
                yaml.safe_load((clone / f"config/{file}.yaml").read_text(encoding="utf-8"))
                for file in ("config", name)
            ]
            chosen = validate(shipped[0] | shipped[1], clone / "workflow/shapesweep/suites")
            for suite_name, suite in chosen.suites.items():
                wanted = repositories(suite_name, suite)
                miniature.publish(hub, suite_name, suite, wanted, tokenizers, tmp_path)
                for group in suite.groups():
                    if group.tokenizer and group.tokenizer not in hub.repositories:
                        hub.add(group.tokenizer, files=files(tokenizers["decoder"], tmp_path / "t"))
            for repository in GATED:
                if repository in hub.repositories:
                    hub.repositories[repository].is_gated = True
            if chosen.corpus.text != "stdlib":
                (clone / chosen.corpus.text).write_text(TEXT, encoding="utf-8")
            return chosen

        yield publish


def test_all_commands_of_the_readme_are_tested():
    assert set(commands()) == {"pythia", "olmo", "paper"}


@pytest.mark.parametrize("name", ["pythia", "olmo", "paper"])
def test_a_command_of_the_readme_completes(published, clone, name):
    chosen = published(name)
    path = os.pathsep.join(map(str, [warm_programs(), SCRIPTS, os.environ["PATH"]]))
    done = subprocess.run(
        commands()[name],
        shell=True,
        cwd=clone,
        env={**os.environ, "PATH": path},
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "Traceback" not in done.stdout
    results = clone / "results"
    measured = tables.read(results / "geometry.parquet", schemas.GEOMETRY)
    assert set(measured.suite) == set(chosen.suites)
    failed = tables.read(results / "failures.parquet", schemas.FAILURES)
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
