"""Time a probe during training, relative to the time of the training steps.

This script writes the table of probes in `docs/reference/cost.md`. It trains the decoder of the
embedded suite with the batch size of the suite. A probe measures sixteen documents of 64 tokens
each. Steps and probes are timed alternately. The table assumes a probe after every 50 steps.
"""

import json
import statistics
import sys
import time
from functools import partial
from pathlib import Path

from page import at_once, put

EVERY = 50
#: Maximum time of a probe, as a share of the time of the steps between two probes. This limit was
#: set before the first measurement.
ALLOWED = 0.02
#: The number of timed rounds, and the number of warm-up rounds before them.
ROUNDS, WARM_UP = 20, 2
SIGNALS = {
    "anisotropy and TwoNN's ID of three layers": ("anisotropy", "id_twonn"),
    "all signals of three layers": None,
}


def main():
    lines = ["| | one thread | two threads |", "|---|---:|---:|"]
    columns = [at_once(__file__, [["child"]], threads)[0] for threads in (1, 2)]
    steps = [f"{1000 * seconds['step']:.0f} ms" for seconds in columns]
    lines.append(f"| a step | {' | '.join(steps)} |")
    for name in SIGNALS:
        cells = [cell(seconds[name], seconds["step"]) for seconds in columns]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    put("cost.md", "probe", "\n".join([*lines, f"| allowed | {ALLOWED:.0%} | {ALLOWED:.0%} |", ""]))


def cell(seconds, step):
    share = seconds / (EVERY * step)
    return f"{1000 * seconds:.0f} ms, {share:.1%}" + ("" if share <= ALLOWED else ": **missed**")


def child():
    """Print the median seconds of a step and of each probe."""
    import torch
    import transformers
    import yaml

    from shapesweep.config.suite import EmbeddedSuite
    from shapesweep.corpora import stdlib_text
    from shapesweep.training import probe as probe_module
    from shapesweep.training.train import make_tokenizer, packed

    path = Path(__file__).parents[1] / "workflow/shapesweep/suites/embedded.yaml"
    suite = EmbeddedSuite.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    tokenizer = make_tokenizer(stdlib_text("training"), suite.vocabulary, False)
    documents = packed(stdlib_text("measuring"), tokenizer, suite.document_length)
    batch = torch.from_numpy(documents[: suite.batch_size])
    shape = {**suite.runs["decoder"].model, "vocab_size": len(tokenizer)}
    config = transformers.AutoConfig.for_model(**shape)
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)

    def step():
        optimizer.zero_grad()
        model(input_ids=batch, labels=batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    probes = {
        name: probe_module.Probe(documents[-16:], signals=signals or probe_module.SIGNALS)
        for name, signals in SIGNALS.items()
    }
    spent = {"step": [], **{name: [] for name in probes}}
    for _ in range(WARM_UP + ROUNDS):
        for name, probe in probes.items():
            # A probe follows a step, as in a training run, and not another probe.
            for timed_name, call in (("step", step), (name, partial(probe, model))):
                start = time.perf_counter()
                call()
                spent[timed_name].append(time.perf_counter() - start)
    medians = {}
    for name, seconds in spent.items():
        n_warm_up = WARM_UP * len(seconds) // (WARM_UP + ROUNDS)
        medians[name] = statistics.median(seconds[n_warm_up:])
    sys.stdout.write(json.dumps(medians))


if __name__ == "__main__":
    if sys.argv[1:] == ["child"]:
        child()
    else:
        main()
