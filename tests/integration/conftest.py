"""What the integration tests share: tiny runs, a workspace, and the command that sweeps it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import tiny_bert, tiny_llama

ROOT = Path(__file__).parents[2]


def command(folder, *arguments, snakefile=ROOT / "Snakefile"):
    """Words and environment of `snakemake` in a folder; the program is the Snakefile's own."""
    scripts = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    # A clone elsewhere brings its own package.
    package = (
        snakefile.parent if snakefile.parent.name == "workflow" else snakefile.parent / "workflow"
    )
    environment["PYTHONPATH"] = str(package)
    words = [sys.executable, "-m", "snakemake", "--configfile", folder / "sweep.yaml"]
    words += ["--snakefile", snakefile, "--directory", folder, "--cores", "2", *arguments]
    return {"args": list(map(str, words)), "cwd": folder, "env": environment, "text": True}


def sweep(folder, *arguments, **more):
    """Run `snakemake`; both its streams are in `stdout`.

    With the target `numbers` all is measured and told, and nothing drawn.
    """
    return subprocess.run(
        **command(folder, *arguments, **more),
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def plan(folder, *arguments, **more):
    """Number of jobs a rule, as a dry run tells it."""
    planned = sweep(folder, "--dry-run", *arguments, **more)
    assert planned.returncode == 0, planned.stdout
    words = [line.split() for line in planned.stdout.splitlines()]
    return {pair[0]: int(pair[1]) for pair in words if len(pair) == 2 and pair[1].isdigit()}


def settings(text_file, **more):
    """A sweep of seconds."""
    return {
        "corpus": {"text": str(text_file), "documents": 16, "length": 16},
        "geometry": {"n_points": 100, "groups": 4},
        "corpora": ["text", "random", "shuffled"],
        "device": "cpu",
        "checkpoints_per_job": 1,
        **more,
    }


def write(folder, configuration):
    """Write a workspace's configuration."""
    (folder / "sweep.yaml").write_text(yaml.safe_dump(configuration), encoding="utf-8")


@pytest.fixture(scope="session")
def runs(tmp_path_factory, text_file, tokenizers):
    """Two runs of three checkpoints in Trainer's layout."""
    import torch
    import transformers

    folder = tmp_path_factory.mktemp("runs")
    for run, config, auto in (
        ("decoder", tiny_llama(), transformers.AutoModelForCausalLM),
        ("encoder", tiny_bert(), transformers.AutoModelForMaskedLM),
    ):
        for step in (0, 10, 100):
            place = folder / run / f"checkpoint-{step}"
            torch.manual_seed(step)
            auto.from_config(config).save_pretrained(place)
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
    write(folder, settings(text_file, suites={"tiny": {"source": "local", "runs": paths}}))
    return folder


@pytest.fixture
def clone(tmp_path):
    """The program in another place, as a fresh clone has it: all its files are new."""
    folder = tmp_path / "clone"
    folder.mkdir()
    shutil.copyfile(ROOT / "Snakefile", folder / "Snakefile")
    for name in ("workflow", "config", "profiles", "envs"):
        # Contents without dates, so that everything is newer than any result.
        shutil.copytree(ROOT / name, folder / name, copy_function=shutil.copyfile)
    return folder
