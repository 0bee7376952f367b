"""Downloads are atomic. The cost of a download is known before the download starts."""

import dataclasses
from pathlib import Path

import pytest

from helpers.plans import HUB
from shapesweep.config import files as config_files
from shapesweep.errors import CheckpointError, TransientError
from shapesweep.hub import client, download
from shapesweep.hub.revisions import Listed
from shapesweep.plan import costs, inventory
from shapesweep.plan.costs import Model
from shapesweep.storage import failures
from shapesweep.storage.files import File
from shapesweep.storage.manifests import Checkpoint

CONFIG, WEIGHTS = File("config.json", 2, None, "a"), File("model.bin", 9, "b", "c")
TOKENIZER = File("tokenizer.json", 1, None, "a")


def pinned(*files):
    """Return a manifest checkpoint that has the given files."""
    return Checkpoint("s", "r", "step1", step=1, repository="org/a", commit="c", files=files)


def download_checkpoint(checkpoint, out, claim=lambda: None, tokenizer="none"):
    """Download a checkpoint, and return the line for the log."""
    (line,) = download.checkpoints([(checkpoint, out)], claim, Path(tokenizer))
    return line


@pytest.fixture
def download_errors(monkeypatch):
    """Write files instead of downloading them, or raise the error that a test sets for a file."""
    errors = {}

    def fetch(repository, commit, file, folder, shown):
        if file.path in errors:
            raise errors[file.path]
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * file.size)
        return path

    monkeypatch.setattr(client, "fetch", fetch)
    return errors


def test_folder_holds_the_files_without_their_repository_paths(tmp_path, download_errors):
    files = [File("ckpt/1B/config.json", 2, None, "a"), File("ckpt/1B/model.bin", 9, "b", "c")]
    line = download_checkpoint(pinned(*files), tmp_path / "out")
    assert line == "s/r/step1: 0.0 MB fetched"
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["config.json", "model.bin"]


@pytest.mark.parametrize("kind", [CheckpointError, TransientError])
def test_failed_download_leaves_only_its_reason(tmp_path, download_errors, kind):
    download_errors["model.bin"] = kind("the connection was lost")
    line = download_checkpoint(pinned(CONFIG, WEIGHTS), tmp_path / "out")
    assert line == "s/r/step1: could not be fetched: the connection was lost"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["failed.json"]
    assert failures.is_transient(tmp_path / "out") == (kind is TransientError)
    with pytest.raises(kind, match="the connection was lost"):
        failures.raise_recorded(tmp_path / "out")


def test_interrupted_download_leaves_nothing(tmp_path, download_errors):
    download_errors["model.bin"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        download_checkpoint(pinned(WEIGHTS), tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_tokenizer_comes_from_the_first_source_that_has_it(tmp_path, download_errors):
    gone = File("gone.json", 1, None, "a")
    sources = [("org/a", "1", [gone]), ("org/a", "2", [TOKENIZER])]
    download_errors["gone.json"] = CheckpointError("gone")
    assert download.tokenizer(pinned(), sources, tmp_path / "out") == "tokenizer of org/a fetched"
    assert (tmp_path / "out/tokenizer.json").is_file()
    download.tokenizer(pinned(), [], tmp_path / "none")
    reason = failures.recorded(tmp_path / "none")["reason"]
    assert reason.startswith("org/a has no tokenizer; set suites.s.tokenizer to a repository")
    download.tokenizer(pinned(), [], tmp_path / "none", "org/t: failed")
    assert failures.recorded(tmp_path / "none")["reason"] == "org/t: failed"


def test_nothing_is_downloaded_without_a_tokenizer(tmp_path, download_errors):
    download_errors["tokenizer.json"] = TransientError("no answer")
    download.tokenizer(pinned(), [("org/a", "1", [TOKENIZER])] * 2, tmp_path / "tokenizer")
    claims, out = [], tmp_path / "out"
    download_checkpoint(pinned(CONFIG), out, lambda: claims.append(1), tmp_path / "tokenizer")
    assert not claims
    failed = failures.recorded(tmp_path / "out")
    assert (failed["reason"], failed["transient"]) == ("no answer", True)


def test_nothing_is_downloaded_without_disk_space(tmp_path, download_errors):
    claims = []

    def claim():
        claims.append(1)
        raise TransientError("found no disk space")

    wanted = [(pinned(CONFIG), tmp_path / name) for name in ("out", "more")]
    lines = list(download.checkpoints(wanted, claim, tmp_path / "none"))
    assert lines == ["s/r/step1: could not be fetched: found no disk space"] * 2
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["failed.json"]
    assert failures.is_transient(tmp_path / "out")
    # The checkpoints of a batch share one claim of disk space.
    assert claims == [1]
    assert not list(download.checkpoints([], claim, tmp_path / "none"))
    assert claims == [1]


def test_checkpoint_without_a_repository_is_not_downloaded(tmp_path, download_errors):
    checkpoint = dataclasses.replace(pinned(CONFIG), repository=None)
    download_checkpoint(checkpoint, tmp_path / "out")
    assert failures.recorded(tmp_path / "out")["reason"] == "is not on the Hub"
    assert not failures.is_transient(tmp_path / "out")


def settings(**more):
    corpora = ["text", "random", "shuffled"]
    return config_files.validate({"suites": {"s": HUB}, "corpora": corpora, **more})


def published(step, *status, main=False):
    shape = {"num_hidden_layers": 4, "hidden_size": 100, "dtype": "float16", "vocab_size": 500}
    files = (File("model.safetensors", 10**6, f"{step}", "a"),)
    name = "main" if main else f"step{step}"
    more = {"is_main": main, "files": files, "config": shape, "status": status}
    return Listed("r", name, step, repository="o/a", **more)


def test_footprint_of_a_checkpoint_is_its_files_and_its_shards():
    listed = published(1)
    corpus = {"documents": 10, "length": 20}
    tokens = 3 * 10 * 20
    shards = tokens * 6 * (4 * 100 + 12)
    footprint = costs.footprint(Model.of(listed, settings().suites["s"]), settings(corpus=corpus))
    assert 10**6 + shards < footprint < 10**6 + shards + 20 * costs.OVERHEAD
    assert (
        costs.footprint(Model.of(listed, settings().suites["s"]), settings(keep_activations=True))
        == 10**6
    )
    paper = settings(corpus={"documents": 10, "sampling": "paper"})
    assert costs.n_tokens(Model.of(listed, settings().suites["s"]), paper) == 3 * 128 * 512
    variants = {"long": {"length": 100}, "few": {"documents": 2}}
    more = settings(corpus={"documents": 10, "length": 20, "variants": variants})
    model = Model.of(listed, settings().suites["s"])
    assert costs.n_tokens(model, more) == 3 * (10 * 20 + 10 * 100 + 2 * 20)
    listed.config["vocab_size"] = None
    assert costs.n_tokens(Model.of(listed, settings().suites["s"]), paper) == 3 * 128 * 512


def test_costs_are_summed_and_state_their_assumptions():
    text = inventory.costs({"s": [published(1), published(2)]}, settings())
    assert "s/r" in text and "2.0 MB" in text and "assumed: 50 MB/s" in text
    assert inventory.costs({"s": []}, settings()) == "nothing to download"


def test_defects_are_counted_by_kind():
    hole = dataclasses.replace(published(3, "hole"), revision="")
    listed = [published(1), published(2, "shares_file_with:step9"), hole]
    listed.append(published(None, "empty_main", main=True))
    assert inventory.published({"s": listed}).splitlines() == [
        "s: checkpoints 2, runs 1, 2.0 MB, holes 1, defects 2",
        "  shares_file_with: r/step2",
        "  hole: r/step 3",
        "  empty_main: r/main",
    ]
