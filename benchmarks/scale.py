"""Measure the time and memory of planning, checking and joining a large sweep.

This script writes the last table of `docs/reference/cost.md`. No checkpoint is measured or
downloaded. Instead, the script writes listings, plans and tables for checkpoints that do not exist.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from page import put

from shapesweep.config.files import as_yaml, validate
from shapesweep.curves.tables import CURVES
from shapesweep.hub.revisions import Repository
from shapesweep.metrics import METRICS
from shapesweep.plan.batches import MOST
from shapesweep.plan.workflow import TABLES, Plan
from shapesweep.storage import manifests, schemas, tables
from shapesweep.storage.files import File
from shapesweep.storage.manifests import Checkpoint

ROOT = Path(__file__).parents[1]
DEFAULT = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
#: The shape of Pythia-70m. The weights on the Hub are float16.
SHAPE = {
    **{"architectures": ["GPTNeoXForCausalLM"], "hidden_size": 512, "num_hidden_layers": 6},
    **{"vocab_size": 50304, "torch_dtype": "float16"},
}
#: The number of checkpoints per run.
RUN_LENGTH = 100
#: Options of the timed commands, which run in the folder that `write_tables` fills.
COMMANDS = {
    "join": [
        *("--plans", "plan.json", "--manifests", "listed.parquet", "--history", "logged.parquet"),
        *("--results", ".", "--out", "."),
    ],
    "curves": [
        *("--tables", ".", "--out", "curves"),
        *("--tested", validate(DEFAULT).phases.model_dump_json()),
    ],
}
#: Limits in seconds and megabytes, set before the first measurement.
ALLOWED = {
    "`shapesweep --help`": (0.5, None),
    "plan 10,000": (30, 1000),
    "re-check 1,000": (10, None),
}


def main():
    lines = [
        "| what | checkpoints | jobs | time | memory | allowed |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    lines.append(start("`shapesweep --help`", "shapesweep", "--help"))
    parse = ["snakemake", "manifests", "--dry-run", "--snakefile", ROOT / "Snakefile"]
    lines.append(start("parse", *parse))
    for n in (2500, 5000, 10_000):
        with tempfile.TemporaryDirectory() as folder:
            write_sweep(Path(folder), n)
            jobs, seconds, megabytes = snakemake(Path(folder))
        lines.append(row("plan", n, jobs, seconds, megabytes))
    with tempfile.TemporaryDirectory() as folder:
        write_sweep(Path(folder), 1000)
        finish(Path(folder))
        jobs, seconds, megabytes = snakemake(Path(folder))
        assert jobs == 0, "a finished sweep must have no jobs left"
        lines.append(row("re-check", 1000, jobs, seconds, megabytes))
    for n in (250, 1000):
        with tempfile.TemporaryDirectory() as folder:
            write_tables(Path(folder), n)
            for name, options in COMMANDS.items():
                words = ["shapesweep", name, *options]
                lines.append(row(name, n, "", *run(words, cwd=folder, stdout=subprocess.DEVNULL)))
    put("cost.md", "scale", "\n".join([*lines, ""]))


def start(name, program, *words):
    """Run a command five times in an empty folder, and return a row with the median time."""
    words = [program, *words]
    with tempfile.TemporaryDirectory() as folder:
        quiet = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        run(words, **quiet)  # This run is not timed, because it writes bytecode.
        seconds = np.median([run(words, **quiet)[0] for _ in range(5)])
    return row(name, "", "", seconds)


def row(name, n, jobs, seconds, megabytes=0):
    n = f"{n:,}" if n else ""
    limit = ALLOWED.get(f"{name} {n}".strip())
    allowed = f"{limit[0]} s" + (f", {limit[1]:,} MB" if limit[1] else "") if limit else ""
    if limit and (seconds > limit[0] or megabytes > (limit[1] or megabytes)):
        allowed += ": **missed**"
    memory = f"{megabytes:,.0f} MB" if megabytes else ""
    digits = 1 if seconds >= 1 else 2
    return f"| {name} | {n} | {jobs} | {seconds:.{digits}f} s | {memory} | {allowed} |"


def digest(*values):
    return hashlib.sha256(repr(values).encode()).hexdigest()


def write_sweep(folder, n):
    """Write a listing of n checkpoints on the Hub, and the configuration of a sweep of them."""
    listing = {}
    for run in range(n // RUN_LENGTH):
        branches = {f"step{step}": digest(run, step)[:40] for step in range(RUN_LENGTH)}
        trees = {
            commit: [
                File("config.json", 600, None, digest(commit, 1)[:40]),
                File("model.safetensors", 166_000_000, digest(commit, 2), digest(commit, 3)[:40]),
                File("tokenizer.json", 2_000_000, None, digest(run)[:40]),
            ]
            for commit in branches.values()
        }
        repository = Repository(branches=branches, trees=trees, config=SHAPE)
        listing[f"org/run{run}"] = asdict(repository)
    suite = {"source": "hub", "mode": "branches", "match": r"step(?P<step>\d+)"}
    suite["repositories"] = [f"org/run{{0..{n // RUN_LENGTH - 1}}}"]
    sweep = {"suites": {"big": suite}, "corpora": ["text", "random", "shuffled"]}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(sweep), encoding="utf-8")
    plan, results = plan_of(folder), folder / "results"
    texts = {"settings/text.jinja": "{{ params.text }}", "listings/big.json": json.dumps(listing)}
    write(results, texts)
    for run in range(n // RUN_LENGTH):
        (results / plan.tokenizer("big", f"run{run}")).mkdir(parents=True)


def write(folder, texts):
    """Write each text to its path in a folder, in the given order."""
    for path, text in texts.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")


def plan_of(folder):
    """Return the plan of the sweep in a folder."""
    changed = yaml.safe_load((folder / "sweep.yaml").read_text(encoding="utf-8"))
    return Plan(validate(DEFAULT | changed), folder / "results")


def finish(folder):
    """Write all outputs, so that the sweep counts as finished."""
    plan, results = plan_of(folder), folder / "results"
    measurement, record = plan.measurement_file("big"), plan.record_file("big")
    # The files are written in the order in which the rules would write them.
    empty = dict.fromkeys([*plan.files(["big"]), *outputs()], "")
    texts = {"config.yaml": as_yaml(plan.config)}
    texts[measurement] = plan.settings_text(Path(measurement).stem)
    write(results, {**texts, **empty, record: plan.record("big")})
    for path in plan.tables(["big"]):
        if path.endswith("failures.parquet"):
            tables.write([], schemas.FAILURES, results / path, {"transient": 0})
    # Let Snakemake write its metadata about these outputs.
    run([*numbers(), "--touch", "--forceall"], cwd=folder, stdout=subprocess.DEVNULL)


def outputs():
    """Return the paths of a sweep's tables and summary, in the order in which rules write them."""
    names = [*TABLES, *(f"curves/{name}" for name in CURVES)]
    return [*(f"{name}.parquet" for name in names), "summary.txt"]


def numbers():
    """Return the `snakemake` command for the target `numbers`."""
    words = ["snakemake", "numbers", "--quiet", "all"]
    return [*words, "--snakefile", ROOT / "Snakefile", "--configfile", "sweep.yaml", "--cores", "2"]


def snakemake(folder):
    """Make a dry run of `numbers`. Return the number of jobs, the seconds and the megabytes."""
    out = folder / "out.txt"
    with out.open("w", encoding="utf-8") as file:
        seconds, megabytes = run([*numbers(), "--dry-run"], cwd=folder, stdout=file, stderr=file)
    lines = [line.split() for line in out.read_text(encoding="utf-8").splitlines()]
    jobs = next((int(words[1]) for words in lines if words[:1] == ["total"]), 0)
    return jobs, seconds, megabytes


def run(words, **more):
    """Run a command, and return its seconds and the peak memory of its process in megabytes."""
    start = time.perf_counter()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    process = subprocess.Popen(list(map(str, words)), env={**os.environ, "PATH": path}, **more)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{words}: status {status}")
    return time.perf_counter() - start, used.ru_maxrss / 1024


def write_tables(folder, n):
    """Write tables like those of `geometry`, for n checkpoints, one corpus and eight layers."""
    rng, rows = np.random.default_rng(0), []
    shared = {"suite": "big", "run": "run0", "seed": 0, "architecture": "A", "n_layers": 6}
    shared |= {"corpus": "text", "pooling": "tokens", "n_points": 4096, "metric_version": 1}
    shared |= {"document_length": 110, "n_documents": 128, "n_duplicates": 0, "n_dropped": 0}
    layers = [(0, "embedding"), *((n, "block") for n in range(1, 7)), (6, "final_norm")]
    for layer, kind in layers:
        for selection in ("all", "no_first", "no_massive"):
            for metric in METRICS:
                keys = {"layer": layer, "layer_kind": kind, "selection": selection}
                rows.append({**shared, **keys, "metric": metric, "flag": ""})
    numbers = pd.DataFrame(rows).reindex(columns=schemas.GEOMETRY.names)
    repeated = numbers.loc[numbers.index.repeat(16)].reset_index(drop=True)
    repeated = repeated.assign(group=np.tile(np.arange(16), len(numbers)))
    repeated = repeated.reindex(columns=schemas.REPLICATES.names)
    batches, listed = [], []
    for start in range(0, n, MOST):
        steps = range(start, min(start + MOST, n))
        revisions = [f"step{step}" for step in steps]
        batch = f"big/run0/{revisions[0]}"
        batches.append({"folder": batch, "run": "run0", "revisions": revisions})
        tables_of_batch = {
            name: pd.concat(
                table.assign(revision=f"step{step}", step=step, value=rng.random(len(table)))
                for step in steps
            )
            for name, table in (("geometry", numbers), ("replicates", repeated))
        }
        for name in ("geometry", "replicates", "losses", "samples", "origins", "failures"):
            path = folder / "geometry" / batch / f"{name}.parquet"
            tables.write(tables_of_batch.get(name, []), getattr(schemas, name.upper()), path)
        model = {key: shared[key] for key in ("seed", "architecture", "n_layers")}
        listed += [
            Checkpoint("big", "run0", name, step=step, **model)
            for step, name in zip(steps, revisions, strict=True)
        ]
    plan = {"suite": "big", "definition": {}, "batches": batches, "budgets": []}
    (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    manifests.write(listed, folder / "listed.parquet")
    tables.write([], schemas.HISTORY, folder / "logged.parquet")


if __name__ == "__main__":
    main()
