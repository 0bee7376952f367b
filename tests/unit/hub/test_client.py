"""The Hub through the real client: every call is answered, or tells what to do."""

import logging
from pathlib import Path

import huggingface_hub.constants
import pytest
from tqdm import tqdm

from helpers.standin import StandIn
from shapesweep.config.suite import SUITE
from shapesweep.errors import ShapesweepError, TransientError
from shapesweep.hub import client, listing
from shapesweep.manifest import checkpoints

WEIGHTS = bytes(range(256)) * 400


@pytest.fixture
def standin(monkeypatch, tmp_path):
    with StandIn() as server:
        # What the client has read from HF_ENDPOINT and HF_HOME when it was imported.
        files = f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        for name, value in (
            *(("ENDPOINT", server.url), ("HUGGINGFACE_CO_URL_TEMPLATE", files)),
            *(("HF_HUB_CACHE", str(tmp_path / "cache")), ("HF_TOKEN_PATH", str(tmp_path / "none"))),
        ):
            monkeypatch.setattr(huggingface_hub.constants, name, value)
        yield server


@pytest.fixture
def commit(standin):
    return standin.add("org/a", "step1", {"config.json": b"{}", "model.safetensors": WEIGHTS})


@pytest.fixture
def fetch(standin, commit, tmp_path):
    """A function that fetches the weights into a new folder."""

    def fetch(name="folder"):
        (file,) = [one for one in client.tree("org/a", commit) if one.sha256]
        with tqdm(total=file.size, disable=True) as shown:
            return client.fetch("org/a", commit, file, tmp_path / name, shown)

    return fetch


def test_what_there_is_is_told_in_pages(standin, commit):
    files = {f"{k}.txt": b"x" for k in range(12)}
    other = standin.add("org/b", "v1", files, kind="tags", title="the first")
    assert client.refs("org/a")["branches"]["step1"] == commit
    assert client.refs("org/b")["tags"] == {"v1": other}
    assert len(client.tree("org/b", other)) == 12
    assert ("the first") in [title for _, title in client.commits("org/b", "main")]
    assert client.repositories("org/*") == ["org/a", "org/b"]
    by_path = {one.path: one for one in client.tree("org/a", commit)}
    assert by_path["config.json"].sha256 is None
    assert by_path["model.safetensors"].size == len(WEIGHTS)
    assert client.read("org/a", commit, "config.json") == b"{}"


def test_every_call_is_repeated_until_it_is_answered(standin, commit, fetch, monkeypatch):
    # What is not the client's own waiting takes no time here.
    monkeypatch.setattr(client, "_wait", lambda _state: 0.0)
    standin.fault_rate = 0.3
    for k in range(6):
        assert client.refs("org/a")["branches"]["step1"] == commit
        assert len(client.commits("org/a", "main")) == 2
        assert client.repositories("org/*") == ["org/a"]
        assert fetch(f"folder {k}").read_bytes() == WEIGHTS


def test_a_wait_that_the_hub_asks_for_is_waited(standin, commit, monkeypatch):
    waits = []
    real = client._wait
    monkeypatch.setattr(client, "_wait", lambda state: waits.append(real(state)) or 0.0)
    answers = iter([("429", {"Retry-After": "7"}), ("503", {}), ("503", {})])
    standin.scripted = lambda: next(answers, None)
    assert client.refs("org/a")
    assert waits == [7.0, 0.5, 1.0]


def test_a_hub_that_never_answers_is_told_and_asked_again_next_time(standin, commit, monkeypatch):
    monkeypatch.setattr(client, "_wait", lambda _state: 0.0)
    standin.scripted = lambda: ("500", {})
    with pytest.raises(
        TransientError, match=r"has not answered in 8 attempts \(HTTP 500\); run ag"
    ):
        client.refs("org/a")


def test_a_transfer_that_breaks_in_any_way_is_begun_again(commit, fetch, monkeypatch):
    """What goes wrong with a transfer by xet comes as a plain RuntimeError."""
    monkeypatch.setattr(client, "_wait", lambda _state: 0.0)
    faults = iter([RuntimeError("Task error"), OSError("cut")])
    real = huggingface_hub.HfApi.hf_hub_download

    def broken(*words, **options):
        fault = next(faults, None)
        if fault:
            raise fault
        return real(*words, **options)

    monkeypatch.setattr(huggingface_hub.HfApi, "hf_hub_download", broken)
    assert fetch().read_bytes() == WEIGHTS


def test_damaged_bytes_never_pass_for_whole(standin, commit, fetch, tmp_path):
    for spoil in (lambda b: b[:-1] + b"?", lambda b: b[:-10]):
        standin.spoilt["model.safetensors"] = spoil
        with pytest.raises(client.RefusedError, match=r"model\.safetensors arrives damaged"):
            fetch()
        assert not (tmp_path / "folder/model.safetensors").exists()
    tries = iter([lambda b: b[::-1]])
    standin.spoilt["model.safetensors"] = lambda b: next(tries, lambda b: b)(b)
    assert fetch().read_bytes() == WEIGHTS


def test_a_small_file_is_checked_too(standin, commit, tmp_path):
    (file,) = [one for one in client.tree("org/a", commit) if one.path == "config.json"]
    (tmp_path / "config.json").write_bytes(b"[]")
    assert not client.is_whole(tmp_path / "config.json", file)
    (tmp_path / "config.json").write_bytes(b"{}")
    assert client.is_whole(tmp_path / "config.json", file)


def test_what_the_users_cache_has_is_not_fetched_again(standin, commit, fetch, tmp_path):
    cache = str(tmp_path / "cache")
    huggingface_hub.hf_hub_download("org/a", "model.safetensors", revision=commit, cache_dir=cache)
    (file,) = [one for one in client.tree("org/a", commit) if one.sha256]
    standin.asked.clear()
    with tqdm(disable=True) as shown:
        linked = client.fetch("org/a", commit, file, tmp_path / "folder", shown)
    assert linked.is_symlink() and linked.read_bytes() == WEIGHTS
    assert not standin.asked


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda r: r.clear(), "org/a: there is no such repository, or it is private (set HF_TOKEN"),
        (
            lambda r: setattr(r["org/a"], "is_gated", True),
            "org/a is gated: accept its terms at http",
        ),
        (lambda r: r["org/a"].commits.clear(), "org/a: the revision no longer exists"),
    ],
)
def test_an_answer_is_told_with_what_to_do_and_not_asked_for_again(standin, commit, spoil, said):
    spoil(standin.repositories)
    standin.asked.clear()
    with pytest.raises(client.RefusedError) as error:
        client.tree("org/a", commit)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert len(standin.asked) == 1


def test_a_token_opens_a_gated_repository_and_is_never_told(
    standin, commit, monkeypatch, caplog, capfd
):
    standin.repositories["org/a"].is_gated = True
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijklmnop")
    caplog.set_level(logging.DEBUG)
    standin.fault_rate = 0.3
    assert client.tree("org/a", commit)
    del standin.repositories["org/a"]
    with pytest.raises(client.RefusedError, match="your token has no access") as error:
        client.tree("org/a", commit)
    said = capfd.readouterr()
    assert "abcdefghij" not in f"{error.value}{caplog.text}{said.out}{said.err}"


def test_offline_is_said_at_once(standin, commit, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        TransientError, match="HF_HUB_OFFLINE is set, and this is not in the local cache"
    ):
        client.refs("org/a")
    assert not standin.asked


def test_a_path_that_leads_out_of_its_folder_is_no_file(standin):
    commit = standin.add("org/c", "main", {"../evil.safetensors": b"x", "model.safetensors": b"y"})
    assert [one.path for one in client.tree("org/c", commit)] == ["model.safetensors"]


def suite(**more):
    said = {"source": "hub", "mode": "branches", "match": r"step(?P<step>\d+)"}
    return SUITE.validate_python({**said, "repositories": ["org/{a,b}"], **more})


def test_a_listing_is_kept_and_asks_only_for_what_is_new(standin, commit, tmp_path):
    out = tmp_path / "listings/s.json"
    made = listing.make(suite(), out, 2)
    assert made["org/b"].problem.startswith("org/b: there is no such repository")
    assert listing.read(out) == made
    assert made["org/a"].config == {}
    new = standin.add("org/a", "step2", {"config.json": b"{}", "model.safetensors": b"z"})
    standin.asked.clear()
    again = listing.make(suite(), out, 2)
    trees = [path for _, path in standin.asked if "/tree/" in path]
    assert trees == [f"/api/models/org/a/tree/{new}"]
    assert set(again["org/a"].trees) == {*made["org/a"].trees, new}


def test_a_listing_that_was_broken_off_is_continued(standin, commit, tmp_path):
    out = tmp_path / "listings/s.json"
    listing.make(suite(), out, 1)
    kept = tmp_path / "listings/trees/org--a.jsonl"
    lines = kept.read_text(encoding="utf-8").splitlines()
    kept.write_text(f"{lines[0]}\n{lines[1][:9]}", encoding="utf-8")
    standin.asked.clear()
    assert len(listing.make(suite(), out, 1)["org/a"].trees) == 2
    assert len([path for _, path in standin.asked if "/tree/" in path]) == 1


def test_runs_that_are_not_there_are_told_with_those_that_are(standin, commit, tmp_path):
    chosen = suite(only=["aa"])
    listing.make(chosen, checkpoints.listing_file(tmp_path, "s"), 1)
    with pytest.raises(
        ShapesweepError, match=r"suites\.s\.only: no run matches aa; did you mean a"
    ):
        checkpoints.list_checkpoints("s", chosen, tmp_path)


def test_a_damaged_listing_is_one_line(tmp_path):
    path = Path(tmp_path, "s.json")
    with pytest.raises(Exception, match="no such file; run snakemake first"):
        listing.read(path)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(Exception, match="damaged; add --forcerun listing"):
        listing.read(path)
