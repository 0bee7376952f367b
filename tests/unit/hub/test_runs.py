"""Runs have steps, tokens, stages and holes, which follow from the names of their revisions."""

import dataclasses

import pytest

from helpers.definitions import define, find, listed_as, load, placed
from shapesweep.config import sweep
from shapesweep.errors import ShapesweepError
from shapesweep.hub import listing, revisions, runs
from shapesweep.hub.revisions import Repository
from shapesweep.manifest.selection import select


def test_missing_steps_of_the_grid_are_listed_as_holes():
    found = listed_as(define(grid=[0, "10..30 by 10"]), "org/a", "main", "step0", "step20")
    expected = [(0, "step0", ()), (10, "", ("hole",)), (20, "step20", ()), (30, "", ("hole",))]
    assert [(entry.step, entry.revision, entry.status) for entry in found[:4]] == expected
    assert found[4].is_main


def test_names_with_tokens_only_are_placed_by_tokens():
    suite = define(match=r"(?P<tokens>[\d.]+B)", tokens="label", grid=["16B..18B by 2B", "1T"])
    found = placed(suite, "main", "16.78B", "16B", "16.2B")
    exact = [("16B", 16e9), ("16.2B", 16.2e9), ("16.78B", 16.78e9), ("", 18e9), ("", 1e12)]
    assert found == [*((name, n, n) for name, n in exact), ("main", None, None)]


def test_the_step_is_computed_from_the_tokens_per_step():
    suite = define(match=r"(?P<tokens>[\d.]+B)", tokens={"per_step": 4_000_000})
    assert placed(suite, "10B", "9.9B") == [("9.9B", 2475, 9.9e9), ("10B", 2500, 10e9)]
    phases = {"late": {"own_run": True, "start": 1e12, "tokens": {"per_step": 4_000_000}}}
    of_phase = define(match=r"(?P<phase>late)-(?P<tokens>\d+B)", phases=phases)
    # The label counts from the start of the phase, and so do the steps of a separate run.
    assert placed(of_phase, "late-8B") == [("late-8B", 2000, 1.008e12)]


def test_tokens_are_not_put_on_the_axis_of_a_run_that_has_steps():
    suite = define(match=r"step(?P<step>\d+)|(?P<tokens>\d+B)")
    assert placed(suite, "5B", "step10") == [("5B", None, 5e9), ("step10", 10, None)]


def test_names_without_numbers_have_no_rank():
    suite = define(match="[a-z]+", tokens={"each": 100})
    assert placed(suite, "zeta", "alpha") == [("alpha", None, None), ("zeta", None, None)]


def test_names_without_numbers_have_the_given_steps_or_tokens():
    assert placed(define(named={"alpha": 30, "beta": 20}), "alpha", "beta") == [
        *(("beta", 20, None), ("alpha", 30, None))
    ]
    by_tokens = define(named={"alpha": "2.7T", "beta": "900B"})
    assert placed(by_tokens, "alpha", "beta") == [("beta", 9e11, 9e11), ("alpha", 2.7e12, 2.7e12)]


@pytest.mark.parametrize("name", ["16.78", "0.5", "16.7899k"])
def test_number_that_is_not_whole_is_not_rounded_to_a_step(name):
    with pytest.raises(ShapesweepError, match=f"matches '{name}', but '{name}' is not a whole"):
        listed_as(define(match=r"(?P<step>[\d.]+k?)"), "org/a", name)


def test_main_is_left_out_if_it_repeats_a_step():
    suite = define(main_step=20, tokens={"each": 100})
    assert placed(suite, "main", "step10") == [("step10", 10, 100), ("main", 20, 200)]
    repeated = listed_as(suite, "org/a", "main", "step10", "step20")
    assert [(c.revision, c.step, c.tokens) for c in repeated] == [
        *(("step10", 10, 100), ("step20", 20, 200)),
        ("main", None, None),
    ]
    assert repeated[-1].is_main and not any(c.status for c in repeated)
    assert [c.revision for c in select(repeated, "all")] == ["step10", "step20"]
    by_tokens = define(match=r"(?P<tokens>\d+B)", main_step=3 * 10**9)
    assert placed(by_tokens, "main", "2B") == [("2B", 2e9, 2e9), ("main", 3e9, 3e9)]


def test_checkpoints_are_chosen_by_tokens():
    names = [f"{n}B" for n in (0, *(2**k for k in range(10)))]
    found = listed_as(define(match=r"(?P<tokens>\d+B)"), "org/a", *names)
    rule = sweep.Steps(steps=["2B", "64B..256B by 64B", 10**12])
    assert [c.revision for c in select(found, rule)] == ["2B", "64B", "128B", "256B"]
    # Half of the chosen checkpoints would be at 0 if a token were the unit of the logarithm.
    assert [c.revision for c in select(found, sweep.Log(log=4))] == ["0B", "8B", "64B", "512B"]
    assert [c.revision for c in select(found, sweep.Every(every=5))] == ["0B", "16B", "512B"]


def test_repositories_without_checkpoints_are_reported_for_any_selection():
    suite = define(repositories=["org/a", "org/b", "org/c*"])
    gone = Repository("org/a: there is no such repository")
    silent = Repository(branches={"main": "m"}, trees={"m": []})
    listed = {"org/a": gone, "org/b": silent, "org/c*": Repository("org/c*: the Hub has no")}
    # Any of these repositories might contain a chosen run, so all of them are reported.
    only = suite.model_copy(update={"only": ["z"]})
    found = runs.checkpoints(only, listed, listing.groups(suite, listed))
    messages = [entry.status[0] for entry in found if not entry.is_main]
    assert messages[0].startswith("not_listed: org/a: there is no such repository; once this is")
    assert messages[1] == "not_listed: org/b has no revision that matches the suite"
    assert messages[2].startswith("not_listed: org/c*: the Hub has no")
    every = [dataclasses.replace(entry, flags=entry.status) for entry in found]
    assert len(select(every, sweep.Steps(steps=[7]))) == 3


def test_ranks_count_over_all_repositories_of_a_run():
    match = r"org/(?P<run>m)-(?P<step>\d+)"
    suite = define(mode="repositories", match=match, tokens={"each": 100}, repositories=["org/m-*"])
    listed = {f"org/m-{k}": Repository(branches={"main": f"{k}"}, trees={}) for k in (9, 1, 4)}
    found = [(checkpoint.step, checkpoint.tokens) for checkpoint in find(suite, listed)]
    assert found == [(1, 100), (4, 200), (9, 300)]


def test_checkpoints_of_the_same_name_are_refused():
    suite = define(repositories=["orgA/x", "orgB/x"])
    repository = Repository(branches={"step1": "c"}, trees={})
    listed = {"orgA/x": repository, "orgB/x": repository}
    message = "orgA/x and orgB/x both have a run x with a revision"
    with pytest.raises(ShapesweepError, match=message):
        find(suite, listed)


def test_stages_of_several_repositories_form_one_run():
    suite = define(
        match=r"step(?P<step>\d+)",
        repositories=[
            {"repository": "o/base"},
            {"repository": "o/base-SFT", "run": "base", "stage": "SFT", "first_step": 100},
            {"repository": "o/base-RL", "run": "base", "stage": "RL", "first_step": 150},
        ],
    )
    names = {"o/base": [50, 100], "o/base-SFT": [25, 50], "o/base-RL": [10, 20]}
    listed = {}
    for repository, steps in names.items():
        commits = {f"step{n}": f"{repository}{n}".encode().hex() for n in steps}
        listed[repository] = Repository(branches={"main": "m", **commits})
    found = [entry for entry in find(suite, listed) if not entry.is_main]
    assert {entry.run for entry in found} == {"base"}
    assert [(entry.step, entry.stage) for entry in found] == [
        *((50, None), (100, None), (125, "SFT"), (150, "SFT"), (160, "RL"), (170, "RL"))
    ]
    assert found[2].revision == "base-SFT.step25"
    listed["o/base-SFT"].branches["other"] = "x"
    unmatched = [
        revisions.unmatched("branches", group, group.repository, listed[group.repository])
        for group in suite.groups()
    ]
    assert unmatched == [[], ["other"], []]
    only = suite.model_copy(update={"only": ["base"]})
    assert [name for name, _ in revisions.patterns(only)] == list(names)


def test_tokens_of_a_later_stage_are_known_only_from_its_start():
    groups = [
        {"repository": "o/a", "main_step": 200, "run": "a", "grid": [100, 200]},
        {"repository": "o/b", "run": "a", "first_step": 1000, "grid": [100, 200]},
        {"repository": "o/c", "run": "a", "first_step": 2000, "start": 5e6},
    ]
    suite = define(match=r"step(?P<step>\d+)", tokens={"per_step": 1000}, repositories=groups)
    names = {"o/a": [100, 200], "o/b": [100], "o/c": [100]}
    listed = {
        name: Repository(branches={"main": "m", **{f"step{n}": f"{n}" for n in steps}})
        for name, steps in names.items()
    }
    found = [entry for entry in find(suite, listed) if not entry.is_main]
    assert [(entry.step, entry.tokens) for entry in found if entry.revision] == [
        *((100, 100_000), (200, 200_000), (1100, None), (2100, 5_100_000))
    ]
    assert not any(flag.startswith("same_step") for entry in found for flag in entry.status)
    # The grid of every repository starts at its first step.
    assert [entry.step for entry in found if not entry.revision] == [1200]


def test_first_step_needs_names_with_steps():
    group = {"repository": "o/b", "first_step": 1000, "match": r"(?P<tokens>\d+B)"}
    with pytest.raises(ValueError, match="first_step needs names with a group `step`"):
        define(repositories=[group])


def test_phases_can_continue_the_steps_of_a_run():
    phases = {"sft": {"stage": "SFT", "first_step": 1000}}
    suite = define(match=r"(?:(?P<phase>sft)-)?step(?P<step>\d+)", phases=phases)
    found = listed_as(suite, "org/a", "step1000", "sft-step10")
    assert [(entry.step, entry.stage) for entry in found] == [(1000, None), (1010, "SFT")]


def test_the_registry_has_a_stage_for_training_after_pre_training():
    suite = load("olmo2-7b-rl")
    refs = {"DPO": {"main": "a"}, "Instruct": {"main": "b", "step_60": "c", "step_360": "d"}}
    listed = {f"allenai/OLMo-2-1124-7B-{k}": Repository(branches=v) for k, v in refs.items()}
    found = [entry for entry in find(suite, listed) if not entry.is_main]
    assert [(entry.step, entry.stage) for entry in found] == [(0, "DPO"), (60, "RL"), (360, "RL")]
    found = listed_as(load("smollm3"), "HuggingFaceTB/SmolLM3-3B-checkpoints", "it-SFT")
    assert [(e.run, e.stage) for e in found] == [("SmolLM3-3B-checkpoints.it-SFT", "SFT")]
