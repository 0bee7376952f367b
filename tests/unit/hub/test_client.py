"""A call to the Hub through the real client succeeds, or raises an error that says what to do."""

import logging
from pathlib import Path

import huggingface_hub.constants
import pytest
from tqdm import tqdm

from helpers.plans import HUB
from helpers.standin import WEIGHTS
from shapesweep.config.suite import SUITE
from shapesweep.errors import ShapesweepError, TransientError
from shapesweep.hub import client, information, listing
from shapesweep.hub.errors import NoAccessError
from shapesweep.manifest import checkpoints


@pytest.fixture
def listed(commit):
    """The files of the commit, by their paths."""
    return {file.path: file for file in client.tree("org/a", commit)}


@pytest.fixture
def fetch(listed, commit, tmp_path):
    """A function that fetches the weights into a new folder."""

    def fetch(name="folder"):
        with tqdm(disable=True) as shown:
            file = listed["model.safetensors"]
            return client.fetch("org/a", commit, file, tmp_path / name, shown)

    return fetch


def test_refs_files_commits_and_repositories_are_read_from_all_pages(standin, commit, listed):
    files = {f"{k}.txt": b"x" for k in range(12)}
    other = standin.add("org/b", "v1", files, kind="tags", title="the first")
    assert client.refs("org/a")["branches"]["step1"] == commit
    assert client.refs("org/b")["tags"] == {"v1": other}
    assert len(client.tree("org/b", other)) == 12
    assert "the first" in [title for _, title in client.commits("org/b", "main")]
    assert client.repositories("org/*") == ["org/a", "org/b"]
    assert listed["config.json"].sha256 is None
    assert listed["model.safetensors"].size == len(WEIGHTS)
    assert client.read("org/a", commit, listed["config.json"]) == b"{}"


@pytest.mark.parametrize(
    ("card", "labels", "license"),
    [
        ({"license": "mit"}, [], "mit"),
        ({}, ["pytorch", "license:apache-2.0"], "apache-2.0"),
        ({"license": ["mit"]}, ["license:mit"], "mit"),
        ({"license": 3, "tags": "x", "model-index": [1]}, [], None),
        ({}, [], None),
    ],
)
def test_license_is_read_from_the_card_or_from_a_label(standin, commit, card, labels, license):
    standin.repositories["org/a"].card = card
    standin.repositories["org/a"].labels = labels
    assert information.request("org/a") == information.Information(license, False)


def test_gated_repository_can_be_described_and_listed_without_a_token(standin, commit, listed):
    standin.repositories["org/a"].is_gated = True
    assert information.request("org/a").is_gated
    assert client.tree("org/a", client.refs("org/a")["branches"]["step1"])
    with pytest.raises(NoAccessError):
        client.read("org/a", commit, listed["config.json"])


def test_calls_are_repeated_until_they_succeed(standin, commit, fetch, no_waits):
    standin.fault_rate = 0.3
    for k in range(6):
        assert client.refs("org/a")["branches"]["step1"] == commit
        assert len(client.commits("org/a", "main")) == 2
        assert client.repositories("org/*") == ["org/a"]
        assert fetch(f"folder {k}").read_bytes() == WEIGHTS


def test_client_waits_as_long_as_the_hub_asks(standin, commit, monkeypatch):
    waits = []
    real = client._wait
    monkeypatch.setattr(client, "_wait", lambda state: waits.append(real(state)) or 0.0)
    answers = iter([("429", {"Retry-After": "7"}), ("503", {}), ("503", {})])
    standin.scripted = lambda: next(answers, None)
    assert client.refs("org/a")
    assert waits == [7.0, 0.5, 1.0]


def test_hub_that_never_answers_is_a_transient_error(standin, commit, no_waits):
    standin.scripted = lambda: ("500", {})
    message = r"failed in all 8 attempts \(HTTP 500\); run again"
    with pytest.raises(TransientError, match=message):
        client.refs("org/a")


def test_broken_transfer_is_restarted_after_any_error(fetch, no_waits, monkeypatch):
    """If a transfer by xet fails, huggingface_hub raises a plain RuntimeError."""
    faults = iter([RuntimeError("Task error"), OSError("cut")])
    real = huggingface_hub.HfApi.hf_hub_download

    def broken(*arguments, **options):
        if fault := next(faults, None):
            raise fault
        return real(*arguments, **options)

    monkeypatch.setattr(huggingface_hub.HfApi, "hf_hub_download", broken)
    assert fetch().read_bytes() == WEIGHTS


def test_damaged_files_are_never_accepted(standin, fetch, tmp_path):
    for spoil in (lambda b: b[:-1] + b"?", lambda b: b[:-10]):
        standin.spoilt["model.safetensors"] = spoil
        with pytest.raises(client.RefusedError, match=r"model\.safetensors arrived damaged"):
            fetch()
        assert not (tmp_path / "folder/model.safetensors").exists()
    tries = iter([lambda b: b[::-1]])
    standin.spoilt["model.safetensors"] = lambda b: next(tries, lambda b: b)(b)
    assert fetch().read_bytes() == WEIGHTS


@pytest.mark.parametrize("content", [b"[]", b"{}"])
def test_small_files_are_checked_too(listed, tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    is_whole = client.is_whole(tmp_path / "config.json", listed["config.json"])
    assert is_whole == (content == b"{}")


def test_files_in_the_cache_of_the_user_are_not_downloaded_again(standin, commit, fetch, tmp_path):
    cache = str(tmp_path / "cache")
    huggingface_hub.hf_hub_download("org/a", "model.safetensors", revision=commit, cache_dir=cache)
    standin.asked.clear()
    linked = fetch()
    assert linked.is_symlink() and linked.read_bytes() == WEIGHTS
    assert not standin.asked


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda r: r.clear(), "org/a: there is no such repository, or it is private (set HF_TOKEN"),
        (lambda r: setattr(r["org/a"], "is_gated", True), "org/a is gated: accept its terms at ht"),
        (lambda r: r["org/a"].commits.clear(), "org/a: the revision no longer exists"),
    ],
)
def test_refused_call_is_a_one_line_error_and_is_not_repeated(
    standin, commit, listed, spoil, message
):
    spoil(standin.repositories)
    standin.asked.clear()
    with pytest.raises(client.RefusedError) as error:
        client.read("org/a", commit, listed["config.json"])
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert len(standin.asked) == 1


def test_token_opens_a_gated_repository_and_is_never_shown(
    standin, commit, listed, monkeypatch, caplog, capfd
):
    standin.repositories["org/a"].is_gated = True
    monkeypatch.setenv("HF_TOKEN", "hf_abcdefghijklmnop")
    caplog.set_level(logging.DEBUG)
    standin.fault_rate = 0.3
    assert client.read("org/a", commit, listed["config.json"]) == b"{}"
    del standin.repositories["org/a"]
    with pytest.raises(client.RefusedError, match="your token has no access") as error:
        client.tree("org/a", commit)
    captured = capfd.readouterr()
    assert "abcdefghij" not in f"{error.value}{caplog.text}{captured.out}{captured.err}"


def test_offline_mode_is_an_error_without_any_call(standin, commit, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    message = "HF_HUB_OFFLINE is set, and the local cache lacks the requested data"
    with pytest.raises(TransientError, match=message):
        client.refs("org/a")
    assert not standin.asked


def test_paths_outside_the_folder_are_ignored(standin):
    commit = standin.add("org/c", "main", {"../evil.safetensors": b"x", "model.safetensors": b"y"})
    assert [file.path for file in client.tree("org/c", commit)] == ["model.safetensors"]


def suite(**more):
    return SUITE.validate_python({**HUB, "repositories": ["org/{a,b}"], **more})


def test_stored_listing_only_asks_for_new_revisions(standin, commit, tmp_path):
    out = tmp_path / "listings/s.json"
    first = listing.request(suite(), out, 2)
    assert first["org/b"].problem.startswith("org/b: there is no such repository")
    assert listing.read(out) == first
    assert first["org/a"].config == {}
    new = standin.add("org/a", "step2", {"config.json": b"{}", "model.safetensors": b"z"})
    standin.asked.clear()
    second = listing.request(suite(), out, 2)
    trees = [path for _, path in standin.asked if "/tree/" in path]
    assert trees == [f"/api/models/org/a/tree/{new}"]
    assert set(second["org/a"].trees) == {*first["org/a"].trees, new}


def test_interrupted_listing_is_continued(standin, commit, tmp_path):
    out = tmp_path / "listings/s.json"
    listing.request(suite(), out, 1)
    kept = tmp_path / "listings/trees/org--a.jsonl"
    lines = kept.read_text(encoding="utf-8").splitlines()
    kept.write_text(f"{lines[0]}\n{lines[1][:9]}", encoding="utf-8")
    standin.asked.clear()
    assert len(listing.request(suite(), out, 1)["org/a"].trees) == 2
    assert len([path for _, path in standin.asked if "/tree/" in path]) == 1


def test_error_for_an_unknown_run_suggests_an_existing_one(standin, commit, tmp_path):
    chosen = suite(only=["aa"])
    listing.request(chosen, checkpoints.listing_file(tmp_path, "s"), 1)
    with pytest.raises(ShapesweepError, match=r"s\.only: no run matches aa; did you mean a"):
        checkpoints.list_checkpoints("s", chosen, tmp_path)


def test_error_for_an_absent_or_damaged_listing_says_what_to_do(tmp_path):
    path = Path(tmp_path, "s.json")
    with pytest.raises(Exception, match="no such file; run snakemake first"):
        listing.read(path)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(Exception, match="damaged; run again with --forcerun listing"):
        listing.read(path)
