"""Secrets: the user's token is sent to the Hub, and told to nobody else."""

import logging

import huggingface_hub.constants
import pytest
import yaml

from helpers.standin import StandIn
from shapesweep import cli
from shapesweep.config import files as config_files
from shapesweep.hub import client
from shapesweep.plan.workflow import Plan

SECRET = "hf_secretOfTheUser"


@pytest.fixture
def standin(monkeypatch, tmp_path):
    """A Hub that echoes the token in all its errors."""
    with StandIn() as server:
        files = f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        for name, value in (
            *(("ENDPOINT", server.url), ("HUGGINGFACE_CO_URL_TEMPLATE", files)),
            ("HF_HUB_CACHE", str(tmp_path / "cache")),
        ):
            monkeypatch.setattr(huggingface_hub.constants, name, value)
        monkeypatch.setenv("HF_TOKEN", SECRET)
        monkeypatch.setattr(client, "ATTEMPTS", 2)
        # The client waits between its own attempts, too.
        monkeypatch.setattr("time.sleep", lambda _: None)
        server.is_telltale = True
        server.add("org/a", "step1", {"config.json": b"{}", "model.safetensors": b"x" * 99})
        yield server


@pytest.fixture
def verb(tmp_path, monkeypatch):
    """A function that runs one verb of a sweep of the stand-in's suite."""
    monkeypatch.chdir(tmp_path)
    suite = {"source": "hub", "mode": "branches", "match": r"step(?P<step>\d+)"}
    suites = {"s": {**suite, "repositories": ["org/a"]}}
    text = yaml.safe_dump({"suites": suites, "corpora": ["text"]})
    (tmp_path / "sweep.yaml").write_text(text, encoding="utf-8")
    return lambda *words: cli.main([*words])


def answers(standin, status, where=""):
    """Let the Hub answer so, to all that it is asked for at a place."""

    def scripted():
        return (str(status), {}) if where in standin.asked[-1][1] else None

    standin.scripted = scripted


@pytest.mark.parametrize("status", [400, 401, 403, 404, 418, 429, 500, 503])
def test_no_answer_of_the_hub_brings_the_token_to_light(
    standin, verb, tmp_path, status, capfd, caplog
):
    caplog.set_level(logging.INFO)
    (tmp_path / "results/listings").mkdir(parents=True)
    definition = config_files.load("sweep.yaml").suites["s"].model_dump_json()
    suite = ["--definition", definition, "--suite", "s", "--results", "results"]
    listing = ["listing", *suite, "--out", "results/listings/s.json"]
    answers(standin, status)
    verb(*listing)
    standin.scripted = lambda: None
    assert verb(*listing) == 0
    record = Plan(config_files.load("sweep.yaml"), "results").record("s")
    (tmp_path / "plan.json").write_text(record, encoding="utf-8")
    manifest, tokenizer = "results/manifests/s.parquet", "results/tokenizers/s/a"
    assert verb("manifest", "--plan", "plan.json", "--results", "results", "--out", manifest) == 0
    answers(standin, status, "/resolve/")
    assert verb("tokenizer", *suite, "--run", "a", "--out", tokenizer) == 0
    out = "results/checkpoints/s/a/step1/0123456789ab"
    one = ["--settings", "sweep.yaml", "--manifest", manifest, "--run", "a", "--revision", "step1"]
    disk = ["--temporary", "results", "--room", "100000", "--bytes", "1000"]
    assert verb("download", *one, *disk, "--out", out) == 0
    assert (tmp_path / out / "failed.json").is_file()
    # The reasons why nothing could be measured.
    tables = ["--temporary", "results", "--measured", "results/measured", "--out", "results/tables"]
    assert verb("geometry", *one, "--checkpoints", out, *tables) == 0
    assert (tmp_path / "results/tables/failures.parquet").is_file()

    assert standin.n_told
    printed = capfd.readouterr()
    assert printed.out
    for text in (printed.out, printed.err, caplog.text):
        assert SECRET not in text
        assert "Traceback" not in text
    for path in tmp_path.rglob("*"):
        assert SECRET not in path.name
        assert path.is_dir() or SECRET.encode() not in path.read_bytes()
