"""What is written beside the tables as JSON: spoilt anywhere, it is named and never a traceback."""

import copy
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.shards import extract
from shapesweep.config.suite import NAME, SUITE
from shapesweep.errors import ShapesweepError
from shapesweep.geometry import checkpoint
from shapesweep.manifest import checkpoints, history
from shapesweep.storage import failures, manifests
from shapesweep.storage.manifests import Checkpoint

#: A log with a step that no table can hold.
LATE = json.dumps({"log_history": [{"loss": 1, "step": 10**30}]})
SUITE_OF_ANY_NAME = SUITE.validate_python(
    {
        "source": "hub",
        "mode": "branches",
        "match": r"(?s).*?step(?P<step>\d+).*",
        "repositories": ["org/a"],
    }
)
FOLDERS = SUITE.validate_python(
    {**SUITE_OF_ANY_NAME.model_dump(exclude_none=True), "mode": "folders", "match": r"(?s)(.*)"}
)
WRONG = [None, True, -1, 1.5, 10**30, "x", "\0", [], [[]], {}, {"a": 1}, "wanting"]


def said(path, sha256=None):
    return {"path": path, "size": 3, "sha256": sha256, "blob": "b"}


def listing_of(*branches, files=("config.json", "model.safetensors")):
    names = {name: f"{n:040x}" for n, name in enumerate(branches)}
    trees = {one: [said(path, f"{path} of {one}") for path in files] for one in names.values()}
    more = {"problem": None, "tags": {}, "commits": [], "config": {"num_hidden_layers": 2}}
    return {"org/a": {"branches": names, "trees": trees, **more}}


def places(value, place=()):
    yield place
    inner = value.items() if isinstance(value, dict) else ()
    for key, one in enumerate(value) if isinstance(value, list) else inner:
        yield from places(one, (*place, key))


def listed(results, listing, suite=SUITE_OF_ANY_NAME):
    path = checkpoints.listing_file(results, "s")
    path.parent.mkdir(exist_ok=True)
    path.write_text(listing if isinstance(listing, str) else json.dumps(listing), "utf-8")
    return checkpoints.list_checkpoints("s", suite, results)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return tmp_path_factory.mktemp("results")


SOUND = listing_of("step1", "main")


@settings(max_examples=300, deadline=None)
@given(place=st.sampled_from(list(places(SOUND))), wrong=st.sampled_from(WRONG))
def test_a_listing_that_is_spoilt_somewhere_is_read_or_named(results, place, wrong):
    spoilt = [copy.deepcopy(SOUND)]
    holder, last = spoilt, 0
    for key in place:
        holder, last = holder[last], key
    if wrong == "wanting" and place:
        del holder[last]
    else:
        holder[last] = wrong
    try:
        found = listed(results, spoilt[0])
        described = checkpoints.describe("s", SUITE_OF_ANY_NAME, found, "all")
        manifests.write(described, results / "manifest.parquet")
        assert manifests.read(results / "manifest.parquet") == described
    except ShapesweepError as error:
        assert str(error).isprintable()


def test_no_beginning_of_a_listing_is_taken_for_it(results):
    text = json.dumps(SOUND)
    for end in range(len(text)):
        with pytest.raises(ShapesweepError, match=r"s\.json: damaged; add --forcerun listing$"):
            listed(results, text[:end])


HOSTILE = [
    *("step1/../../x", "/etc/step1", "../step1", "-step1", "--out step1", "step1; touch x"),
    *("step1\n--out", "step1\n", "step1\0", "step1$(x)", "`x`step1", "'step1", '"step1', "step1 x"),
    *("stepä1", "step1ä", "step1" + "a" * 300, "CON.step1", "step1\\..\\x"),
    *("{step1}", "*step1", "~step1"),
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_whatever_a_branch_is_called_its_results_lie_inside_and_its_name_is_plain(results, name):
    for one in listed(results, listing_of(name)):
        assert one.folder.resolve().parent == (results / "checkpoints/s/a").resolve()
        # Of a repository that the pattern does not know nothing is fetched.
        assert re.fullmatch(NAME, one.revision) or one.flags[0].startswith("not_listed")


@pytest.mark.parametrize("path", ["../x/config.json", "/etc/x/config.json", "a/../../config.json"])
def test_a_file_that_leads_out_of_its_repository_is_refused(results, path):
    with pytest.raises(ShapesweepError, match=r"s\.json: damaged"):
        listed(results, listing_of("main", files=[path]), FOLDERS)


def test_a_step_or_a_seed_that_no_table_can_hold_is_no_traceback(results):
    with pytest.raises(ShapesweepError, match=r"match: .* finds in 'step9+': .* too large"):
        listed(results, listing_of("step" + "9" * 30))
    seeds = SUITE_OF_ANY_NAME.model_copy(update={"match": r"step(?P<step>\d)-(?P<seed>.+)"})
    found = listed(results, listing_of("step1-" + "9" * 30, "step2-²", "step3-7"), seeds)
    assert [one.seed for one in found] == [None, None, 7]


def test_a_folder_with_a_line_break_in_its_name_is_no_checkpoint(tmp_path):
    (tmp_path / "step1").mkdir()
    (tmp_path / "step2\n").mkdir()
    local = {"source": "local", "runs": {"r": str(tmp_path)}, "pattern": r"(?s)step(?P<step>\d+).*"}
    found = checkpoints.list_checkpoints("s", SUITE.validate_python(local), "results")
    assert [one.revision for one in found] == ["step1"]


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "{}", "[" * 100_000])
def test_a_damaged_failure_is_named(tmp_path, text):
    (tmp_path / "failed.json").write_text(text, encoding="utf-8")
    with pytest.raises(ShapesweepError, match=r"failed\.json: damaged"):
        failures.recorded(tmp_path)


@pytest.mark.parametrize(
    "text", ["{", '{"log_history": [{"loss": 1, "step": 1e400}]}', "[" * 9999, LATE]
)
def test_a_damaged_log_is_named(tmp_path, text):
    (tmp_path / "trainer_state.json").write_text(text, encoding="utf-8")
    log, (problem,) = history.of_folder(tmp_path)
    assert not len(log)
    assert "trainer_state.json: " in problem


def test_shards_of_another_origin_than_is_said_are_not_measured(
    tmp_path, make_checkpoint, settings
):
    make_checkpoint(tmp_path / "model")
    one = Checkpoint("s", "r", "v", seed=0, step=5, commit="c")
    small = settings.model_copy(update={"corpora": ["text"]})
    extract(one, tmp_path / "model", small, tmp_path / "shards")
    path = tmp_path / "shards/origins.json"
    sound = path.read_text(encoding="utf-8")
    for damaged, what in (
        (sound[:-9], "damaged"),
        (sound.replace('"step": 5', '"step": 7'), "beside it"),
    ):
        path.write_text(damaged, encoding="utf-8")
        with pytest.raises(ShapesweepError, match=what):
            checkpoint.measure(
                tmp_path / "shards", tmp_path / "geometry", settings.measurement("s")
            )
    assert not (tmp_path / "geometry").exists()


def test_every_word_of_a_rules_command_is_quoted_or_a_plain_name():
    plain = {f"wildcards.{name}" for name in ("suite", "run", "revision", "batch", "figure")}
    # Numbers, and one of the words that the configuration allows.
    plain |= {f"params.{name}" for name in ("bytes", "seconds", "rise")}
    plain |= {f"resources.{name}" for name in ("batch_tokens", "calls", "device", "room")}
    plain |= {"threads"}
    n_words = 0
    for path in Path("workflow/rules").glob("*.smk"):
        commands = re.findall(r"shell:\n((?:\s+f?\".*\"\n?)+)", path.read_text(encoding="utf-8"))
        # In a string that Python formats, braces would mean something else.
        assert not any(re.search(r"^\s+f\"", command, re.MULTILINE) for command in commands)
        # Two braces stand for one that is no word.
        text = "".join(commands).replace("{{", "").replace("}}", "")
        for word in re.findall(r"\{(.*?)\}", text):
            assert word.endswith(":q") or word in plain, f"{path}: {word}"
            n_words += 1
    assert n_words > 50
