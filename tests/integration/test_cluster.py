"""Jobs run in separate processes that make their own plans, as on a cluster.

The scheduler is a shell script that starts each job.
"""

import shutil

import pytest

from helpers.workflow import SUBMIT, complete, read, refused, settings, submitting, sweep, write


@pytest.fixture
def options(tmp_path):
    return submitting(tmp_path)


def test_checkpoints_that_failed_transiently_are_measured_by_the_next_sweep(
    standin, publish, options, tmp_path, text_file
):
    folder = tmp_path / "sweep"
    suites, budget = publish([0, 1, 8]), {"checkpoints": {"neox": "last"}}
    write(folder, settings(text_file, suites=suites, corpora=["text"], budget=budget))
    step8 = standin.repositories["Org/neox"].branches["step8"]
    standin.broken[f"/Org/neox/resolve/{step8}/model.safetensors"] = 500
    complete(folder, "numbers", *options)
    assert measured(folder) == {"step0", "step1"}
    standin.broken.clear()
    complete(folder, "numbers", *options)
    assert measured(folder) == {"step0", "step1", "step8"}
    assert set(read(folder, "budgets").revision) == {"step8"}
    assert not len(read(folder, "failures").query("step == 8"))
    assert "Nothing to be done" in sweep(folder, "numbers").stdout


def measured(folder):
    """Return the revisions that have been measured."""
    return set(read(folder, "geometry").revision)


def test_a_text_that_changes_before_a_job_starts_is_reported(options, runs, tmp_path, text_file):
    """Jobs on a cluster may start long after the plan was made."""
    folder = tmp_path / "sweep"
    shutil.copytree(runs / "decoder", folder / "runs/decoder")
    text = folder / "text.txt"
    shutil.copyfile(text_file, text)
    suites = {"mine": {"source": "local", "runs": {"a": "runs/decoder"}}}
    write(folder, settings(text, suites=suites, corpora=["text"]))
    # The scheduler changes the text of the corpus before it starts a job.
    submit = tmp_path / "submit"
    change = f"printf more >> '{text}'\n"
    submit.write_text(SUBMIT.replace("sh ", change + "sh ", 1), encoding="utf-8")
    output = refused(folder, "numbers", *options)
    assert "text.txt has changed since the plan was made; run again" in output
    submit.write_text(SUBMIT, encoding="utf-8")
    complete(folder, "numbers", *options)
    assert len(measured(folder)) == 3


def test_checkpoints_with_the_names_of_lightning_are_measured(options, runs, tmp_path, text_file):
    """Snakemake passes the wildcards of a job to its process as `<wildcard>=<value>`."""
    folder = tmp_path / "sweep"
    names = {f"epoch=0-step={step}" for step in (10, 100)}
    for step in (10, 100):
        copied = folder / f"runs/decoder/epoch=0-step={step}"
        shutil.copytree(runs / f"decoder/checkpoint-{step}", copied)
    suite = {"source": "local", "runs": {"a": "runs/decoder"}, "pattern": r".*=(?P<step>\d+)"}
    budget = {"checkpoints": {"mine": "last"}}
    write(folder, settings(text_file, suites={"mine": suite}, corpora=["text"], budget=budget))
    complete(folder, "numbers", *options)
    assert measured(folder) == names
    assert set(read(folder, "geometry").step) == {10, 100}
    assert set(read(folder, "budgets").revision) == {"epoch=0-step=100"}
    assert "Nothing to be done" in sweep(folder, "numbers").stdout
