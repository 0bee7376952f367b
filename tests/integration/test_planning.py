"""Snakemake can plan every shipped configuration and every suite of the registry."""

import html
import re
import shutil
from pathlib import Path

import pytest
import yaml

from helpers.models import TEXT
from helpers.published_names import write_listing
from helpers.workflow import (
    ROOT,
    complete,
    configuration,
    settings,
    sweep,
    write,
)
from shapesweep.config import files
from shapesweep.config.hub_suite import HubSuite
from shapesweep.config.suite import SUITE
from shapesweep.storage import schemas, tables

SHIPPED = sorted((ROOT / "config").glob("*.yaml"))
REGISTRY = {
    path.stem: SUITE.validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    for path in sorted((ROOT / "workflow/shapesweep/suites").glob("*.yaml"))
}
TARGETS = {
    "all": ["--dry-run"],
    **{name: ["--dry-run", name] for name in ("numbers", "paper", "spikes", "manifests", "plan")},
    "dag": ["--dag"],
    "summary": ["--summary"],
}
#: The small `config.json` that is used for every published model.
SHAPE = {
    "architectures": ["GPTNeoXForCausalLM"],
    "model_type": "gpt_neox",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "vocab_size": 1000,
}


def write_inputs(folder, chosen):
    """Write the inputs of a configuration: the text, and a listing for each suite on the Hub."""
    text = Path(chosen.corpus.text)
    if text.suffix == ".txt" and not text.is_absolute():
        (folder / text).write_text(TEXT, encoding="utf-8")
    for name, suite in {**chosen.suites, **chosen.spikes.suites}.items():
        if isinstance(suite, HubSuite):
            path = folder / chosen.results / f"listings/{name}.json"
            write_listing(name, suite, path, SHAPE)


def assert_planned(folder, target, **more):
    """Plan a target, and check that the plan includes the last job of the target."""
    planned = complete(folder, *TARGETS[target], **more)
    if target == "dag":
        assert "digraph snakemake_dag" in planned
    elif target == "summary":
        assert "geometry.parquet" in planned
    else:
        last = {"all": "page", "numbers": "summary", "paper": "comparison", "spikes": "warnings"}
        assert re.search(rf"^{last.get(target, target)} +1$", planned, re.MULTILINE)
    return planned


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_target_of_every_shipped_configuration_can_be_planned(path, tmp_path):
    raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    default = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    write_inputs(tmp_path, files.validate({**default, **raw}, ROOT / "workflow/shapesweep/suites"))
    configfile = None if path.name == "config.yaml" else path
    for target in TARGETS:
        assert_planned(tmp_path, target, configfile=configfile)


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """A folder with the configuration and the listings of all suites."""
    folder = tmp_path_factory.mktemp("registry")
    measured = {
        name: suite
        for name, suite in REGISTRY.items()
        # The checkpoints of the suite `unstable` are unknown until its runs are trained. The target
        # `spikes` plans this suite.
        if name != "unstable"
    }
    remote = [name for name, suite in measured.items() if getattr(suite, "remote_code", False)]
    # Two suites of the registry have no repositories, because users add their own repositories.
    own = {
        name: {"repositories": [f"org/{name}"]}
        for name, suite in measured.items()
        if isinstance(suite, HubSuite) and not suite.repositories
    }
    raw = {
        "suites": dict.fromkeys(measured) | own,
        "checkpoints": {"log": 3},
        "corpora": ["text", "random"],
        # Suites of other languages need a text in another language than English.
        "corpus": {"text": "text.txt"},
        "hub": {"remote_code": remote, "disk_gb": 1000},
        "budget": {"checkpoints": dict.fromkeys(measured, "last")},
    }
    write(folder, raw)
    write_inputs(folder, files.validate(raw, ROOT / "workflow/shapesweep/suites"))
    return folder


@pytest.mark.parametrize("target", TARGETS)
def test_every_suite_of_the_registry_can_be_planned(registry, target):
    planned = assert_planned(registry, target)
    if target in ("all", "numbers"):
        named = set(configuration(registry)["suites"])
        assert set(re.findall(r": measuring ([^/]+)/", planned)) == named


def test_special_characters_of_users_are_taken_literally(runs, tmp_path):
    """The suite's pattern and the paths contain braces, dollar signs, percent signs or quotes."""
    # Undefined variables are not expanded.
    odd = "{run} {8} {a,b} $NO_HOME $x$ %s 'q' [1] #_"
    shutil.copytree(runs, tmp_path / odd / "runs")
    (tmp_path / odd / "text.txt").write_text(TEXT, encoding="utf-8")
    pattern = r"[a-z]{5,}-?(?P<step>\d{1,8})"
    suite = {"source": "local", "pattern": pattern, "runs": {"decoder": f"{odd}/runs/decoder"}}
    chosen = settings(tmp_path / odd / "text.txt", suites={"odd": suite}, corpora=["text"])
    # The path of the results cannot contain braces, because Snakemake uses braces for wildcards.
    results = odd.replace("{", "(").replace("}", ")")
    write(tmp_path, {**chosen, "results": results, "budget": {"checkpoints": {"odd": "last"}}})
    complete(tmp_path)
    measured = tables.read(tmp_path / results / "geometry.parquet", schemas.GEOMETRY)
    assert sorted(set(measured.step)) == [0, 10, 100]
    page = (tmp_path / results / "report.html").read_text(encoding="utf-8")
    assert html.escape(pattern) in page
    assert odd.partition(" '")[0] in html.unescape(page)
    assert "Nothing to be done" in sweep(tmp_path).stdout
    for words in (["--dag"], ["--summary"], ["--report", "report.zip"]):
        complete(tmp_path, *words)
