"""Where a checkpoint's seconds go, beside the bare forward passes that it cannot do without.

Makes the first table of `docs/reference/cost.md`, on two cores: a sweep has as many jobs as cores,
each with one thread. The stages are timed in a process that has the machine for itself; the whole
as two batches at a time, by the commands that the rules call; the bare passes both as two
processes of one thread and as one of two, of which the faster counts.
"""

import contextlib
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import yaml

CORES = 2
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
#: The shapes: a model's configuration, checkpoints of a batch, how many of them are looked into
#: stage by stage, and the documents.
NEOX = {
    **{"vocab_size": 50304, "hidden_size": 512, "num_hidden_layers": 6},
    **{"num_attention_heads": 8, "intermediate_size": 2048},
}
LLAMA = {
    **{"vocab_size": 261, "hidden_size": 96, "num_hidden_layers": 8, "num_attention_heads": 6},
    **{"num_key_value_heads": 6, "intermediate_size": 256, "max_position_embeddings": 128},
}
SHAPES = {
    "Pythia-70m's shape": ("GPTNeoX", NEOX, 1, 1, {"documents": 128, "length": 110}),
    "the embedded decoder": ("Llama", LLAMA, 8, 2, {"documents": 128, "length": 64}),
}
CORPORA = ["text", "random", "shuffled"]
#: What may be spent, set before: times the bare passes, or seconds a checkpoint.
ALLOWED = {"Pythia-70m's shape": "1.3 × bare", "the embedded decoder": "1 s"}
#: What is timed stage by stage, and what does it.
STAGES = {
    "load": "load.load",
    "tokenise": "opener.Opener._show",
    "forward": "extract.forward",
    "run": "extract._run",
    "write": "shards.ShardWriter.append",
    "read": "checkpoint.read_shard",
    "search": "layer._search",
    "IDs": "layer._of_neighbors",
    "covariances": "moments.Moments.of_each",
    "spectra": "layer._of_clouds",
    "linear fits": "layer._fits",
}


def main():
    from page import put

    rows = {}
    for name, (family, shape, n_batch, n_staged, corpus) in SHAPES.items():
        with tempfile.TemporaryDirectory() as folder:
            halves = lay(Path(folder), family, shape, n_batch, corpus)
            rows[name] = measured(folder, halves, n_staged)
    put("cost.md", "cost", table(rows))


def table(rows):
    """A column a shape."""
    lines = [f"| seconds a checkpoint | {' | '.join(rows)} |", "|---|" + " ---: |" * len(rows)]
    for key in next(iter(rows.values())):
        lines.append(f"| {key} | {' | '.join(f'{one[key]:.2f}' for one in rows.values())} |")
    told = {name: verdict(name, one) for name, one in rows.items()}
    return "\n".join([*lines, f"| allowed | {' | '.join(told.values())} |", ""])


def verdict(name, row):
    """What was allowed, and whether it was kept."""
    kept = (
        row["times the bare passes"] <= 1.3
        if "bare" in ALLOWED[name]
        else row["whole (two cores)"] <= 1
    )
    return ALLOWED[name] + ("" if kept else ": **missed**")


def measured(folder, halves, n_staged):
    """Seconds of a checkpoint: of every stage on one core, of the whole and of the bare passes."""
    n_batch = len(halves[0])
    together = at_once([["bare", folder, half[0]] for half in halves], threads=1)
    (alone,) = at_once([["bare", folder, halves[0][0]]], threads=CORES)
    bare = min(max(together) / CORES, alone)
    (stages,) = at_once([["stages", folder, *halves[0][:n_staged]]], threads=1)
    start = time.perf_counter()
    at_once([["chain", folder, str(n), *half] for n, half in enumerate(halves)], threads=1)
    whole = (time.perf_counter() - start) / CORES / n_batch
    expected = stages.pop("expected")
    made = {f"{key} (one core)": value for key, value in stages.items()}
    made |= {"whole (two cores)": whole, "bare passes (two cores)": bare}
    return made | {
        "times the bare passes": whole / bare,
        "counted by `costs.py` (one core)": expected,
    }


def at_once(calls, threads):
    """What children of this script tell that run beside one another."""
    few = {**os.environ, **dict.fromkeys(THREADS, str(threads))}
    children = [
        subprocess.Popen(
            [sys.executable, __file__, *call],
            env=few,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        for call in calls
    ]
    told = [child.communicate()[0] for child in children]
    if any(child.returncode for child in children):
        raise SystemExit(f"{calls[0]}: failed")
    return [json.loads(one) for one in told]


def lay(folder, family, shape, n_batch, corpus):
    """Write a batch a core of a model that was never trained, and the sweep of them."""
    import transformers

    from shapesweep.config.files import load
    from shapesweep.corpora import stdlib_text
    from shapesweep.manifest import checkpoints
    from shapesweep.storage import manifests as table
    from shapesweep.training.train import train

    tokenizer = train.make_tokenizer(stdlib_text("training"), 261, False)
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
    table.write(checkpoints.describe("s", suite, listed, "all"), folder / "manifest.parquet")
    return [revisions[n::CORES] for n in range(CORES)]


def bare(folder, revision):
    """Seconds of the bare forward passes of one checkpoint, head and hidden states included."""
    import torch

    from shapesweep.activations.opener import Opener
    from shapesweep.checkpoint.hidden_states import forward, to_batch
    from shapesweep.config import measurement
    from shapesweep.storage.manifests import Checkpoint

    settings, place = measurement.load(folder / "sweep.yaml"), folder / "run" / revision
    found = Opener(settings, CORPORA).open(Checkpoint("s", "r", revision), place, place)
    batches = [
        to_batch(found.model, [one.documents[n] for n in numbers])
        for one in found.corpora
        for numbers in one.batches(settings.batch_tokens)
    ]
    with torch.inference_mode():
        forward(found.model, batches[0])  # Warm.
        start = time.perf_counter()
        for batch in batches:
            forward(found.model, batch)
        return time.perf_counter() - start


def stages(folder, *revisions):
    """Seconds of every stage, a checkpoint, by wrapping what does it."""
    from shapesweep.activations import extract, opener
    from shapesweep.checkpoint import load
    from shapesweep.config import files
    from shapesweep.estimators import moments
    from shapesweep.geometry import checkpoint as geometry
    from shapesweep.geometry import layer, member
    from shapesweep.manifest.checkpoints import list_checkpoints
    from shapesweep.plan import costs
    from shapesweep.storage import shards

    rooms = {
        room.__name__.rpartition(".")[2]: room
        for room in (extract, load, geometry, layer, moments, opener, shards)
    }
    settings, spent = files.load(folder / "sweep.yaml"), Counter()
    measurement = settings.measurement("s")
    members = member.members(folder / "manifest.parquet", "r", revisions, measurement)
    sources = [
        extract.Source(
            one.checkpoint, one.folder, folder / "a" / one.checkpoint.revision, one.tokenizer
        )
        for one in members
    ]
    with contextlib.ExitStack() as stack:
        for stage, where in STAGES.items():
            room, *inner, name = where.split(".")
            owner = functools.reduce(getattr, inner, rooms[room])
            stack.callback(setattr, owner, name, vars(owner)[name])
            setattr(owner, name, timed(owner, name, stage, spent))
        start = time.perf_counter()
        list(extract.extract(sources, measurement))
        for one in revisions:
            geometry.measure(folder / "a" / one, folder / "g" / one, measurement)
        every = time.perf_counter() - start
    n = len(revisions)
    made = {stage: spent[stage] / n for stage in STAGES}
    made["loss, copies"] = made.pop("run") - made["forward"]
    # Writing, and reading the next checkpoint, go on beside the rest.
    made["all else"] = every / n - sum(made.values()) + made["write"]
    suite = settings.suites["s"]
    first = list_checkpoints("s", suite, folder)[0]
    n_operations = costs.operations(costs.Model.of(first, suite), settings)
    return {"start": started(folder), **made, "expected": n_operations / costs.CORE}


def timed(owner, name, stage, spent):
    """A function or class method that counts its seconds."""
    inner = getattr(owner, name)

    @functools.wraps(inner)
    def outer(*args, **more):
        start = time.perf_counter()
        made = inner(*args, **more)
        # What is made while it is asked for is spent here, not where it is asked for.
        made = list(made) if hasattr(made, "__next__") else made
        spent[stage] += time.perf_counter() - start
        return made

    return staticmethod(outer) if hasattr(inner, "__self__") else outer


def started(folder):
    """Seconds until the process of a batch can begin, a checkpoint."""
    start = time.perf_counter()
    needed = "shapesweep.geometry.batch, torch, transformers"
    subprocess.run([sys.executable, "-c", f"import {needed}"], check=True)
    seconds = time.perf_counter() - start
    return seconds / (len(list((folder / "run").iterdir())) / CORES)


def chain(folder, number, *revisions):
    """Measure a batch, as the rule does."""
    script = Path(sys.executable).with_name("shapesweep")
    words = ["--settings", "sweep.yaml", "--manifest", "manifest.parquet", "--run", "r"]
    words += ["--revision", *revisions, "--measured", "measured", "--temporary", "temporary"]
    words += ["--threads", "1", "--out", f"tables-{number}"]
    subprocess.run([script, "geometry", *words], cwd=folder, check=True, capture_output=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        child, where, *rest = sys.argv[1:]
        print(json.dumps(globals()[child](Path(where), *rest)))
    else:
        main()
