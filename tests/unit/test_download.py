"""Downloads: whole or not at all, and never more on the disk than there is room for."""

import threading
import time

import pytest

from shapesweep import config, costs, download, failures, hub, inventory
from shapesweep.costs import Model
from shapesweep.errors import CheckpointError, TransientError
from shapesweep.files import File
from shapesweep.manifest import Listed
from shapesweep.publication import Published

ROW = {
    **{"suite": "s", "run": "r", "revision": "step1", "step": 1},
    **{"repository": "org/a", "commit": "c"},
}


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

    monkeypatch.setattr(hub, "fetch", fetch)
    return bad


def test_a_folder_holds_the_files_by_their_names_alone(tmp_path, fetched):
    files = [File("ckpt/1B/config.json", 2, None, "a"), File("ckpt/1B/model.bin", 9, "b", "c")]
    said = download.checkpoint(ROW, files, tmp_path / "out", lambda: None)
    assert said == "s/r/step1: 0.0 MB fetched"
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["config.json", "model.bin"]


@pytest.mark.parametrize("kind", [CheckpointError, TransientError])
def test_a_download_that_fails_leaves_its_reason_and_nothing_else(tmp_path, fetched, kind):
    files = [File("config.json", 2, None, "a"), File("model.bin", 9, "b", "c")]
    fetched["model.bin"] = kind("the line is dead")
    said = download.checkpoint(ROW, files, tmp_path / "out", lambda: None)
    assert said == "s/r/step1: could not be fetched: the line is dead"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["failed.json"]
    assert failures.recorded(tmp_path / "out")["transient"] == (kind is TransientError)
    with pytest.raises(kind, match="the line is dead"):
        failures.raise_recorded(tmp_path / "out")


def test_a_download_that_is_broken_off_leaves_nothing(tmp_path, fetched):
    fetched["model.bin"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        download.checkpoint(ROW, [File("model.bin", 9, "b", "c")], tmp_path / "out", lambda: None)
    assert not list(tmp_path.iterdir())


def test_a_tokenizer_comes_from_the_first_place_that_has_it(tmp_path, fetched):
    places = [("org/a", "1", [File("gone.json", 1, None, "a")])]
    places.append(("org/a", "2", [File("tokenizer.json", 1, None, "a")]))
    fetched["gone.json"] = CheckpointError("gone")
    assert download.tokenizer(ROW, places, tmp_path / "out") == "tokenizer of org/a fetched"
    assert (tmp_path / "out/tokenizer.json").is_file()
    download.tokenizer(ROW, [], tmp_path / "none")
    reason = failures.recorded(tmp_path / "none")["reason"]
    assert reason.startswith("org/a has no tokenizer; name the repository that has it (suites.s.")


def test_room_is_given_to_as_many_as_fit_and_taken_back(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "LOOK", 0.01)
    budget = download.Budget(tmp_path, 100)
    for name in "ab":
        budget.claim(f"s/r/{name}", 50)
    third = threading.Thread(target=budget.claim, args=("s/r/c", 50))
    third.start()
    time.sleep(0.2)
    assert third.is_alive()
    # The checkpoint becomes shards: its room is still taken.
    (tmp_path / "activations/s/r/a").mkdir(parents=True)
    (tmp_path / "checkpoints/s/r/.a.claim").rmdir()
    time.sleep(0.2)
    assert third.is_alive()
    (tmp_path / "activations/s/r/a").rmdir()
    third.join(5)
    assert not third.is_alive()
    # One that is begun again takes the place of itself.
    budget.claim("s/r/b", 50)


def test_what_a_job_left_that_is_over_makes_room_when_another_needs_it(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "LOOK", 0.01)
    monkeypatch.setattr(download, "PATIENCE", 0.05)
    budget = download.Budget(tmp_path, 100)
    for name, seconds in (("living", 3600), ("dead", -1)):
        budget.claim(f"s/r/{name}", 40, seconds)
        (tmp_path / "activations/s/r" / name).mkdir(parents=True)
    budget.claim("s/r/small", 20)
    assert (tmp_path / "activations/s/r/dead").is_dir()
    budget.claim("s/r/large", 40)
    assert [path.name for path in (tmp_path / "activations/s/r").iterdir()] == ["living"]
    with pytest.raises(TransientError):
        budget.claim("s/r/too much", 40)


def test_claims_of_an_earlier_version_end(tmp_path):
    budget = download.Budget(tmp_path, 100)
    (tmp_path / "checkpoints").mkdir()
    budget.ledger.write_text('{"s/r/a": 50}', encoding="utf-8")
    budget.claim("s/r/b", 100)


def test_shards_that_are_kept_take_no_room(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "LOOK", 0.01)
    monkeypatch.setattr(download, "PATIENCE", 0.05)
    for keep in (True, False):
        budget = download.Budget(tmp_path / str(keep), 100, keep)
        budget.claim("s/r/a", 60)
        (budget.folder / "activations/s/r/a").mkdir(parents=True)
        (budget.folder / "checkpoints/s/r/.a.claim").rmdir()
        if keep:
            budget.claim("s/r/b", 60)
        else:
            with pytest.raises(TransientError):
                budget.claim("s/r/b", 60)


def test_what_never_fits_and_what_waits_in_vain_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "LOOK", 0.01)
    monkeypatch.setattr(download, "PATIENCE", 0.05)
    budget = download.Budget(tmp_path, 2 * 10**9)
    with pytest.raises(CheckpointError, match=r"needs 3\.0 GB, hub\.disk_gb allows 2"):
        budget.claim("s/r/a", 3 * 10**9)
    budget.claim("s/r/a", 10**9)
    with pytest.raises(TransientError, match="it is held by s/r/a"):
        budget.claim("s/r/b", 2 * 10**9)


def test_what_an_earlier_run_has_left_is_cleared_but_not_what_is_needed(tmp_path):
    budget = download.Budget(tmp_path, 100)
    for name in ("needed", "left", "broken"):
        budget.claim(f"s/r/{name}", 10)
    for kind, name in (("checkpoints", "needed"), ("checkpoints", "left"), ("activations", "left")):
        (tmp_path / kind / "s/r" / name).mkdir(parents=True)
    (tmp_path / "checkpoints/embedded/decoder/checkpoint-1").mkdir(parents=True)
    budget.clear([str(tmp_path / "checkpoints/s/r/needed")])
    left = [str(path.relative_to(tmp_path)) for path in tmp_path.glob("*/s/r/*")]
    assert left == ["checkpoints/s/r/needed"]
    assert (tmp_path / "checkpoints/embedded/decoder/checkpoint-1").is_dir()
    budget.claim("s/r/new", 90)


def test_without_a_tokenizer_nothing_is_fetched(tmp_path, fetched):
    fetched["tokenizer.json"] = TransientError("no answer")
    places = [("org/a", "1", [File("tokenizer.json", 1, None, "a")])] * 2
    download.tokenizer(ROW, places, tmp_path / "tokenizer")
    asked = []
    files, out = [File("config.json", 2, None, "a")], tmp_path / "out"
    download.checkpoint(ROW, files, out, lambda: asked.append(1), tmp_path / "tokenizer")
    assert not asked
    said = failures.recorded(tmp_path / "out")
    assert (said["reason"], said["transient"]) == ("no answer", True)


def settings(**more):
    suite = {"source": "hub", "mode": "branches", "match": "x", "repositories": ["o/a"]}
    corpora = ["text", "random", "shuffled"]
    return config.validate({"suites": {"s": suite}, "corpora": corpora, **more})


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
    said = inventory.costs({"s": [published(1), published(2)]}, settings())
    assert "s/r" in said and "2.0 MB" in said and "assumed: 50 MB/s" in said
    assert inventory.costs({"s": []}, settings()) == "nothing to be fetched"


def test_defects_are_counted_by_kind():
    import dataclasses

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
