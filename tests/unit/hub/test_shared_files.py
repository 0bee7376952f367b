"""Checkpoints that share a weight file are flagged, unless the sharing is expected."""

from dataclasses import replace

import pytest

from shapesweep.hub import shared_files
from shapesweep.hub.revisions import Listed
from shapesweep.storage.files import File


def entry(run, step, *contents, main=False):
    files = [File("config.json", 1, None, "same")]
    files += [File(f"model-{k}.safetensors", 1, sha, "x") for k, sha in enumerate(contents)]
    name = "main" if main else f"step{step}"
    return Listed(run, name, step, repository="org/a", is_main=main, files=tuple(files))


def flags(*found):
    return [", ".join(checkpoint.status) for checkpoint in shared_files.flag_shared(found)]


def test_checkpoints_that_share_a_shard_are_flagged_with_each_other():
    found = [entry("a", 0, "p", "q"), entry("a", 5, "r", "s"), entry("a", 9, "r", "t")]
    assert flags(*found) == ["", "shares_file_with:step9", "shares_file_with:step5"]
    many = [entry("a", step, "same") for step in range(5)]
    assert flags(*many)[0] == "shares_file_with:step1, step2, step3, and 1 more"


@pytest.mark.parametrize(
    ("found", "benign"),
    [
        ([entry("a", 0, "p"), entry("a", 1, "p"), entry("a", 2, "q")], True),
        ([entry("a", 0, "p"), entry("a", 9, "q"), entry("a", None, "q", main=True)], True),
        ([entry("a", 0, "q"), entry("a", 9, "p"), entry("a", None, "q", main=True)], False),
        ([entry("a", 0, "p"), entry("a", 1, "p"), entry("a", 2, "p")], False),
        ([entry("a", 8, "q"), entry("a", 9, "q"), entry("a", None, "q", main=True)], False),
        # Two runs that differ only in their data seed have the same first weights, but different
        # last weights.
        ([entry("a", 0, "p"), entry("a", 9, "q"), entry("b", 0, "p"), entry("b", 9, "r")], True),
        ([entry("a", 0, "p"), entry("a", 9, "q"), entry("b", 0, "r"), entry("b", 9, "q")], False),
        # The last stage of training is a separate run, and `main` is the last checkpoint of this
        # stage.
        ([entry("a", 9, "p"), entry("a", None, "r", main=True), entry("a.s", 9, "r")], True),
        ([entry("a", None, "r", main=True), entry("a.s", 5, "r"), entry("a.s", 9, "q")], False),
        # The second stage of training starts with the last weights of the first stage.
        ([entry("a", 0, "p"), entry("a", 9, "q"), entry("b", 0, "q"), entry("b", 9, "r")], True),
        ([entry("a", 5, "q"), entry("a", 9, "r"), entry("b", 0, "q"), entry("b", 9, "s")], False),
    ],
)
def test_sharing_is_flagged_only_where_it_is_unexpected(found, benign):
    assert (not any(flags(*found))) == benign


def test_main_and_an_equal_last_step_confirm_each_other():
    # As in Pythia 12b: two steps have the first shard of the last step.
    shared = [entry("a", 5, "p", "e"), entry("a", 6, "f", "g"), entry("a", 7, "p", "h")]
    ends = [entry("a", 9, "p", "q"), entry("a", None, "p", "q", main=True)]
    assert flags(entry("a", 1, "r", "s"), *shared, *ends) == [
        "",
        "shares_file_with:step7, step9, main",
        "",
        "shares_file_with:step5, step9, main",
        "",
        "",
    ]
    # The whole step 8 is equal to the last step.
    assert flags(entry("a", 8, "p", "q"), *ends) == ["shares_file_with:step9, main", "", ""]
    # `main` differs from the last step in a shard, so it is not known which checkpoint is wrong.
    unequal = [entry("a", 9, "p", "q"), entry("a", None, "p", "x", main=True)]
    assert all(flags(entry("a", 5, "p", "e"), *unequal))
    # `main` is equal to a step that is not the last step.
    early = [entry("a", 5, "p", "q"), entry("a", 9, "p", "r"), ends[1]]
    assert all(flags(*early))


def test_confirmed_pairs_of_two_runs_must_not_share_a_file():
    def ends(run, *contents):
        main = entry(run, None, *contents, main=True)
        found = [entry(run, 9, *contents), main]
        return [replace(checkpoint, repository=f"org/{run}") for checkpoint in found]

    assert all(flags(*ends("a", "p", "q"), *ends("b", "p", "r")))
    # A middle step of another run has the last weights of this run.
    other = replace(entry("b", 5, "p", "q"), repository="org/b")
    last = replace(entry("b", 9, "s", "t"), repository="org/b")
    assert flags(*ends("a", "p", "q"), other, last) == [
        "",
        "",
        "shares_file_with:a/step9, a/main",
        "",
    ]
    # The last stage of training is a separate run, and `main` is the last checkpoint of this stage.
    found = [entry("a", 5, "r"), entry("a", None, "r", main=True), entry("a.s", 9, "r")]
    assert flags(*found, entry("a", 9, "p")) == ["shares_file_with:main, a.s/step9", "", "", ""]
