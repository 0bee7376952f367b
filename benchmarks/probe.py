"""What a probe costs a training, as a share of its steps.

Makes the table of probes in `docs/reference/cost.md`: the embedded suite's decoder with its own
batch, and a probe of sixteen documents of 64 tokens every 50 steps; steps and probes in turn.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

EVERY = 50
#: Set before: what a probe may take of the steps between two.
ALLOWED = 0.02
#: Counted rounds, and those before them that warm up.
ROUNDS, WARMING = 20, 2
SIGNALS = {
    "anisotropy and TwoNN's ID of three layers": ("anisotropy", "id_twonn"),
    "all signals of three layers": None,
}


def main():
    from page import put

    lines = ["| | one thread | two threads |", "|---|---:|---:|"]
    columns = [timed(threads) for threads in (1, 2)]
    steps = [f"{1000 * one['step']:.0f} ms" for one in columns]
    lines.append(f"| a step | {' | '.join(steps)} |")
    for name in SIGNALS:
        cells = [cell(one[name], one["step"]) for one in columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    put("cost.md", "probe", "\n".join([*lines, f"| allowed | {ALLOWED:.0%} | {ALLOWED:.0%} |", ""]))


def cell(seconds, step):
    share = seconds / (EVERY * step)
    return f"{1000 * seconds:.0f} ms, {share:.1%}" + ("" if share <= ALLOWED else ": **missed**")


def timed(threads):
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    few = {**os.environ, **dict.fromkeys(names, str(threads))}
    told = subprocess.run(
        [sys.executable, __file__, "child"], env=few, stdout=subprocess.PIPE, check=True
    )
    return json.loads(told.stdout)


def child():
    """Seconds of a step and of each probe: medians."""
    import torch
    import transformers
    import yaml

    from shapesweep.config.suite import EmbeddedSuite
    from shapesweep.corpora import stdlib_text
    from shapesweep.training import train
    from shapesweep.training.probe import SIGNALS as ALL
    from shapesweep.training.probe import Probe

    place = Path(__file__).parents[1] / "workflow/shapesweep/suites/embedded.yaml"
    suite = EmbeddedSuite.model_validate(yaml.safe_load(place.read_text(encoding="utf-8")))
    tokenizer = train.make_tokenizer(stdlib_text("training"), suite.vocabulary, False)
    packed = torch.from_numpy(
        train.packed(stdlib_text("measuring"), tokenizer, suite.document_length)
    )
    shape = {**suite.runs["decoder"].model, "vocab_size": len(tokenizer)}
    config = transformers.AutoConfig.for_model(**shape)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)

    def step():
        batch = packed[: suite.batch_size]
        optimizer.zero_grad()
        model(input_ids=batch, labels=batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    documents = packed[-16:].numpy()
    probes = {name: Probe(documents, signals=one or ALL) for name, one in SIGNALS.items()}
    spent = {"step": [], **{name: [] for name in probes}}
    for _ in range(ROUNDS + WARMING):
        for name, probe in probes.items():
            # As in a training a probe follows a step, and not another probe.
            for what, call in (("step", step), (name, partial(probe, model))):
                start = time.perf_counter()
                call()
                spent[what].append(time.perf_counter() - start)
    known = {name: one[WARMING * len(one) // (ROUNDS + WARMING) :] for name, one in spent.items()}
    sys.stdout.write(json.dumps({name: statistics.median(one) for name, one in known.items()}))


if __name__ == "__main__":
    if sys.argv[1:] == ["child"]:
        child()
    else:
        main()
