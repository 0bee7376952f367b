"""The token of the user is sent to the Hub, and appears nowhere else."""

import logging

import pytest

from helpers.plans import HUB
from helpers.standin import serving_here
from helpers.workflow import write
from shapesweep import cli
from shapesweep.config import files as config_files
from shapesweep.hub import client
from shapesweep.plan.workflow import Plan

SECRET = "hf_secretOfTheUser"


@pytest.fixture
def standin(monkeypatch, tmp_path):
    """A stand-in for the Hub whose error responses contain the token."""
    with serving_here(monkeypatch, tmp_path / "cache") as server:
        monkeypatch.setenv("HF_TOKEN", SECRET)
        monkeypatch.setattr(client, "ATTEMPTS", 2)
        # Both shapesweep and huggingface_hub sleep between attempts.
        monkeypatch.setattr("time.sleep", lambda _: None)
        server.echoes_token = True
        server.add("org/a", "step1", {"config.json": b"{}", "model.safetensors": b"x" * 99})
        yield server


def answer_with(standin, status, part=""):
    """Set the HTTP status of the response to every request whose path contains `part`."""

    def scripted():
        return (str(status), {}) if part in standin.asked[-1][1] else None

    standin.scripted = scripted


@pytest.mark.parametrize("status", [400, 401, 403, 404, 418, 429, 500, 503])
def test_the_token_is_never_printed_logged_or_written(
    standin, tmp_path, status, monkeypatch, capfd, caplog
):
    caplog.set_level(logging.INFO)
    monkeypatch.chdir(tmp_path)
    write(tmp_path, {"suites": {"s": HUB}, "corpora": ["text"]})
    (tmp_path / "results/listings").mkdir(parents=True)
    configuration = config_files.load("sweep.yaml")
    definition = configuration.suites["s"].model_dump_json()
    suite = ["--definition", definition, "--suite", "s", "--results", "results"]
    listing = ["listing", *suite, "--out", "results/listings/s.json"]
    answer_with(standin, status)
    cli.main(listing)
    standin.scripted = lambda: None
    assert cli.main(listing) == 0
    record = Plan(configuration, "results").record("s")
    (tmp_path / "plan.json").write_text(record, encoding="utf-8")
    manifest, tokenizer = "results/manifests/s.parquet", "results/tokenizers/s/a"
    describe = ["manifest", "--plan", "plan.json", "--results", "results", "--out", manifest]
    assert cli.main(describe) == 0
    answer_with(standin, status, "/resolve/")
    assert cli.main(["tokenizer", *suite, "--run", "a", "--out", tokenizer]) == 0
    out = "results/checkpoints/s/a/step1/0123456789ab"
    checkpoint = ["--settings", "sweep.yaml", "--manifest", manifest]
    checkpoint += ["--run", "a", "--revision", "step1"]
    disk = ["--temporary", "results", "--room", "100000", "--bytes", "1000"]
    assert cli.main(["download", *checkpoint, *disk, "--out", out]) == 0
    assert (tmp_path / out / "failed.json").is_file()
    # The Hub's error messages are copied to the table of failures.
    tables = ["--temporary", "results", "--measured", "results/measured", "--out", "results/tables"]
    assert cli.main(["geometry", *checkpoint, "--checkpoints", out, *tables]) == 0
    assert (tmp_path / "results/tables/failures.parquet").is_file()

    assert standin.n_echoes
    printed = capfd.readouterr()
    assert printed.out
    for text in (printed.out, printed.err, caplog.text):
        assert SECRET not in text
        assert "Traceback" not in text
    for path in tmp_path.rglob("*"):
        assert SECRET not in path.name
        assert path.is_dir() or SECRET.encode() not in path.read_bytes()
