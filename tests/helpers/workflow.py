"""Run `snakemake` on this workflow, in the folder of a test.

Commands run in forks of a server that has already imported their modules (`warm.py`). A fork runs
the same code as a new process, but starts three seconds faster. With `cold=True`, commands start in
new processes, as for a user.
"""

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from shapesweep.storage import schemas, tables

ROOT = Path(__file__).parents[2]
#: The folder of the executables of this environment.
SCRIPTS = Path(sys.executable).parent
WARM = Path(__file__).with_name("warm.py")
_PROGRAM = """#!/bin/sh
exec "{python}" -IS "{warm}" run "{socket}" {name} "$@"
"""
#: The model of an embedded suite, and the other keys of this suite. Its training takes seconds.
LLAMA = {
    **{"model_type": "llama", "hidden_size": 16, "intermediate_size": 32},
    **{"num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 2},
}
EMBEDDED = {
    **{"source": "embedded", "vocabulary": 300, "document_length": 16},
    **{"batch_size": 4, "logging_steps": 1},
}
#: A suite that contains the two runs in the folder `runs`.
TINY = {"tiny": {"source": "local", "runs": {run: f"runs/{run}" for run in ("decoder", "encoder")}}}
#: A scheduler that starts a job script, and prints the PID of its process.
SUBMIT = """#!/bin/sh
sh "$1" > "$1.out" 2>&1 &
echo $!
"""


def command(folder, *arguments, configfile="sweep.yaml", snakefile=ROOT / "Snakefile", cold=False):
    """Return the arguments with which `subprocess.run` starts `snakemake` in a folder.

    `configfile` is relative to the folder. If `configfile` is None, use the default configuration.
    """
    # A clone in another folder contains its own copy of the package, which the server has not
    # imported.
    cold = cold or not snakefile.is_relative_to(ROOT)
    package = (
        snakefile.parent if snakefile.parent.name == "workflow" else snakefile.parent / "workflow"
    )
    programs = [SCRIPTS] if cold else [warm_programs(), SCRIPTS]
    path = os.pathsep.join([*map(str, programs), os.environ["PATH"]])
    words = [programs[0] / "snakemake", "--snakefile", snakefile, "--directory", folder]
    words += ["--configfile", folder / configfile] if configfile else []
    words += ["--cores", "2", *arguments]
    environment = {**os.environ, "PATH": path, "PYTHONPATH": str(package)}
    return {"args": list(map(str, words)), "cwd": folder, "env": environment, "text": True}


def sweep(folder, *arguments, **more):
    """Run `snakemake`. The `stdout` of the result also contains the standard error.

    The target `numbers` measures everything, but draws no figure.
    """
    return subprocess.run(
        **command(folder, *arguments, **more),
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def complete(folder, *arguments, **more):
    """Run `snakemake`, check that it succeeds, and return its output."""
    done = sweep(folder, *arguments, **more)
    assert done.returncode == 0, done.stdout
    assert "Traceback" not in done.stdout, done.stdout
    return done.stdout


def refused(folder, *arguments, **more):
    """Run `snakemake`, check that it fails without a traceback, and return its output."""
    done = sweep(folder, *arguments, **more)
    assert done.returncode != 0, done.stdout
    assert "Traceback" not in done.stdout, done.stdout
    return done.stdout


def error_line(output):
    """Return the error line of an output, which must contain exactly one such line."""
    (line,) = [line for line in output.splitlines() if "error" in line]
    assert "shapesweep: error: " in line
    return line


def read(folder, name):
    """Return a table of the results, for example `curves/phases`."""
    schema = getattr(schemas, name.rpartition("/")[2].upper())
    return tables.read(folder / f"results/{name}.parquet", schema)


def submitting(folder):
    """Return options of `snakemake` that run every job in a separate process, as on a cluster."""
    submit = folder / "submit"
    submit.write_text(SUBMIT, encoding="utf-8")
    submit.chmod(0o755)
    return [
        *("--executor", "cluster-generic", "--cluster-generic-submit-cmd", submit),
        *("--jobs", 4, "--latency-wait", 5, "--retries", 0),
        # Schedulers allocate at least one core per job.
        *("--set-threads", "download=1", "tokenizer=1"),
    ]


def job(folder, *arguments):
    """Run a `shapesweep` command in the same way as a job of the workflow."""
    done = subprocess.run(
        list(map(str, [warm_programs() / "shapesweep", *arguments])),
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def plan(folder, *arguments, **more):
    """For each rule, return the number of jobs that a dry run plans."""
    planned = complete(folder, "--dry-run", *arguments, **more)
    words = [line.split() for line in planned.splitlines()]
    return {pair[0]: int(pair[1]) for pair in words if len(pair) == 2 and pair[1].isdigit()}


def settings(text_file, **more):
    """Return the configuration of a sweep that takes seconds."""
    return {
        "corpus": {"text": str(text_file), "documents": 16, "length": 16},
        "geometry": {"n_points": 100, "groups": 4},
        "corpora": ["text", "random", "shuffled"],
        "device": "cpu",
        **more,
    }


def write(folder, configuration):
    """Write the configuration of the sweep in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sweep.yaml").write_text(yaml.safe_dump(configuration), encoding="utf-8")


def configuration(folder):
    """Return the configuration of the sweep in a folder."""
    return yaml.safe_load((folder / "sweep.yaml").read_text(encoding="utf-8"))


def configure(folder, change):
    """Set keys of the configuration in a folder. Dots separate the keys of nested mappings."""
    changed = configuration(folder)
    for path, value in change.items():
        *parents, key = path.split(".")
        mapping = changed
        for parent in parents:
            mapping = mapping.setdefault(parent, {})
        mapping[key] = value
    write(folder, changed)


@functools.cache
def warm_programs(package=ROOT / "workflow"):
    """Return a folder of programs that call a server.

    Each test process starts one server for every copy of the package.
    """
    folder = Path(tempfile.mkdtemp(prefix="shapesweep-warm-"))
    socket = folder / "socket"
    # Commands use the same number of threads as a job of the workflow.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1")
    more = {"PYTHONPATH": str(package), "HF_ENDPOINT": "http://127.0.0.1:1"}
    words = [sys.executable, "-P", WARM, "serve", socket]
    server = subprocess.Popen(words, stdin=subprocess.PIPE, env={**os.environ, **threads, **more})
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    atexit.register(server.kill)
    while not socket.exists():
        if server.poll() is not None:
            raise RuntimeError(f"{WARM}: the server process exited with code {server.returncode}")
        time.sleep(0.05)
    for name in ("snakemake", "shapesweep"):
        text = _PROGRAM.format(name=name, python=sys.executable, warm=WARM, socket=socket)
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    return folder
