"""Where a checkpoint's seconds go, beside the bare forward passes that it cannot do without.

Prints the table of `docs/reference/cost.md`. Everything runs here and now, one after the other, on
as many threads as are asked for: the bare passes and the stages of the sweep in one process, the
whole as the two commands that the rules call.
"""

import os
import sys

THREADS = int(sys.argv[1]) if len(sys.argv) > 1 else 2
# Before numpy and torch are imported.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = str(THREADS)

import contextlib
import functools
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

import yaml

#: The shapes: a model's configuration, checkpoints of a batch, and the corpora.
NEOX = {
    **{"vocab_size": 50304, "hidden_size": 512, "num_hidden_layers": 6},
    **{"num_attention_heads": 8, "intermediate_size": 2048},
}
LLAMA = {
    **{"vocab_size": 261, "hidden_size": 96, "num_hidden_layers": 8, "num_attention_heads": 6},
    **{"num_key_value_heads": 6, "intermediate_size": 256, "max_position_embeddings": 128},
}
SHAPES = {
    "Pythia-70m's shape": ("GPTNeoX", NEOX, 1, {"documents": 128, "length": 110}),
    "the embedded decoder": ("Llama", LLAMA, 8, {"documents": 128, "length": 64}),
}
CORPORA = ["text", "random", "shuffled"]
#: What may be spent, set before: times the bare passes, and seconds a checkpoint.
ALLOWED = {"Pythia-70m's shape": "1.3 × bare", "the embedded decoder": "1 s"}


def main():
    stages = ["start", "load", "tokenise", "forward", "loss, copy", "write", "read", "search"]
    stages += ["its numbers", "spectra", "pairs", "the rest", "whole", "bare", "ratio", "allowed"]
    print(f"| what | {' | '.join(stages)} |\n|---|{' ---: |' * len(stages)}")
    for name, (family, shape, n_checkpoints, corpus) in SHAPES.items():
        with tempfile.TemporaryDirectory() as folder:
            print(row(name, *measured(Path(folder), family, shape, n_checkpoints, corpus)))


def measured(folder, family, shape, n_checkpoints, corpus):
    """Seconds of every stage, of the whole and of the bare passes, a checkpoint."""
    revisions = lay(folder, family, shape, n_checkpoints, corpus)
    bare = passes(folder, revisions[0])
    stages = staged(folder, revisions)
    start = time.perf_counter()
    command(folder, "activations", revisions, "--suite", "s", "--run", "r", "--out", "shards")
    command(folder, "geometry", revisions, "--activations", "shards", "--out", "again")
    whole = time.perf_counter() - start
    n = len(revisions)
    return {name: seconds / n for name, seconds in stages.items()}, whole / n, bare


def lay(folder, family, shape, n_checkpoints, corpus):
    """Write checkpoints of a model that was never trained, and the sweep of them."""
    import transformers

    from shapesweep import text, training

    tokenizer = training.make_tokenizer(text.stdlib_text("training"), 261, False)
    config = getattr(transformers, f"{family}Config")(**shape)
    revisions = [f"checkpoint-{n}" for n in range(n_checkpoints)]
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
    return revisions


def passes(folder, revision):
    """Seconds of the bare forward passes of one checkpoint, head and hidden states included."""
    import torch

    from shapesweep import config
    from shapesweep.anatomy import forward, to_batch
    from shapesweep.opening import Opener

    settings, place = config.load(folder / "sweep.yaml"), folder / "run" / revision
    row = {"suite": "s", "selected": True, "status": []}
    found = Opener(settings, "cpu", CORPORA).open(row, place, place)
    seconds = []
    with torch.inference_mode():
        for _ in range(2):  # The first warms up.
            start = time.perf_counter()
            for one in found.corpora:
                for numbers in one.batches(settings.batch_tokens):
                    forward(found.model, to_batch(found.model, [one.documents[n] for n in numbers]))
            seconds.append(time.perf_counter() - start)
    return seconds[-1]


def staged(folder, revisions):
    """Seconds of the stages, by wrapping what does them; what runs beside another counts twice."""
    from shapesweep import activations, checkpoint, config, geometry, manifest, microscope, opening
    from shapesweep.shards import ShardWriter

    spent = Counter()

    def timed(owner, name, stage):
        inner = getattr(owner, name)

        @functools.wraps(inner)
        def outer(*args, **more):
            start = time.perf_counter()
            made = inner(*args, **more)
            # What is made while it is asked for is spent here, not where it is asked for.
            made = list(made) if hasattr(made, "__next__") else made
            spent[stage] += time.perf_counter() - start
            return made

        stack.callback(setattr, owner, name, inner)
        setattr(owner, name, outer)

    settings = config.load(folder / "sweep.yaml")
    suite = settings.suites["s"]
    listed = {one.revision: one for one in manifest.list_checkpoints("s", suite, folder)}
    with contextlib.ExitStack() as stack:
        timed(checkpoint, "load", "load")
        timed(opening.Opener, "_show", "tokenise")
        timed(activations, "forward", "forward")
        timed(activations, "_run", "run")
        timed(ShardWriter, "append", "write")
        timed(geometry, "read_shard", "read")
        timed(microscope, "_search", "search")
        timed(microscope, "_of_neighbors", "its numbers")
        timed(microscope, "_of_clouds", "spectra")
        timed(microscope, "_of_pairs", "pairs")
        start = time.perf_counter()
        rows = manifest.rows("s", suite, list(listed.values()), "all")
        sources = [
            activations.Source(row, listed[row["revision"]].folder, folder / "a" / row["revision"])
            for row in rows
        ]
        list(activations.extract(sources, settings))
        for revision in revisions:
            geometry.measure(folder / "a" / revision, folder / "g" / revision, settings.geometry)
        spent["all"] = time.perf_counter() - start
    return spent


def command(folder, verb, revisions, *words):
    """Run a verb as the rules do."""
    script = Path(sys.executable).with_name("shapesweep")
    every = [script, verb, "--config", "sweep.yaml", "--revision", *revisions, *words]
    every += ["--threads", THREADS]
    subprocess.run(list(map(str, every)), cwd=folder, check=True, capture_output=True)


def row(name, stages, whole, bare):
    copied = stages.pop("run") - stages["forward"]
    known = ("load", "tokenise", "forward", "write", "read", "search", "its numbers", "spectra")
    inner = sum(stages[stage] for stage in (*known, "pairs")) - stages["write"] + copied
    rest = max(stages["all"] - inner, 0.0)
    start = max(whole - stages["all"], 0.0)
    cells = [start, *(stages[stage] for stage in ("load", "tokenise", "forward"))]
    cells += [copied, *(stages[stage] for stage in known[3:]), stages["pairs"], rest, whole, bare]
    told = " | ".join(f"{seconds:.2f} s" for seconds in cells)
    return f"| {name} | {told} | {whole / bare:.2f} | {ALLOWED[name]} |"


if __name__ == "__main__":
    main()
