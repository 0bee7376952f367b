"""Progress: lines in a log that a person and the display of the sweep can read."""

import pytest

from shapesweep import progress
from snakemake_logger_plugin_shapesweep.ledger import Ledger


def test_in_a_log_every_word_is_a_line_that_can_be_read_back(capsys, monkeypatch):
    monkeypatch.setattr(progress, "INTERVAL", 0)
    assert list(progress.track("abc", "measuring", "layers")) == ["a", "b", "c"]
    said = capsys.readouterr().err
    assert "\r" not in said
    lines = said.splitlines()
    # The end is told once more when the bar is closed.
    told = list(dict.fromkeys(progress.read(line) for line in lines))
    assert told == [("measuring", n, 3) for n in (0, 1, 2, 3)]
    assert lines[-1].endswith("00:00 left")
    assert progress.read(said + "something else\n") == ("measuring", 3, 3)


def test_in_a_log_there_are_few_lines(capsys):
    for _ in progress.track(range(1000), "training", "steps"):
        pass
    # The first and the last; the work takes far less than the interval between two.
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_log_without_progress_tells_none():
    assert progress.read("") is None
    assert progress.read("Traceback (most recent call last):\n  boom 3 of 4") is None


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def ledger():
    made = Ledger(clock=Clock())
    made.plan({"train": 1, "activations": 4, "geometry": 4, "summary": 1, "all": 1, "total": 11})
    return made


def run(ledger, number, rule, seconds):
    ledger.start(number, rule, rule, None)
    ledger.clock.now += seconds
    ledger.finish(number)


def test_the_time_left_is_not_guessed_before_it_can_be_known(ledger):
    assert (ledger.n_planned, ledger.left()) == (10, "")
    ledger.start(1, "train", "training", None)
    ledger.clock.now += 50
    assert ledger.left() == ""


def test_the_time_left_comes_from_the_jobs_that_are_done(ledger):
    run(ledger, 1, "train", 100)
    # What follows is not known yet, and is most of it.
    assert ledger.left().startswith("at least")
    run(ledger, 2, "activations", 10)
    run(ledger, 3, "geometry", 20)
    # 3 · 10 + 3 · 20, and the summary at the middle of what is known.
    assert ledger.left() == "about 2 min left"
    for number in (4, 6, 8):
        run(ledger, number, "activations", 10)
        run(ledger, number + 1, "geometry", 20)
    assert (ledger.n_done, ledger.left()) == (9, "about 20 s left")
    run(ledger, 10, "summary", 1)
    assert ledger.left() == ""


def test_a_jobs_own_log_tells_how_far_it_is(ledger, tmp_path):
    log = tmp_path / "train.log"
    ledger.start(1, "train", "training s/r", log)
    assert ledger.running[1].progress() is None
    log.write_text("training: 0 of 512 steps, ? left\ntraining: 128 of 512 steps, 01:30 left\n")
    assert ledger.running[1].progress() == ("training", 128, 512)
    ledger.clock.now += 30
    # A quarter took 30 s; nothing is known of the rest of the sweep.
    assert ledger.left() == "at least 90 s left" or ledger.left() == "at least 2 min left"


def test_jobs_side_by_side_share_the_time(ledger):
    run(ledger, 1, "train", 1)
    run(ledger, 2, "activations", 10)
    run(ledger, 3, "geometry", 10)
    ledger.start(4, "activations", "a", None)
    alone = ledger.left()
    ledger.start(5, "geometry", "b", None)
    assert (alone, ledger.left()) == ("about 70 s left", "about 35 s left")


def test_a_failed_job_does_not_count(ledger):
    ledger.start(1, "train", "training", None)
    ledger.fail(1)
    assert (ledger.n_done, ledger.running) == (0, {})
