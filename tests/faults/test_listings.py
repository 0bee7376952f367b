"""Damaged or hostile JSON files in the results cause clear errors, and never a traceback."""

import copy
import functools
import json
import operator
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.plans import HUB, paths
from helpers.shards import extract
from shapesweep.config.suite import NAME, SUITE
from shapesweep.errors import ShapesweepError
from shapesweep.geometry.checkpoint import measure
from shapesweep.manifest import checkpoints, history
from shapesweep.storage import failures, manifests
from shapesweep.storage.manifests import Checkpoint

#: A training log whose step does not fit into the integer type of a table.
TOO_LARGE = json.dumps({"log_history": [{"loss": 1, "step": 10**30}]})
SUITE_OF_ANY_NAME = SUITE.validate_python({**HUB, "match": r"(?s).*?step(?P<step>\d+).*"})
FOLDERS = SUITE.validate_python({**HUB, "mode": "folders", "match": r"(?s)(.*)"})
WRONG = [None, True, -1, 1.5, 10**30, "x", "\0", [], [[]], {}, {"a": 1}, "missing"]


def file_entry(path, sha256=None):
    return {"path": path, "size": 3, "sha256": sha256, "blob": "b"}


def listing_of(*branches, files=("config.json", "model.safetensors")):
    names = {name: f"{n:040x}" for n, name in enumerate(branches)}
    trees = {
        commit: [file_entry(path, f"{path} of {commit}") for path in files]
        for commit in names.values()
    }
    more = {"problem": None, "tags": {}, "commits": [], "config": {"num_hidden_layers": 2}}
    return {"org/a": {"branches": names, "trees": trees, **more}}


def list_checkpoints(results, listing, suite=SUITE_OF_ANY_NAME):
    path = checkpoints.listing_file(results, "s")
    path.parent.mkdir(exist_ok=True)
    path.write_text(listing if isinstance(listing, str) else json.dumps(listing), "utf-8")
    return checkpoints.list_checkpoints("s", suite, results)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


VALID = listing_of("step1", "main")


@settings(max_examples=300, deadline=None)
@given(path=st.sampled_from(list(paths([VALID]))), wrong=st.sampled_from(WRONG))
def test_a_damaged_listing_is_read_or_refused_in_one_line(results, path, wrong):
    damaged = [copy.deepcopy(VALID)]
    *parents, last = path
    container = functools.reduce(operator.getitem, parents, damaged)
    if wrong == "missing" and parents:
        del container[last]
    else:
        container[last] = wrong
    try:
        found = list_checkpoints(results, damaged[0])
        described = checkpoints.describe("s", SUITE_OF_ANY_NAME, found, "all")
        manifests.write(described, results / "manifest.parquet")
        assert manifests.read(results / "manifest.parquet") == described
    except ShapesweepError as error:
        assert str(error).isprintable()


def test_truncated_listings_are_refused(results):
    text = json.dumps(VALID)
    for end in range(len(text)):
        with pytest.raises(
            ShapesweepError, match=r"s\.json: damaged; run again with --forcerun listing$"
        ):
            list_checkpoints(results, text[:end])


HOSTILE = [
    *("step1/../../x", "/etc/step1", "../step1", "-step1", "--out step1", "step1; touch x"),
    *("step1\n--out", "step1\n", "step1\0", "step1$(x)", "`x`step1", "'step1", '"step1', "step1 x"),
    *("stepä1", "step1ä", "step1" + "a" * 300, "CON.step1", "step1\\..\\x"),
    *("{step1}", "*step1", "~step1"),
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_branch_names_have_safe_revisions_and_folders(results, name):
    for checkpoint in list_checkpoints(results, listing_of(name)):
        assert checkpoint.folder.resolve().parent == (results / "checkpoints/s/a").resolve()
        # A checkpoint with the flag `not_listed` is never downloaded.
        is_safe = re.fullmatch(NAME, checkpoint.revision)
        assert is_safe or checkpoint.flags[0].startswith("not_listed")


@pytest.mark.parametrize("path", ["../x/config.json", "/etc/x/config.json", "a/../../config.json"])
def test_file_paths_outside_the_repository_are_refused(results, path):
    with pytest.raises(ShapesweepError, match=r"s\.json: damaged"):
        list_checkpoints(results, listing_of("main", files=[path]), FOLDERS)


def test_too_large_steps_and_invalid_seeds_cause_no_traceback(results):
    with pytest.raises(ShapesweepError, match=r"match: .* matches 'step9+', but .* too large"):
        list_checkpoints(results, listing_of("step" + "9" * 30))
    seeds = SUITE_OF_ANY_NAME.model_copy(update={"match": r"step(?P<step>\d)-(?P<seed>.+)"})
    listing = listing_of("step1-" + "9" * 30, "step2-²", "step3-7")
    found = list_checkpoints(results, listing, seeds)
    assert [checkpoint.seed for checkpoint in found] == [None, None, 7]


def test_folder_with_a_line_break_in_its_name_is_refused_in_one_line(tmp_path):
    (tmp_path / "step1").mkdir()
    (tmp_path / "step2\n").mkdir()
    local = {"source": "local", "runs": {"r": str(tmp_path)}, "pattern": r"(?s)step(?P<step>\d+).*"}
    with pytest.raises(ShapesweepError) as caught:
        checkpoints.list_checkpoints("s", SUITE.validate_python(local), "results")
    assert r"matches the folder 'step2\n', whose name" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", "[" * 100_000])
def test_errors_name_damaged_failures(tmp_path, text):
    (tmp_path / "failed.json").write_text(text, encoding="utf-8")
    with pytest.raises(ShapesweepError, match=r"failed\.json: damaged"):
        failures.recorded(tmp_path)


@pytest.mark.parametrize(
    "text", ["{", '{"log_history": [{"loss": 1, "step": 1e400}]}', "[" * 9999, TOO_LARGE]
)
def test_problems_name_damaged_logs(tmp_path, text):
    (tmp_path / "trainer_state.json").write_text(text, encoding="utf-8")
    log, (problem,) = history.of_folder(tmp_path)
    assert not len(log)
    assert "trainer_state.json: " in problem


def test_shards_with_wrong_origins_are_not_measured(tmp_path, make_checkpoint, settings):
    make_checkpoint(tmp_path / "model")
    checkpoint = Checkpoint("s", "r", "v", seed=0, step=5, commit="c")
    small = settings.model_copy(update={"corpora": ["text"]})
    extract(checkpoint, tmp_path / "model", small, tmp_path / "shards")
    path = tmp_path / "shards/origins.json"
    valid = path.read_text(encoding="utf-8")
    for damaged, message in (
        (valid[:-9], "damaged"),
        (valid.replace('"step": 5', '"step": 7'), "does not match"),
    ):
        path.write_text(damaged, encoding="utf-8")
        with pytest.raises(ShapesweepError, match=message):
            measure(tmp_path / "shards", tmp_path / "geometry", settings.measurement("s"))
    assert not (tmp_path / "geometry").exists()


def test_placeholders_in_commands_of_rules_are_quoted_or_safe():
    safe = {f"wildcards.{name}" for name in ("suite", "run", "revision", "batch", "figure")}
    # Each of these placeholders stands for a number, or for one of the few strings that the
    # configuration allows.
    safe |= {f"params.{name}" for name in ("bytes", "seconds", "rise")}
    safe |= {f"resources.{name}" for name in ("batch_tokens", "calls", "device", "retries", "room")}
    safe |= {"threads"}
    n_words = 0
    for path in Path("workflow/rules").glob("*.smk"):
        commands = re.findall(r"shell:\n((?:\s+f?\".*\"\n?)+)", path.read_text(encoding="utf-8"))
        # Commands are not f-strings, because Snakemake, not Python, must replace the placeholders.
        assert not any(re.search(r"^\s+f\"", command, re.MULTILINE) for command in commands)
        # A double brace is an escaped literal brace.
        text = "".join(commands).replace("{{", "").replace("}}", "")
        for word in re.findall(r"\{(.*?)\}", text):
            assert word.endswith(":q") or word in safe, f"{path}: {word}"
            n_words += 1
    assert n_words > 50
