"""The comparison names every difference between the registry and the Hub, and no other.

All tests run against the stand-in, with the real client.
"""

import dataclasses

import pytest

from helpers.agreeing import CONFIG, DEFINITION, agreeing_hub, model, publish
from shapesweep.config.suite import SUITE
from shapesweep.hub.comparison import compare, merged
from shapesweep.hub.errors import NoAccessError
from shapesweep.hub.information import Information
from shapesweep.hub.survey import survey


@pytest.fixture
def hub(monkeypatch, tmp_path):
    with agreeing_hub(monkeypatch, tmp_path / "cache") as standin:
        yield standin


def rows(**more):
    """Return the rows of the check of `DEFINITION`, with other values of some keys."""
    return list(compare(suite := SUITE.validate_python(DEFINITION | more), look(suite)))


def look(suite):
    return survey(suite, 2)


def differences(**more):
    """Return the row of every difference as a text."""
    return [
        f"{row.where} | {row.what} | {row.registry} | {row.hub}"
        for row in rows(**more)
        if row.verdict == "differs"
    ]


def last(standin, config=CONFIG, weights="model.safetensors", **more):
    """Replace the last checkpoint of a repository."""
    standin.add("org/a", "step3", {**model(config, weights), **more})


def test_suite_without_changes_agrees_in_every_property(hub):
    found = rows()
    assert {row.verdict for row in found} == {"agrees"}
    assert {row.what for row in found} == {
        *("repository", "revisions", "other names", "weights", "architecture", "license"),
        *("gated", "code"),
    }
    assert {row.where for row in found} == {"org/a", "org/b", "a", "b"}


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (
            lambda hub: hub.repositories["org/a"].branches.pop("step2"),
            "a | revisions | 3 steps | 2; missing: step 2",
        ),
        (
            lambda hub: hub.add("org/a", "step4", model()),
            "a | revisions | 3 steps | 4; not in the grid: step4",
        ),
        (
            lambda hub: hub.add("org/a", "final", model()),
            "org/a | other names | none | final",
        ),
        (
            lambda hub: last(hub, weights="pytorch_model.bin"),
            "a | weights | safetensors | bin",
        ),
        (
            lambda hub: last(hub, weights="model.gguf"),
            "a | weights | safetensors | neither safetensors nor bin",
        ),
        (
            lambda hub: last(hub, weights="model-00001-of-00002.safetensors"),
            "a | weights | safetensors | incomplete, without model-00002-of-00002.safetensors, "
            "model.safetensors.index.json",
        ),
        (
            lambda hub: last(hub, CONFIG | {"architectures": ["MambaForCausalLM"]}),
            "a | architecture | LlamaForCausalLM | MambaForCausalLM",
        ),
        (
            lambda hub: last(hub, {"model_type": "mamba"}),
            "a | architecture | LlamaForCausalLM | mamba",
        ),
        (
            lambda hub: last(hub, CONFIG | {"auto_map": {"AutoModel": "code.Model"}}),
            "a | code | not needed | config.json names code",
        ),
        (
            lambda hub: hub.repositories["org/a"].card.update(license="apache-2.0"),
            "org/a | license | mit | apache-2.0",
        ),
        (
            lambda hub: hub.repositories["org/a"].card.clear(),
            "org/a | license | mit | not stated",
        ),
        (
            lambda hub: setattr(hub.repositories["org/a"], "is_gated", True),
            "org/a | gated | no | yes",
        ),
        (
            lambda hub: hub.add("org/a", "step3", {"model.safetensors": b"weights"}),
            "a | config.json | present | absent",
        ),
        (
            lambda hub: last(hub, **{"config.json": b"<html>"}),
            "a | config.json | present | org/a: config.json is not a JSON object, "
            "but starts with '<html>'",
        ),
        (
            lambda hub: last(hub, **{"config.json": b"[]"}),
            "a | config.json | present | org/a: config.json is not a JSON object, "
            "but starts with '[]'",
        ),
    ],
)
def test_one_change_is_named_and_nothing_else(hub, change, difference):
    change(hub)
    assert differences() == [difference]


def test_absent_repository_is_the_only_difference(hub):
    del hub.repositories["org/a"]
    (difference,) = differences()
    assert difference.startswith("org/a | repository | named | org/a: there is no such repository")


def test_absent_repository_of_a_tokenizer_is_the_only_difference(hub):
    (difference,) = differences(tokenizer="org/words")
    assert difference.startswith("org/words | repository | named | org/words: there is no such")
    publish(hub, "org/words", license="other")
    assert differences(tokenizer="org/words") == []


def test_repository_without_any_matching_revision_is_named(hub):
    hub.repositories["org/a"].branches = {"main": hub.repositories["org/a"].branches["main"]}
    assert differences() == ["org/a | revisions | 3 steps | none"]


def test_pattern_must_match_a_repository(hub):
    assert differences(repositories=["org/*"]) == []
    (difference,) = differences(repositories=["org/*", "lab/*"])
    assert difference.startswith("lab/* | repository | lab/* | lab/*: no repository on the Hub")


def test_license_is_also_read_from_labels(hub):
    hub.repositories["org/a"].card.clear()
    hub.repositories["org/a"].labels = ["pytorch", "license:mit"]
    assert differences() == []


def test_either_format_and_each_stated_class_agree(hub):
    last(hub, {"architectures": ["MambaForCausalLM"]}, **{"pytorch_model.bin": b"weights"})
    classes = ["LlamaForCausalLM", "MambaForCausalLM"]
    for weights in ("safetensors", "bin"):
        found = [row for row in rows(architecture=classes, weights=weights) if row.where == "a"]
        assert {row.verdict for row in found} == {"agrees"}
        assert "safetensors and bin" in {row.hub for row in found}


def test_known_names_and_steps_are_no_differences(hub):
    hub.add("org/a", "step4", model())
    hub.add("org/a", "it-SFT", model())
    assert differences(other_steps=True, other_names="it-.*") == []


def test_values_of_a_group_replace_the_values_of_the_suite(hub):
    publish(hub, "org/b", license="apache-2.0")
    group = {"repository": "org/b", "license": "apache-2.0"}
    assert differences(repositories=["org/a", group]) == []


def test_properties_that_the_registry_does_not_state_are_shown_and_are_no_differences(hub):
    unstated = {"license": None, "weights": None, "architecture": None, "grid": None}
    found = {row.what: row for row in rows(**unstated)}
    assert {what for what, row in found.items() if row.verdict == "not stated"} == {
        *("license", "weights", "architecture", "revisions")
    }
    assert found["license"].hub == "mit"
    assert found["architecture"].hub == "LlamaForCausalLM"
    assert found["revisions"].hub == "3"
    assert not differences(**unstated)


def test_weights_in_no_known_format_are_a_difference_even_if_the_format_is_not_stated(hub):
    last(hub, weights="model.gguf")
    assert differences(weights=None) == ["a | weights | not stated | neither safetensors nor bin"]


def test_gated_repository_agrees_if_the_registry_says_so_and_unread_files_are_named(
    hub, monkeypatch
):
    hub.repositories["org/b"].is_gated = True
    groups = ["org/a", {"repository": "org/b", "gated": True}]
    assert differences(repositories=groups) == []
    (unread,) = [row for row in rows(repositories=groups) if row.verdict == "not read"]
    assert (unread.where, unread.what) == ("b", "config.json")
    assert "org/b is gated: accept its terms" in unread.hub
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijklmnop")
    assert {row.verdict for row in rows(repositories=groups)} == {"agrees"}


def test_named_revisions_and_main_are_expected(hub):
    names = {"match": None, "grid": None, "named": {"step1": 10, "lark": 20}, "main_step": 30}
    names["repositories"] = ["org/a"]
    assert differences(**names, other_names="step.") == [
        # main is the last checkpoint, and contains only a README.
        "a | revisions | 2 steps | 2; missing: lark",
        "a | weights | safetensors | neither safetensors nor bin",
        "a | config.json | present | absent",
    ]
    hub.add("org/a", "main", model())
    hub.add("org/a", "lark", model())
    assert differences(**names, other_names="step.") == []
    del hub.repositories["org/a"].branches["main"]
    assert differences(**names, other_names="step.") == [
        "a | revisions | 2 steps | 2; missing: main"
    ]


def test_suites_of_all_modes_are_compared(hub):
    for step in (1, 2):
        hub.add(f"lab/berts-step_{step}k", "main", model())
        hub.repositories[f"lab/berts-step_{step}k"].card = {"license": "mit"}
    nested = {f"ckpt/{n}/{path}": data for n in (1, 2) for path, data in model().items()}
    hub.add("lab/nested", "main", nested | {"notes/README.md": b"hello"})
    for step in (1, 2):
        hub.add("lab/tags", f"step{step}", model(), kind="tags")
        hub.add("lab/live", "main", model(), title=f"Step {step}")
    for name in ("lab/nested", "lab/tags", "lab/live"):
        hub.repositories[name].card = {"license": "mit"}
    grid = {"grid": [1, 2, 9]}
    runs = r"lab/(?P<run>berts)-step_(?P<step>\d)k"
    assert differences(mode="repositories", repositories=["lab/berts-*"], match=runs, **grid) == [
        "berts | revisions | 3 steps | 2; missing: step 9"
    ]
    assert differences(
        mode="folders", repositories=["lab/nested"], match=r"ckpt/(?P<step>\d)", **grid
    ) == [
        "lab/nested | other names | none | notes",
        "nested | revisions | 3 steps | 2; missing: step 9",
    ]
    assert differences(mode="tags", repositories=["lab/tags"], **grid) == [
        "tags | revisions | 3 steps | 2; missing: step 9"
    ]
    assert differences(
        mode="commits", repositories=["lab/live"], match=r"Step (?P<step>\d)", **grid
    ) == ["live | revisions | 3 steps | 2; missing: step 9"]


def test_phases_that_are_separate_runs_are_read_separately(hub):
    files = model({"architectures": ["MambaForCausalLM"]})
    hub.add("org/a", "ext-step1", files)
    phases = {"match": r"(?:(?P<phase>ext)-)?step(?P<step>\d)", "grid": None}
    assert differences(**phases, phases={"ext": {"own_run": True}}) == [
        "a.ext | architecture | LlamaForCausalLM | MambaForCausalLM"
    ]


def test_ambiguous_names_in_a_repository_cost_only_this_repository(hub):
    hub.add("org/a", "step--1", model())
    hub.add("org/a", "step/1", model())
    found = rows(match=r"step(?:--|/)?(?P<step>\d)")
    assert [(row.where, row.what) for row in found if row.verdict == "differs"] == [
        ("org/a", "names")
    ]
    assert {row.what for row in found if row.where == "b"} >= {"revisions", "weights"}


def test_runs_with_the_same_name_are_a_difference_and_not_an_error(hub):
    publish(hub, "lab/a")
    found = differences(repositories=["org/a", "lab/a"])
    assert [difference.split(" | ")[:2] for difference in found] == [["-", "names"]]


def test_repository_that_fails_costs_only_this_repository(hub):
    hub.broken = {"/api/models/org/a/refs": 507}
    found = rows()
    unreached = [(row.where, row.what) for row in found if row.verdict == "not reached"]
    assert unreached == [("org/a", "repository")]
    assert next(row.what for row in found if row.where == "b") == "revisions"
    hub.broken = {"/api/models/org/a/tree/": 507}
    unreached = [(row.where, row.what) for row in rows() if row.verdict == "not reached"]
    assert unreached == [("a", "files")]


def test_refused_file_is_a_difference_unless_the_repository_is_gated(hub):
    suite = SUITE.validate_python(DEFINITION | {"repositories": ["org/a"]})
    found = look(suite)
    refused = NoAccessError("org/a: the Hub refuses the request (HTTP 403)")
    for is_gated, verdict in ((False, "differs"), (True, "not read")):
        seen = dataclasses.replace(
            found,
            runs=[dataclasses.replace(found.runs[0], config=refused)],
            information={"org/a": Information("mit", is_gated)},
        )
        (row,) = [row for row in compare(suite, seen) if row.what == "config.json"]
        assert row.verdict == verdict


def test_rows_that_differ_only_in_the_repository_are_merged(hub):
    found = {row.what: row.where for row in merged(rows())}
    assert found["repository"] == "org/a and 1 more"
    assert found["weights"] == "a and 1 more"


def test_one_tree_and_one_configuration_are_read_of_each_run(hub):
    rows()
    paths = [path for method, path in hub.asked if method == "GET" and "org/" in path]
    assert len([path for path in paths if "/tree/" in path]) == 2
    assert len([path for path in paths if path.endswith("/config.json")]) == 2
    assert len([path for path in paths if path.endswith("/refs")]) == 2
    assert len(paths) == 8
