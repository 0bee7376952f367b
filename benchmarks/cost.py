"""Time each stage of measuring a checkpoint, and compare the total with bare forward passes.

This script writes the first table of `docs/reference/cost.md`, for two cores. A sweep runs one job
per core, and each job has a single thread. The stages are timed in a process that runs alone. The
time of a whole checkpoint is measured with two batches in parallel. The bare forward passes are
timed twice: in two processes with one thread each, and in one process with two threads. The table
shows the shorter of these two times.
"""

import contextlib
import functools
import json
import pkgutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import yaml
from page import at_once, put

CORES = 2
NEOX = {
    **{"vocab_size": 50304, "hidden_size": 512, "num_hidden_layers": 6},
    **{"num_attention_heads": 8, "intermediate_size": 2048},
}
LLAMA = {
    **{"vocab_size": 261, "hidden_size": 96, "num_hidden_layers": 8, "num_attention_heads": 6},
    **{"num_key_value_heads": 6, "intermediate_size": 256, "max_position_embeddings": 128},
}
#: For each shape: class and configuration of the model, number of checkpoints per batch, number of
#: checkpoints whose stages are timed, and settings of the documents.
SHAPES = {
    "Pythia-70m's shape": ("GPTNeoX", NEOX, 1, 1, {"documents": 128, "length": 110}),
    "the embedded decoder": ("Llama", LLAMA, 8, 2, {"documents": 128, "length": 64}),
}
CORPORA = ["text", "random", "shuffled"]
#: Limits, set before the first measurement. Each limit consists of a text, the name of a row of the
#: table, and the maximum value in this row.
ALLOWED = {
    "Pythia-70m's shape": ("1.3 times the bare passes", "times the bare passes", 1.3),
    "the embedded decoder": ("1 s for the whole", "whole (two cores)", 1),
}
#: For each stage, the function of shapesweep that is timed.
STAGES = {
    "load": "checkpoint.load.load",
    "tokenise": "activations.loader.Loader._tokenize",
    "forward": "activations.losses.forward",
    "run": "activations.extract._run",
    "write": "storage.shards.ShardWriter.append",
    "read": "geometry.checkpoint.read_shard",
    "search": "geometry.samples.search",
    "IDs": "geometry.samples.of_sample",
    "covariances": "estimators.moments.Moments.of_each",
    "spectra": "geometry.measure._of_clouds",
    "linear fits": "geometry.measure._fits",
}


def main():
    rows = {}
    for name, (family, shape, n_batch, n_staged, corpus) in SHAPES.items():
        with tempfile.TemporaryDirectory() as folder:
            halves = write_sweep(Path(folder), family, shape, n_batch, corpus)
            rows[name] = measured(folder, halves, n_staged)
    put("cost.md", "cost", table(rows))


def table(rows):
    """Return a table with a column for each shape."""
    lines = [f"| seconds per checkpoint | {' | '.join(rows)} |", "|---|" + " ---: |" * len(rows)]
    for key in next(iter(rows.values())):
        lines.append(f"| {key} | {' | '.join(f'{row[key]:.2f}' for row in rows.values())} |")
    verdicts = [verdict(name, row) for name, row in rows.items()]
    return "\n".join([*lines, f"| allowed | {' | '.join(verdicts)} |", ""])


def verdict(name, row):
    """Return the text of the limit, and a mark if the limit is exceeded."""
    allowed, key, limit = ALLOWED[name]
    return allowed + ("" if row[key] <= limit else ": **missed**")


def measured(folder, halves, n_staged):
    """Return the column of the table for a shape, as a dictionary with row names as keys."""
    call = functools.partial(at_once, __file__)
    n_batch = len(halves[0])
    together = call([["bare", folder, half[0]] for half in halves], threads=1)
    (alone,) = call([["bare", folder, halves[0][0]]], threads=CORES)
    bare = min(max(together) / CORES, alone)
    (stages,) = call([["stages", folder, *halves[0][:n_staged]]], threads=1)
    start = time.perf_counter()
    call([["chain", folder, str(n), *half] for n, half in enumerate(halves)], threads=1)
    whole = (time.perf_counter() - start) / CORES / n_batch
    expected = stages.pop("expected")
    seconds = {f"{key} (one core)": value for key, value in stages.items()}
    seconds |= {"whole (two cores)": whole, "bare passes (two cores)": bare}
    return seconds | {
        "times the bare passes": whole / bare,
        "estimated by `costs.py` (one core)": expected,
    }


def write_sweep(folder, family, shape, n_batch, corpus):
    """Write checkpoints of an untrained model, one batch per core, and their configuration."""
    import transformers

    from shapesweep.config.files import load
    from shapesweep.corpora import stdlib_text
    from shapesweep.manifest import checkpoints
    from shapesweep.storage import manifests
    from shapesweep.training.train import make_tokenizer

    tokenizer = make_tokenizer(stdlib_text("training"), 261, False)
    config = getattr(transformers, f"{family}Config")(**shape)
    revisions = [f"checkpoint-{n}" for n in range(CORES * n_batch)]
    for revision in revisions:
        model = getattr(transformers, f"{family}ForCausalLM")(config)
        model.save_pretrained(folder / "run" / revision)
        tokenizer.save_pretrained(folder / "run" / revision)
    sweep = {
        "suites": {"s": {"source": "local", "runs": {"r": str(folder / "run")}}},
        "corpora": CORPORA,
        "corpus": corpus,
        "geometry": {"n_points": 4096},
        "device": "cpu",
    }
    (folder / "sweep.yaml").write_text(yaml.safe_dump(sweep), encoding="utf-8")
    suite = load(folder / "sweep.yaml").suites["s"]
    listed = checkpoints.list_checkpoints("s", suite, folder)
    described = checkpoints.describe("s", suite, listed, "all")
    manifests.write(described, folder / "manifest.parquet")
    return [revisions[n::CORES] for n in range(CORES)]


def bare(folder, revision):
    """Return the seconds of a checkpoint's forward passes, including head and hidden states."""
    import torch

    from shapesweep.activations.loader import Loader
    from shapesweep.checkpoint.forward import forward, to_batch
    from shapesweep.config import measurement
    from shapesweep.storage.manifests import Checkpoint

    settings, path = measurement.load(folder / "sweep.yaml"), folder / "run" / revision
    opened = Loader(settings, CORPORA).load(Checkpoint("s", "r", revision), path, path)
    batches = [
        to_batch(opened.model, [corpus.documents[n] for n in numbers])
        for corpus in opened.corpora
        for numbers in corpus.batches(settings.batch_tokens)
    ]
    with torch.inference_mode():
        forward(opened.model, batches[0])  # Warm up.
        start = time.perf_counter()
        for batch in batches:
            forward(opened.model, batch)
        return time.perf_counter() - start


def stages(folder, *revisions):
    """Time the functions in `STAGES`, and return the seconds per checkpoint of each stage."""
    from shapesweep.activations import extract
    from shapesweep.config import files
    from shapesweep.geometry import checkpoint, member
    from shapesweep.manifest.checkpoints import list_checkpoints
    from shapesweep.plan import costs

    settings, spent = files.load(folder / "sweep.yaml"), Counter()
    measurement = settings.measurement("s")
    members = member.members(folder / "manifest.parquet", "r", revisions, measurement)
    sources = [
        extract.Source(m.checkpoint, m.folder, folder / "a" / m.checkpoint.revision, m.tokenizer)
        for m in members
    ]
    with contextlib.ExitStack() as stack:
        for stage, path in STAGES.items():
            path, _, name = path.rpartition(".")
            owner = pkgutil.resolve_name(f"shapesweep.{path}")
            stack.callback(setattr, owner, name, vars(owner)[name])
            setattr(owner, name, timed(owner, name, stage, spent))
        start = time.perf_counter()
        list(extract.extract(sources, measurement))
        for revision in revisions:
            checkpoint.measure(folder / "a" / revision, folder / "g" / revision, measurement)
        total = time.perf_counter() - start
    n = len(revisions)
    seconds = {stage: spent[stage] / n for stage in STAGES}
    seconds["loss and copies"] = seconds.pop("run") - seconds["forward"]
    # Another thread writes the shards, so the time of writing is not part of the total.
    seconds["everything else"] = total / n - sum(seconds.values()) + seconds["write"]
    suite = settings.suites["s"]
    first = list_checkpoints("s", suite, folder)[0]
    n_operations = costs.operations(costs.Model.of(first, suite), settings)
    return {"start": start_seconds(folder), **seconds, "expected": n_operations / costs.CORE_SPEED}


def timed(owner, name, stage, spent):
    """Wrap a function or class method, so that it adds its duration to the seconds of a stage."""
    inner = getattr(owner, name)

    @functools.wraps(inner)
    def outer(*args, **more):
        start = time.perf_counter()
        result = inner(*args, **more)
        # Run a generator to its end, so that its time counts for this stage.
        result = list(result) if hasattr(result, "__next__") else result
        spent[stage] += time.perf_counter() - start
        return result

    return staticmethod(outer) if hasattr(inner, "__self__") else outer


def start_seconds(folder):
    """Return the seconds per checkpoint that a process needs to start and to import modules."""
    start = time.perf_counter()
    modules = "shapesweep.geometry.batch, torch, transformers"
    subprocess.run([sys.executable, "-c", f"import {modules}"], check=True)
    seconds = time.perf_counter() - start
    return seconds / (len(list((folder / "run").iterdir())) / CORES)


def chain(folder, number, *revisions):
    """Measure a batch with the command that the rule runs."""
    script = Path(sys.executable).with_name("shapesweep")
    words = ["--settings", "sweep.yaml", "--manifest", "manifest.parquet", "--run", "r"]
    words += ["--revision", *revisions, "--measured", "measured", "--temporary", "temporary"]
    words += ["--threads", "1", "--out", f"tables-{number}"]
    subprocess.run([script, "geometry", *words], cwd=folder, check=True, capture_output=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        function, path, *rest = sys.argv[1:]
        print(json.dumps(globals()[function](Path(path), *rest)))
    else:
        main()
