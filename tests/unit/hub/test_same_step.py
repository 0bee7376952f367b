"""Checkpoints of a run that have the same step are flagged."""

import json
from dataclasses import asdict

import pytest
import yaml

from helpers.published_names import write_listing
from helpers.workflow import ROOT
from shapesweep.config.suite import SUITE
from shapesweep.hub.revisions import Listed
from shapesweep.hub.same_step import flag_same_step
from shapesweep.manifest.checkpoints import list_checkpoints
from shapesweep.manifest.selection import select
from shapesweep.storage.files import File

RAW = {
    path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
    for path in sorted((ROOT / "workflow/shapesweep/suites").glob("*.yaml"))
}
PUBLISHED = [name for name, raw in RAW.items() if raw["source"] == "hub"]


def flags(*found):
    return [", ".join(checkpoint.status) for checkpoint in flag_same_step(found)]


def test_checkpoints_of_a_run_with_the_same_step_name_each_other():
    found = [Listed("a", "step010", 10), Listed("a", "step10", 10), Listed("a", "step11", 11)]
    assert flags(*found) == ["same_step_as:step10", "same_step_as:step010", ""]
    many = [Listed("a", f"{'0' * n}1", 1) for n in range(6)]
    assert flags(*many)[0] == "same_step_as:01, 001, 0001, and 2 more"


def test_other_runs_holes_and_unknown_steps_are_not_flagged():
    others = [Listed("a", "step5", 5), Listed("b", "step5", 5), Listed("a", "", 5)]
    unknown = [Listed("a", "x"), Listed("a", "y"), Listed("a", "main", is_main=True)]
    assert not any(flags(*others, *unknown))


NAMES = ("step5", "step010", "step10")


def published(folder, **more):
    """List a suite whose names `step10` and `step010` have the same step."""
    raw = {"source": "hub", "mode": "branches", "match": r"step(?P<step>\d+)"}
    suite = SUITE.validate_python(raw | {"repositories": ["org/a"]} | more)
    config = File("config.json", 2, None, "c")
    trees = {
        name: [asdict(file) for file in (config, File("model.safetensors", 2, name, "b"))]
        for name in NAMES
    }
    listing = {"problem": None, "branches": dict(zip(NAMES, NAMES, strict=True)), "tags": {}}
    listing |= {"commits": [], "trees": trees, "config": {}}
    (folder / "listings").mkdir()
    (folder / "listings/s.json").write_text(json.dumps({"org/a": listing}), encoding="utf-8")
    return list_checkpoints("s", suite, folder)


@pytest.mark.parametrize("is_accepted", [False, True])
def test_same_step_on_the_hub_is_excluded_unless_it_is_accepted(tmp_path, is_accepted):
    more = {"accept": ["same_step_as"]} if is_accepted else {}
    found = published(tmp_path, **more)
    status = {checkpoint.revision: checkpoint.status for checkpoint in found}
    assert status == {
        "step5": (),
        "step010": ("same_step_as:step10",),
        "step10": ("same_step_as:step010",),
    }
    sound = [checkpoint.revision for checkpoint in select(found, "all") if not checkpoint.flags]
    assert sound == (["step5", "step010", "step10"] if is_accepted else ["step5"])


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_names_of_the_registry_have_distinct_steps(name, tmp_path):
    # Two suites of the registry have no repositories, because users add their own repositories.
    raw = RAW[name] | {"repositories": RAW[name]["repositories"] or ["org/own"]}
    suite = SUITE.validate_python(raw)
    write_listing(name, suite, tmp_path / f"listings/{name}.json", {})
    found = list_checkpoints(name, suite, tmp_path)
    same = [flag for c in found for flag in c.status if flag.startswith("same_step_as")]
    assert not same
