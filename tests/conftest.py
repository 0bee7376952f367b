"""Fixtures of several test modules: a text, tokenizers, tiny checkpoints, and folders to sweep."""

import json
import os
import shutil

import pytest
import torch
import transformers

from helpers import requirements, workflow
from helpers.models import TEXT, tiny_bert, tiny_llama
from helpers.plans import HUB, Sweep, list_hub
from shapesweep import corpora
from shapesweep.config import files
from shapesweep.corpora import read_text
from shapesweep.training import train


def pytest_xdist_auto_num_workers():
    """One more than cores: tests of Slurm and of the Hub mostly wait. Each takes 2 GB at most."""
    return min(os.cpu_count() or 1, 8) + 1


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter):
    """End with a line on the tests that were skipped, if there are any."""
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
    """A decoder's tokenizer and an encoder's, by family."""
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
        auto = {
            "decoder": transformers.AutoModelForCausalLM,
            "encoder": transformers.AutoModelForMaskedLM,
        }[family]
        model = auto.from_config(config).eval()
        model.save_pretrained(folder)
        if tokenizer:
            tokenizers[family].save_pretrained(folder)
        return model

    return make


@pytest.fixture
def settings(text_file):
    """A sweep's configuration that is small enough for a test."""
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
    """A function from a tokenizer to the corpora that the test's configuration gives."""

    def build(tokenizer, **more):
        chosen = settings.corpus.model_copy(update=more)
        return corpora.build(
            ("text", "random", "shuffled"), read_text(chosen.text), tokenizer, chosen, 300
        )

    return build


@pytest.fixture(scope="session")
def runs(tmp_path_factory, text_file, tokenizers):
    """Two runs of three checkpoints in Trainer's layout."""
    folder = tmp_path_factory.mktemp("runs")
    for run, shape, auto in (
        ("decoder", tiny_llama(), transformers.AutoModelForCausalLM),
        ("encoder", tiny_bert(), transformers.AutoModelForMaskedLM),
    ):
        for step in (0, 10, 100):
            place = folder / run / f"checkpoint-{step}"
            torch.manual_seed(step)
            auto.from_config(shape).save_pretrained(place)
            tokenizers[run].save_pretrained(place)
            history = [{"step": s, "loss": 6.0 - s / 100} for s in range(5, step + 1, 5)]
            state = json.dumps({"log_history": history})
            (place / "trainer_state.json").write_text(state, encoding="utf-8")
    return folder


@pytest.fixture
def workspace(tmp_path, runs, text_file):
    """A folder with a space and an umlaut in its name, a configuration, and its own checkpoints."""
    folder = tmp_path / "mein Prüfstand"
    shutil.copytree(runs, folder / "runs")
    paths = {run: f"runs/{run}" for run in ("decoder", "encoder")}
    suites = {"tiny": {"source": "local", "runs": paths}}
    workflow.write(folder, workflow.settings(text_file, suites=suites))
    return folder


@pytest.fixture
def clone(tmp_path):
    """The program in another place, as a fresh clone has it: all its files are new."""
    folder = tmp_path / "clone"
    folder.mkdir()
    shutil.copyfile(workflow.ROOT / "Snakefile", folder / "Snakefile")
    for name in ("workflow", "config", "profiles", "envs"):
        # Contents without dates, so that everything is newer than any result.
        shutil.copytree(workflow.ROOT / name, folder / name, copy_function=shutil.copyfile)
    return folder


@pytest.fixture
def sweep(tmp_path):
    """A sweep for plans without Snakemake; it has no checkpoint yet."""
    return Sweep(tmp_path)


@pytest.fixture
def one(sweep):
    """A sweep of one checkpoint."""
    sweep.train(1)
    return sweep


@pytest.fixture
def hub(sweep):
    """A sweep of a suite on the Hub."""
    sweep.raw["suites"] = {"hub": HUB}
    list_hub(sweep.results)
    return sweep
