"""Jobs log their progress in lines that users and the progress display of the sweep can read."""

import pytest

from shapesweep import progress
from snakemake_logger_plugin_shapesweep.ledger import Ledger


def test_progress_lines_in_a_log_can_be_parsed(capsys, monkeypatch):
    monkeypatch.setattr(progress, "INTERVAL", 0)
    assert list(progress.track("abc", "measuring", "layers")) == ["a", "b", "c"]
    text = capsys.readouterr().err
    assert "\r" not in text
    lines = text.splitlines()
    # When the progress bar is closed, the last line is printed again.
    parsed = list(dict.fromkeys(progress.read(line) for line in lines))
    assert parsed == [("measuring", n, 3) for n in (0, 1, 2, 3)]
    assert lines[-1].endswith("00:00 left")
    assert progress.read(text + "something else\n") == ("measuring", 3, 3)


def test_log_has_few_progress_lines(capsys):
    for _ in progress.track(range(1000), "training", "steps"):
        pass
    # Only the first and the last line are printed, because the loop ends before another line is
    # due.
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_log_without_progress_lines_gives_none():
    assert progress.read("") is None
    assert progress.read("Traceback (most recent call last):\n  boom 3 of 4") is None


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def ledger():
    result = Ledger(clock=Clock())
    result.plan({"train": 1, "activations": 4, "geometry": 4, "summary": 1, "all": 1, "total": 11})
    return result


def run(ledger, number, rule, seconds):
    ledger.start(number, rule, rule, None)
    ledger.clock.now += seconds
    ledger.finish(number)


def test_time_left_is_empty_while_it_is_unknown(ledger):
    assert (ledger.n_planned, ledger.left()) == (10, "")
    ledger.start(1, "train", "training", None)
    ledger.clock.now += 50
    assert ledger.left() == ""


def test_time_left_is_estimated_from_finished_jobs(ledger):
    run(ledger, 1, "train", 100)
    # The duration of most remaining jobs is unknown, because no job of the same rule has finished.
    assert ledger.left().startswith("at least")
    run(ledger, 2, "activations", 10)
    run(ledger, 3, "geometry", 20)
    # Three jobs of `activations` take 10 s each, and three jobs of `geometry` take 20 s each. For
    # the job of `summary`, the median of the known durations is added.
    assert ledger.left() == "about 2 min left"
    for number in (4, 6, 8):
        run(ledger, number, "activations", 10)
        run(ledger, number + 1, "geometry", 20)
    assert (ledger.n_done, ledger.left()) == (9, "about 20 s left")
    run(ledger, 10, "summary", 1)
    assert ledger.left() == ""


def test_progress_of_a_job_is_read_from_its_log(ledger, tmp_path):
    log = tmp_path / "train.log"
    ledger.start(1, "train", "training s/r", log)
    assert ledger.running[1].progress() is None
    log.write_text("training: 0 of 512 steps, ? left\ntraining: 128 of 512 steps, 01:30 left\n")
    assert ledger.running[1].progress() == ("training", 128, 512)
    ledger.clock.now += 30
    # A quarter of the training took 30 s. The duration of all other jobs is unknown.
    assert ledger.left() == "at least 90 s left" or ledger.left() == "at least 2 min left"


def test_parallel_jobs_share_the_time_left(ledger):
    run(ledger, 1, "train", 1)
    run(ledger, 2, "activations", 10)
    run(ledger, 3, "geometry", 10)
    ledger.start(4, "activations", "a", None)
    alone = ledger.left()
    ledger.start(5, "geometry", "b", None)
    assert (alone, ledger.left()) == ("about 70 s left", "about 35 s left")


def test_failed_job_does_not_count_as_done(ledger):
    ledger.start(1, "train", "training", None)
    ledger.fail(1)
    assert (ledger.n_done, ledger.running) == (0, {})
