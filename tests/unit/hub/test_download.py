"""Downloads are atomic, and their cost is known before they begin."""

import dataclasses
from pathlib import Path

import pytest

from shapesweep.config import files as config_files
from shapesweep.errors import CheckpointError, TransientError
from shapesweep.hub import client, download
from shapesweep.hub.revisions import Published
from shapesweep.manifest.selection import Listed
from shapesweep.plan import costs, inventory
from shapesweep.plan.costs import Model
from shapesweep.storage import failures
from shapesweep.storage.files import File
from shapesweep.storage.manifests import Checkpoint


def pinned(*files):
    """A checkpoint of the manifest with these files."""
    return Checkpoint("s", "r", "step1", step=1, repository="org/a", commit="c", files=files)


def download_one(checkpoint, out, claim=lambda: None, tokenizer="none"):
    """Fetch one checkpoint; the line that says what was done."""
    (line,) = download.checkpoints([(checkpoint, out)], claim, Path(tokenizer))
    return line


@pytest.fixture
def fetched(monkeypatch):
    """What is fetched; a name in `bad` cannot be."""
    bad = {}

    def fetch(repository, commit, file, folder, shown):
        if file.path in bad:
            raise bad[file.path]
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * file.size)
        return path

    monkeypatch.setattr(client, "fetch", fetch)
    return bad


def test_a_folder_holds_the_files_by_their_names_alone(tmp_path, fetched):
    files = [File("ckpt/1B/config.json", 2, None, "a"), File("ckpt/1B/model.bin", 9, "b", "c")]
    line = download_one(pinned(*files), tmp_path / "out")
    assert line == "s/r/step1: 0.0 MB fetched"
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["config.json", "model.bin"]


@pytest.mark.parametrize("kind", [CheckpointError, TransientError])
def test_a_download_that_fails_leaves_its_reason_and_nothing_else(tmp_path, fetched, kind):
    files = [File("config.json", 2, None, "a"), File("model.bin", 9, "b", "c")]
    fetched["model.bin"] = kind("the line is dead")
    line = download_one(pinned(*files), tmp_path / "out")
    assert line == "s/r/step1: could not be fetched: the line is dead"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["failed.json"]
    assert failures.is_transient(tmp_path / "out") == (kind is TransientError)
    with pytest.raises(kind, match="the line is dead"):
        failures.raise_recorded(tmp_path / "out")


def test_a_download_that_is_broken_off_leaves_nothing(tmp_path, fetched):
    fetched["model.bin"] = KeyboardInterrupt()
    one = pinned(File("model.bin", 9, "b", "c"))
    with pytest.raises(KeyboardInterrupt):
        download_one(one, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_tokenizer_comes_from_the_first_place_that_has_it(tmp_path, fetched):
    places = [("org/a", "1", [File("gone.json", 1, None, "a")])]
    places.append(("org/a", "2", [File("tokenizer.json", 1, None, "a")]))
    fetched["gone.json"] = CheckpointError("gone")
    assert download.tokenizer(pinned(), places, tmp_path / "out") == "tokenizer of org/a fetched"
    assert (tmp_path / "out/tokenizer.json").is_file()
    download.tokenizer(pinned(), [], tmp_path / "none")
    reason = failures.recorded(tmp_path / "none")["reason"]
    assert reason.startswith("org/a has no tokenizer; name the repository that has it (suites.s.")


def test_without_a_tokenizer_nothing_is_fetched(tmp_path, fetched):
    fetched["tokenizer.json"] = TransientError("no answer")
    places = [("org/a", "1", [File("tokenizer.json", 1, None, "a")])] * 2
    download.tokenizer(pinned(), places, tmp_path / "tokenizer")
    asked = []
    one, out = pinned(File("config.json", 2, None, "a")), tmp_path / "out"
    download_one(one, out, lambda: asked.append(1), tmp_path / "tokenizer")
    assert not asked
    failed = failures.recorded(tmp_path / "out")
    assert (failed["reason"], failed["transient"]) == ("no answer", True)


def test_without_room_nothing_is_fetched(tmp_path, fetched):
    claims = []

    def claim():
        claims.append(1)
        raise TransientError("found no disk space")

    file = File("config.json", 2, None, "a")
    wanted = [(pinned(file), tmp_path / name) for name in ("out", "more")]
    lines = list(download.checkpoints(wanted, claim, tmp_path / "none"))
    assert lines == ["s/r/step1: could not be fetched: found no disk space"] * 2
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["failed.json"]
    assert failures.is_transient(tmp_path / "out")
    # The checkpoints of a batch share a claim.
    assert claims == [1]
    assert not list(download.checkpoints([], claim, tmp_path / "none"))
    assert claims == [1]


def test_what_does_not_lie_on_the_hub_is_not_fetched(tmp_path, fetched):
    one = dataclasses.replace(pinned(File("config.json", 2, None, "a")), repository=None)
    download_one(one, tmp_path / "out")
    assert failures.recorded(tmp_path / "out")["reason"] == "is not on the Hub"
    assert not failures.is_transient(tmp_path / "out")


def settings(**more):
    suite = {"source": "hub", "mode": "branches", "match": "x", "repositories": ["o/a"]}
    corpora = ["text", "random", "shuffled"]
    return config_files.validate({"suites": {"s": suite}, "corpora": corpora, **more})


def published(step, status=(), main=False):
    shape = {"num_hidden_layers": 4, "hidden_size": 100, "dtype": "float16", "vocab_size": 500}
    files = (File("model.safetensors", 10**6, f"{step}", "a"),)
    name = "main" if main else f"step{step}"
    one = Published("r", name, "o/a", "c", step=step, is_main=main, files=files, config=shape)
    return Listed("r", name, step, "", flags=tuple(status), published=one)


def test_the_room_for_a_checkpoint_is_its_files_and_its_shards():
    one = published(1)
    corpus = {"documents": 10, "length": 20}
    tokens = 3 * 10 * 20
    shards = tokens * 6 * (4 * 100 + 12)
    room = costs.footprint(Model.published(one), settings(corpus=corpus))
    assert 10**6 + shards < room < 10**6 + shards + 20 * costs.OVERHEAD
    assert costs.footprint(Model.published(one), settings(keep_activations=True)) == 10**6
    paper = settings(corpus={"documents": 10, "sampling": "paper"})
    assert costs.n_tokens(Model.published(one), paper) == 3 * 10 * 512
    one.published.config["vocab_size"] = None
    assert costs.n_tokens(Model.published(one), paper) == 3 * 10 * 512


def test_costs_are_added_up_and_say_what_they_assume():
    text = inventory.costs({"s": [published(1), published(2)]}, settings())
    assert "s/r" in text and "2.0 MB" in text and "assumed: 50 MB/s" in text
    assert inventory.costs({"s": []}, settings()) == "nothing to download"


def test_defects_are_counted_by_kind():
    def flagged(one, flag):
        return dataclasses.replace(
            one, published=dataclasses.replace(one.published, status=(flag,))
        )

    hole = dataclasses.replace(flagged(published(3), "hole"), revision="")
    listed = [published(1), flagged(published(2), "shares_file_with:step9"), hole]
    listed.append(flagged(published(None, main=True), "empty_main"))
    assert inventory.published({"s": listed}).splitlines() == [
        "s: checkpoints 2, runs 1, 2.0 MB, holes 1, defects 2",
        "  shares_file_with: r/step2",
        "  hole: r/step 3",
        "  empty_main: r/main",
    ]
