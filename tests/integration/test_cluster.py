"""Jobs in separate processes, which make their own plans, as on a cluster.

The scheduler is a shell script that starts each job.
"""

import shutil

import pytest

from helpers.hub_suites import files, tiny_neox, trajectory
from helpers.standin import StandIn
from helpers.workflow import SUBMIT, settings, submitting, sweep, write
from shapesweep.storage import schemas, tables


@pytest.fixture
def options(tmp_path):
    return submitting(tmp_path)


@pytest.fixture
def hub(tmp_path, monkeypatch, tokenizers):
    """A stand-in for the Hub with a run of three checkpoints."""
    tokenizer = files(tokenizers["decoder"], tmp_path / "t")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    with StandIn() as standin:
        for step, model in trajectory(tiny_neox(), (0, 1, 8)):
            standin.add("Org/neox", f"step{step}", files(model, tmp_path / "m") | tokenizer)
        monkeypatch.setenv("HF_ENDPOINT", standin.url)
        yield standin


def test_transient_failures_are_measured_by_the_next_sweep(hub, options, tmp_path, text_file):
    folder = tmp_path / "sweep"
    folder.mkdir()
    suite = {"source": "hub", "mode": "branches", "match": r"step(?P<step>\d+)"}
    suite["repositories"] = ["Org/neox"]
    budget = {"checkpoints": {"neox": "last"}}
    suites = {"neox": suite}
    write(folder, settings(text_file, suites=suites, corpora=["text"], budget=budget))
    (step8,) = (commit for name, commit in branches(hub).items() if name == "step8")
    broken = f"/Org/neox/resolve/{step8}/model.safetensors"
    hub.broken.add(broken)
    done = sweep(folder, "numbers", *options)
    assert done.returncode == 0, done.stdout
    assert measured(folder) == {"step0", "step1"}
    hub.broken.clear()
    done = sweep(folder, "numbers", *options)
    assert done.returncode == 0, done.stdout
    assert measured(folder) == {"step0", "step1", "step8"}
    budgets = tables.read(folder / "results/budgets.parquet", schemas.BUDGETS)
    assert set(budgets.revision) == {"step8"}
    assert not len(
        tables.read(folder / "results/failures.parquet", schemas.FAILURES).query("step == 8")
    )
    assert "Nothing to be done" in sweep(folder, "numbers").stdout


def branches(hub):
    return hub.repositories["Org/neox"].branches


def measured(folder):
    """Return the revisions that have been measured."""
    return set(tables.read(folder / "results/geometry.parquet", schemas.GEOMETRY).revision)


def test_a_text_that_changes_before_a_job_starts_is_reported(options, runs, tmp_path, text_file):
    """Jobs on a cluster may start long after the plan was made."""
    folder = tmp_path / "sweep"
    folder.mkdir()
    shutil.copytree(runs / "decoder", folder / "runs/decoder")
    text = folder / "text.txt"
    shutil.copyfile(text_file, text)
    suites = {"mine": {"source": "local", "runs": {"a": "runs/decoder"}}}
    write(folder, settings(text, suites=suites, corpora=["text"]))
    # The scheduler changes the text before it starts a job.
    submit = tmp_path / "submit"
    change = f"printf more >> '{text}'\n"
    submit.write_text(SUBMIT.replace("sh ", change + "sh ", 1), encoding="utf-8")
    done = sweep(folder, "numbers", *options)
    assert done.returncode != 0
    assert "text.txt has changed since the plan was made; run again" in done.stdout
    assert "Traceback" not in done.stdout
    submit.write_text(SUBMIT, encoding="utf-8")
    done = sweep(folder, "numbers", *options)
    assert done.returncode == 0, done.stdout
    assert len(measured(folder)) == 3
