"""A repository that cannot be listed is given up, and all other repositories are listed."""

import json

import huggingface_hub.constants
import pytest

from helpers.plans import HUB
from shapesweep.config.suite import SUITE
from shapesweep.hub import client, listing
from shapesweep.manifest import checkpoints, history

API = "/api/models/org/a"
N_COMMITS = 8
FILES = {"config.json": b'{"hidden_size": 8}', "model.safetensors": b"weights"}


@pytest.fixture
def standin(standin, no_sleep):
    """A stand-in with a repository that a test breaks, and an intact repository."""
    publish(standin, FILES)
    standin.add("org/b", "step1", FILES, title="step1")
    return standin


def publish(standin, files):
    """Publish the repository that a test breaks."""
    standin.repositories.pop("org/a", None)
    for step in range(N_COMMITS):
        name = f"step{step}"
        standin.add("org/a", name, {**files, "model.safetensors": b"%d" % step}, title=name)


def suite(**more):
    return SUITE.validate_python({**HUB, "repositories": ["org/{a,b}"], **more})


@pytest.fixture
def request_listing(tmp_path):
    """A function that lists the suite, and returns the problem of the broken repository.

    It checks that the other repository is listed, and that the listing can be used.
    """

    def request_listing(chosen=None):
        chosen = chosen or suite()
        out = checkpoints.listing_file(tmp_path, "s")
        listed = listing.request(chosen, out, 2)
        assert listing.read(out) == listed
        intact = listed["org/b"]
        assert (intact.problem, intact.config) == (None, {"hidden_size": 8})
        assert all(intact.trees.values())
        found = checkpoints.list_checkpoints("s", chosen, tmp_path)
        measurable = {c.run for c in found if c.revision and not c.flags}
        assert "b" in measurable
        problem = listed["org/a"].problem
        if problem is not None:
            (failed,) = [c for c in found if c.run == "a"]
            hint = "; once this is fixed, list again with --forcerun listing"
            assert (failed.revision, failed.status) == ("", (f"not_listed: {problem}{hint}",))
            assert "run again" not in problem
        return problem

    return request_listing


def asked(standin, start):
    return [path for method, path in standin.asked if method == "GET" and path.startswith(start)]


@pytest.mark.parametrize("status", [500, 502, 520])
@pytest.mark.parametrize("path", [f"{API}/refs", f"{API}/tree", "/org/a/resolve"])
def test_a_request_that_always_fails_is_a_problem(standin, request_listing, path, status):
    standin.broken[path] = status
    problem = request_listing()
    assert problem == f"org/a: {standin.url} failed in all 8 attempts (HTTP {status})"
    # At most two commits are requested in parallel, and huggingface_hub itself may repeat requests.
    assert len(set(asked(standin, path))) <= 2
    assert len(asked(standin, path)) <= 2 * 8 * (6 if status < 520 and "tree" in path else 1)
    assert len(asked(standin, "/api/models")) - len(asked(standin, "/api/models/")) <= 2


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("path", [f"{API}/refs", f"{API}/tree", "/org/a/resolve"])
def test_a_request_without_access_is_a_problem(standin, request_listing, path, status):
    standin.broken[path] = status
    assert "set HF_TOKEN or run `hf auth login`" in request_listing()
    assert len(asked(standin, path)) <= 2


@pytest.mark.parametrize("kind", ["refs", "tree"])
def test_a_request_without_any_answer_is_a_problem(standin, request_listing, monkeypatch, kind):
    monkeypatch.setattr(client, "SILENCE", 0.2)
    monkeypatch.setattr(client, "ATTEMPTS", 2)
    commits = standin.repositories["org/a"].commits
    standin.silent = {f"{API}/refs"} if kind == "refs" else {f"{API}/tree/{c}" for c in commits}
    assert request_listing().endswith("attempts (ReadTimeout)")


def test_history_that_always_fails_is_a_problem(standin, request_listing):
    standin.broken[f"{API}/commits"] = 520
    assert "failed in all 8 attempts (HTTP 520)" in request_listing(suite(mode="commits"))


HTML = b"<!DOCTYPE html><title>Sorry</title>"
SENSELESS = [HTML, b"", b"{", b"null", b"3", b'{"error": "?"}', b"[[]]", b"[null]", b'["x"]']
SENSELESS += [b"[" * 100_000, b'[{"type": "file"}]', b"\x80\x81"]


@pytest.mark.parametrize("answer", SENSELESS, ids=lambda answer: answer[:30].decode("latin-1"))
@pytest.mark.parametrize("kind", ["refs", "tree", "commits"])
def test_an_answer_without_sense_is_a_problem(standin, request_listing, kind, answer):
    commits = standin.repositories["org/a"].commits
    for path in (kind, *(f"{kind}/{revision}" for revision in (*commits, "main"))):
        standin.spoilt[f"{API}/{path}"] = lambda _: answer
    problem = request_listing(suite(mode="commits" if kind == "commits" else "branches"))
    assert "failed in all 8 attempts (a malformed answer: " in problem


def replaced(entry, **more):
    """Return a function that replaces keys of the first entry of an answer."""

    def spoil(body):
        answer = json.loads(body)
        first = answer["branches"][0] if isinstance(answer, dict) else answer[0]
        first.update(more)
        return json.dumps(answer).encode()

    return spoil


ENTRIES = {
    "tree": [
        *({"path": path} for path in (None, 3, [], "", "\0", "\ud800")),
        *({"size": size} for size in (None, -1, "x", 2**41, 10**30, 1e300, [])),
        *({"oid": blob} for blob in (None, 3, {})),
        *({"lfs": lfs} for lfs in ([], "x", {"oid": 3, "size": 1, "pointerSize": 1})),
        *({"type": kind} for kind in (None, "symlink")),
    ],
    "refs": [
        *({"targetCommit": commit} for commit in (None, "", 3, [], "\ud800")),
        *({"name": name} for name in (None, 3, {}, "", "\ud800")),
    ],
}


@pytest.mark.parametrize(
    ("kind", "more"),
    [(kind, more) for kind, entries in ENTRIES.items() for more in entries],
    ids=str,
)
def test_an_entry_without_sense_is_a_problem_or_ignored(standin, request_listing, kind, more):
    commit = standin.repositories["org/a"].branches["step3"]
    path = f"{API}/tree/{commit}" if kind == "tree" else f"{API}/refs"
    standin.spoilt[path] = replaced(path, **more)
    problem = request_listing()
    if "type" in more:
        assert problem is None
    else:
        assert "failed in all 8 attempts (a malformed answer: " in problem


CONFIGS = [HTML, b"", b"{", b"[]", b"null", b"3", b"\x80\x81", b"[" * 100_000, b'{"a":' * 100_000]
CONFIGS += [b'{"a": %s}' % (b"[" * 300 + b"]" * 300), b'{"a": "\\ud800"}', b"9" * 5000]


@pytest.mark.parametrize("content", CONFIGS, ids=lambda content: content[:20].decode("latin-1"))
def test_a_config_that_is_no_object_is_a_problem(standin, request_listing, content):
    publish(standin, {"config.json": content})
    begin = content[:20].decode(errors="replace")
    problem = f"org/a: config.json is not a JSON object, but starts with {begin!r}"
    assert request_listing() == problem
    # A few revisions are tried, but not all of them.
    assert 2 <= len({path for _, path in standin.asked if "/org/a/resolve" in path}) <= 4


@pytest.mark.parametrize(
    "config", [{"hidden_size": 10**12}, {"vocab_size": 10**15}, {"n_layer": 9999, "n_embd": 2048}]
)
def test_a_config_that_contradicts_the_weights_is_a_problem(standin, request_listing, config):
    publish(standin, {"config.json": json.dumps(config).encode()})
    reason = "config.json describes a model that is larger than its weights"
    assert request_listing() == f"org/a: {reason}"


@pytest.mark.parametrize("config", [{}, {"hidden_size": "x", "num_hidden_layers": -1}])
def test_a_config_without_facts_is_no_problem(standin, request_listing, config):
    publish(standin, {"config.json": json.dumps(config).encode()})
    assert request_listing() is None


@pytest.mark.parametrize("depth", [1, 190])
def test_another_config_is_read_if_the_first_is_unusable(standin, request_listing, depth, tmp_path):
    nested = b'{"a":' * depth + b"{}" + b"}" * depth
    publish(standin, {"config.json": nested})
    commit = standin.repositories["org/a"].branches["step0"]
    standin.repositories["org/a"].commits[commit]["config.json"] = HTML
    assert request_listing() is None
    listed = listing.read(checkpoints.listing_file(tmp_path, "s"))
    assert listed["org/a"].config == json.loads(nested)


def test_a_config_that_arrives_damaged_is_requested_again(standin, request_listing, tmp_path):
    answers = iter([HTML, HTML])
    standin.spoilt["config.json"] = lambda content: next(answers, content)
    assert request_listing() is None
    standin.spoilt["config.json"] = lambda content: HTML if b"0" in content else content
    publish(standin, {"config.json": b'{"n": 0}'})
    problem = "org/a: config.json arrived damaged: its digest differs from the digest that the Hub"
    assert request_listing().startswith(problem)


def test_a_config_that_no_longer_exists_is_a_problem(standin, request_listing):
    request_listing()
    for files in standin.repositories["org/a"].commits.values():
        files.pop("config.json", None)
    # The lists of files are kept, so the second listing still contains the deleted files.
    assert request_listing() == "org/a: the file no longer exists"


def test_a_tokenizer_without_listing_is_reported_with_its_reason(standin, tmp_path):
    chosen = suite(repositories=["org/b"], tokenizer="org/a")
    standin.broken[f"{API}/refs"] = 520
    listing.request(chosen, checkpoints.listing_file(tmp_path, "s"), 2)
    _, sources, problem = checkpoints.tokenizers("s", chosen, tmp_path, "b")
    assert not list(sources)
    assert problem.startswith(f"org/a: {standin.url} failed in all 8 attempts (HTTP 520); once")


@pytest.mark.parametrize(
    ("content", "status", "problem"),
    [
        (HTML + b"\n<p>", 200, "log.csv: has no column of training losses"),
        (b'"', 200, "log.csv: damaged"),
        (b"step,loss\n1,2\n", 520, "log.csv: org/b: http://127.0.0.1:"),
    ],
)
def test_an_unreadable_log_is_a_problem_of_its_run(standin, tmp_path, content, status, problem):
    standin.add("org/b", "main", {"log.csv": content})
    chosen = suite(repositories=["org/b"], losses={"b": "log.csv"})
    listing.request(chosen, checkpoints.listing_file(tmp_path, "s"), 2)
    if status != 200:
        standin.broken["/org/b/resolve"] = status
    found, problems = history.of_suite("s", chosen, tmp_path)
    assert not len(found)
    assert [line[: len(problem)] for line in problems] == [problem]
    standin.broken["/"] = 520
    with pytest.raises(client.UnreachableError):
        history.of_suite("s", chosen, tmp_path)


def test_trees_that_arrived_are_not_requested_again(standin, request_listing):
    commits = standin.repositories["org/a"].branches
    standin.broken[f"{API}/tree/{commits['step5']}"] = 520
    assert "HTTP 520" in request_listing()
    standin.broken.clear()
    standin.asked.clear()
    assert request_listing() is None
    again = {path.rpartition("/")[2] for path in asked(standin, f"{API}/tree")}
    assert commits["step5"] in again
    assert commits["step0"] not in again


@pytest.mark.parametrize("path", ["/", "/api"])
def test_a_listing_fails_if_the_hub_answers_no_request(standin, request_listing, path):
    standin.broken[path] = 520
    with pytest.raises(
        client.UnreachableError, match=r"org/[ab]: .* \(HTTP 520\); run again later$"
    ):
        request_listing()
    assert not asked(standin, f"{API}/tree")


def test_a_listing_fails_if_the_hub_stops_to_answer(standin, request_listing, tmp_path):
    commit = standin.repositories["org/a"].branches["step5"]

    def scripted():
        return ("520", {}) if any(commit in path for _, path in standin.asked) else None

    standin.scripted = scripted
    with pytest.raises(client.UnreachableError, match="run again later"):
        request_listing()
    assert not checkpoints.listing_file(tmp_path, "s").exists()
    standin.scripted = lambda: None
    standin.asked.clear()
    assert request_listing() is None
    assert len(set(asked(standin, f"{API}/tree"))) < N_COMMITS


def test_a_listing_fails_in_offline_mode(standin, request_listing, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(client.UnreachableError, match="HF_HUB_OFFLINE is set"):
        request_listing()


@pytest.mark.parametrize(("status", "times"), [(400, 1), (401, 1), (520, client.ATTEMPTS)])
def test_a_search_that_fails_is_a_problem(standin, request_listing, tmp_path, status, times):
    answers = iter([(status, {})] * times)
    standin.scripted = lambda: next(answers, None)
    request_listing(suite(repositories=["other/c*", "org/{a,b}"]))
    listed = listing.read(checkpoints.listing_file(tmp_path, "s"))
    assert f"(HTTP {status})" in listed["other/c*"].problem
    assert listed["org/a"].problem is None
