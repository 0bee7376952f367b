"""After a change of a Hub sweep, the rules named in docs/how-to/run-again.md run again.

Dry runs test a sample of the table, or the whole table if SHAPESWEEP_ALL is set.
"""

import os
import shutil

import pytest

from helpers.hub_suites import publish_run
from helpers.plans import HUB
from helpers.run_again import CHANGES, TARGETS, expected, planned
from helpers.standin import serving
from helpers.workflow import complete, configure, read, settings, sweep, write

ALL = bool(os.environ.get("SHAPESWEEP_ALL"))
REPOSITORIES = ["Org/first", "Org/second", "Org/third"]
SUITE = {**HUB, "repositories": REPOSITORIES[:2], "only": ["first"]}
#: Rows of the table that are tested with the keys of Hub suites instead of local suites.
OTHER_CHANGES = {
    "`suites`: `seed` of a run, `tokens_per_step`": [
        {"suites.mine.seed": 7},
        {"suites.mine.tokens": {"per_step": 100}},
    ],
    "`suites`: `accept`, `losses` of a run, `loss_files`": [
        {"suites.mine.accept": ["discontinuous"]}
    ],
}
#: Rows of the table that are not tested with suites of the Hub. If a run is added, a dry run plans
#: only the new listing. The key `spikes.suites` does not affect the suite of this test.
LEFT_OUT = {"`suites`: a run is added", "`spikes.suites`"}
#: Rows whose changes do not affect the checkpoint with a budget.
WITHOUT_BUDGET = {"`checkpoints`, or a checkpoint is added", "`checkpoints_per_job`"}
BOTH = {"geometry", "budget"}


@pytest.fixture(scope="module")
def hub(tmp_path_factory, tokenizers):
    """A stand-in for the Hub with three runs of four checkpoints."""
    folder = tmp_path_factory.mktemp("published")
    with pytest.MonkeyPatch.context() as patch, serving(patch, folder / "hf") as standin:
        for seed, run in enumerate(REPOSITORIES):
            publish_run(standin, run, (0, 1, 4, 8), tokenizers["decoder"], folder, seed=seed)
        yield standin


@pytest.fixture(scope="module")
def finished(hub, tmp_path_factory, text_file):
    """A sweep of three of a run's four checkpoints, with the budget of the last one."""
    folder = tmp_path_factory.mktemp("swept")
    shutil.copyfile(text_file, folder / "other.txt")
    chosen = settings(
        text_file,
        suites={"mine": SUITE},
        checkpoints={"steps": [0, 1, 8]},
        corpora=["text", "last", "passages"],
        budget={"checkpoints": {"mine": "last"}},
    )
    write(folder, chosen)
    complete(folder, "all", "paper")
    return folder


@pytest.fixture
def swept(finished):
    """The finished sweep. Its configuration is restored for the next test."""
    text = (finished / "sweep.yaml").read_text(encoding="utf-8")
    yield finished
    (finished / "sweep.yaml").write_text(text, encoding="utf-8")


def expected_of_hub(row, target):
    """Return the rules that run after a change.

    If one rule in `BOTH` runs for a Hub checkpoint, the other rule runs too.
    """
    if row == "`scratch`":
        return BOTH | TARGETS[target]
    rules = expected(row, target)
    # Only the targets `all` and `numbers` include the kept shards of the checkpoint with a budget.
    if row == "`keep_activations`" and target not in ("all", "numbers"):
        return rules
    return rules | BOTH if rules & BOTH and row not in WITHOUT_BUDGET else rules


assert OTHER_CHANGES.keys() | LEFT_OUT <= CHANGES.keys()
ROWS = [row for row in CHANGES if row not in LEFT_OUT]
CASES = [(row, target) for row in ROWS for target in TARGETS]


@pytest.mark.parametrize(("row", "target"), CASES if ALL else CASES[2::11], ids=lambda word: word)
def test_a_change_runs_the_rules_of_the_table(swept, row, target):
    for change in OTHER_CHANGES.get(row, CHANGES[row]):
        assert planned(swept, change, target) == expected_of_hub(row, target), change


def test_nothing_runs_without_a_change(swept):
    for target in TARGETS:
        assert "Nothing to be done" in sweep(swept, "--dry-run", target).stdout


def times(folder):
    """Return the times at which the outputs of the jobs were written."""
    kinds = ("geometry", "budgets", "tokenizers")
    paths = [path for kind in kinds for path in (folder / "results" / kind).rglob("*")]
    return {path: path.stat().st_mtime_ns for path in paths if path.is_file()}


def weights(hub):
    """Return the paths of weights that were downloaded."""
    requested = [path for method, path in hub.asked if method == "GET"]
    return [path for path in requested if path.endswith(".safetensors")]


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished sweep."""
    folder = tmp_path / "copy"
    shutil.copytree(finished, folder)
    return folder


@pytest.mark.parametrize(
    "change",
    [
        {"suites.mine.only": ["first", "second"]},
        {"suites.mine.only": ["first", "third"], "suites.mine.repositories": REPOSITORIES[::-1]},
    ],
    ids=["only", "repositories"],
)
def test_a_new_run_does_not_repeat_a_measured_run(hub, copied, change):
    before, hub.asked = times(copied), []
    configure(copied, change)
    complete(copied, "numbers")
    after = times(copied)
    assert {path: after[path] for path in before} == before
    assert len(after) > len(before)
    assert weights(hub) and not any("/first/" in path for path in weights(hub))


@pytest.mark.parametrize(
    ("change", "n_fetched"),
    [
        ({"scratch": "scratch"}, 0),
        ({"checkpoints_per_job": 1}, 0),
        # Only the last checkpoint has a budget, so only its weights are downloaded.
        ({"budget.rise": 0.1}, 1),
        ({"geometry.n_points": 50}, 3),
        ({"checkpoints": {"steps": [0, 1, 4, 8]}}, 1),
    ],
    ids=str,
)
def test_only_weights_for_missing_results_are_downloaded(hub, copied, change, n_fetched):
    hub.asked = []
    if "scratch" in change:
        change = {"scratch": str(copied / "scratch")}
    configure(copied, change)
    complete(copied, "numbers")
    assert len(weights(hub)) == n_fetched
    assert "Nothing to be done" in sweep(copied, "--dry-run", "numbers").stdout


def failures(folder):
    return read(folder, "failures").reason.tolist()


def test_a_leftover_download_is_not_used_for_other_jobs(hub, copied):
    configure(copied, {"checkpoints_per_job": 1})
    # All checkpoints of these batches have already been measured, so no weights are downloaded.
    complete(copied, "numbers", "--notemp")
    left = list((copied / "results/checkpoints/mine/first").glob("*/*"))
    assert left and not any([*folder.glob("*.safetensors")] for folder in left)
    configure(copied, {"corpus.text": "other.txt"})
    complete(copied, "numbers")
    assert failures(copied) == ["empty_main"]


def test_a_download_that_failed_is_tried_again_with_notemp(hub, copied):
    shutil.rmtree(copied / "results/measured")
    configure(copied, {"geometry.n_points": 60})
    commit = hub.repositories["Org/first"].branches["step1"]
    hub.broken[f"/Org/first/resolve/{commit}/model.safetensors"] = 500
    complete(copied, "numbers", "--notemp")
    hub.broken.clear()
    assert len(failures(copied)) == 2
    complete(copied, "numbers", "--notemp")
    assert failures(copied) == ["empty_main"]
    assert "Nothing to be done" in sweep(copied, "--dry-run", "numbers").stdout


def test_a_kept_budget_is_not_measured_again(hub, copied):
    (path,) = (copied / "results/budgets/mine/first/step8").glob("*.parquet")
    content = path.read_bytes()
    path.unlink()
    hub.asked = []
    complete(copied, "numbers")
    assert path.read_bytes() == content
    assert not weights(hub)
    # If the file of the saved budget is damaged, the file is not used.
    (kept,) = (copied / "results/measured/mine/first/.budgets").iterdir()
    for damaged in (kept, path):
        damaged.write_bytes(b"PAR1")
    path.unlink()
    complete(copied, "numbers")
    assert path.read_bytes() == content
    assert len(weights(hub)) == 1
