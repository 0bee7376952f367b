"""Fixtures for several test modules: a text, tokenizers, tiny checkpoints and sweep folders."""

import json
import os
import shutil

import pytest
import torch

from helpers import hub_suites, requirements, workflow
from helpers.models import AUTO, TEXT, tiny_bert, tiny_llama
from helpers.plans import HUB, Sweep, list_hub
from helpers.standin import serving
from shapesweep import corpora
from shapesweep.config import files
from shapesweep.corpora import read_text
from shapesweep.training import train


def pytest_xdist_auto_num_workers():
    """Return the number of test workers: the number of cores (at most 8) plus one.

    The extra worker is useful because tests of Slurm and of the Hub mostly wait. A worker needs at
    most 2 GB of memory.
    """
    return min(os.cpu_count() or 1, 8) + 1


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter):
    """Print a line about the skipped tests at the end of the output, if any test is skipped."""
    skipped = [
        (report.nodeid.partition("::")[0], report.longrepr[2].removeprefix("Skipped: "))
        for report in terminalreporter.stats.get("skipped", [])
    ]
    if skipped:
        terminalreporter.write_line(requirements.closing_line(skipped))


@pytest.fixture(scope="session")
def text_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("text") / "birds.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tokenizers():
    """The tokenizer of a decoder and the tokenizer of an encoder, by family."""
    return {
        "decoder": train.make_tokenizer(TEXT, 300, masked=False),
        "encoder": train.make_tokenizer(TEXT, 300, masked=True),
    }


@pytest.fixture
def make_checkpoint(tokenizers):
    """A function that saves a tiny model with random weights as a checkpoint."""

    def make(folder, family="decoder", seed=0, config=None, tokenizer=True):
        torch.manual_seed(seed)
        config = config or (tiny_llama() if family == "decoder" else tiny_bert())
        model = AUTO[family].from_config(config).eval()
        model.save_pretrained(folder)
        if tokenizer:
            tokenizers[family].save_pretrained(folder)
        return model

    return make


@pytest.fixture
def settings(text_file):
    """The configuration of a small sweep."""
    return files.validate(
        {
            "suites": {"local": {"source": "local", "runs": {"run": "nowhere"}}},
            "corpus": {"text": str(text_file), "documents": 16, "length": 24},
            "geometry": {"n_points": 128, "groups": 4},
            "corpora": ["text", "random", "shuffled"],
            "batch_tokens": 96,
            "device": "cpu",
        }
    )


@pytest.fixture
def build_corpora(settings):
    """A function that builds the configured corpora for a tokenizer."""

    def build(tokenizer, n_embeddings=300, **more):
        chosen = settings.corpus.model_copy(update=more)
        texts = {text: read_text(text) for text in chosen.texts}
        return corpora.build(settings.corpora, texts, tokenizer, chosen, n_embeddings)

    return build


@pytest.fixture(scope="session")
def runs(tmp_path_factory, text_file, tokenizers):
    """Two runs with three checkpoints each, in the layout of transformers.Trainer."""
    folder = tmp_path_factory.mktemp("runs")
    for run, shape in (("decoder", tiny_llama()), ("encoder", tiny_bert())):
        for step in (0, 10, 100):
            checkpoint = folder / run / f"checkpoint-{step}"
            torch.manual_seed(step)
            AUTO[run].from_config(shape).save_pretrained(checkpoint)
            tokenizers[run].save_pretrained(checkpoint)
            history = [{"step": s, "loss": 6.0 - s / 100} for s in range(5, step + 1, 5)]
            state = json.dumps({"log_history": history})
            (checkpoint / "trainer_state.json").write_text(state, encoding="utf-8")
    return folder


@pytest.fixture
def workspace(tmp_path, runs, text_file):
    """A folder with a configuration and checkpoints.

    The name of the folder contains a space and an umlaut.
    """
    folder = tmp_path / "mein Prüfstand"
    shutil.copytree(runs, folder / "runs")
    workflow.write(folder, workflow.settings(text_file, suites=workflow.TINY))
    return folder


@pytest.fixture
def clone(tmp_path):
    """A copy of the program in another folder. All files are new, as in a fresh clone."""
    folder = tmp_path / "clone"
    folder.mkdir()
    shutil.copyfile(workflow.ROOT / "Snakefile", folder / "Snakefile")
    for name in ("workflow", "config", "profiles", "envs"):
        # copyfile does not copy modification times, so every file is newer than any result.
        shutil.copytree(workflow.ROOT / name, folder / name, copy_function=shutil.copyfile)
    return folder


@pytest.fixture
def standin(tmp_path, monkeypatch):
    """A stand-in for the Hub. The variable HF_ENDPOINT directs commands to the stand-in."""
    with serving(monkeypatch, tmp_path / "hf") as server:
        yield server


@pytest.fixture
def publish(standin, tmp_path, tokenizers):
    """A function that publishes a run on the stand-in, and returns a suite with this run."""

    def publish(steps, config=None):
        decoder = tokenizers["decoder"]
        hub_suites.publish_run(standin, "Org/neox", steps, decoder, tmp_path, config)
        return {"neox": hub_suites.NEOX}

    return publish


@pytest.fixture
def sweep(tmp_path):
    """A sweep without checkpoints, for tests of the plan that do not use Snakemake."""
    return Sweep(tmp_path)


@pytest.fixture
def one(sweep):
    """A sweep with a single checkpoint."""
    sweep.train(1)
    return sweep


@pytest.fixture
def hub(sweep):
    """A sweep with a suite on the Hub."""
    sweep.raw["suites"] = {"hub": HUB}
    list_hub(sweep.results)
    return sweep
