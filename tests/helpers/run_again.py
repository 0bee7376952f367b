"""The table in docs/how-to/run-again.md, which lists the rules that run again after a change."""

import re

from helpers.workflow import ROOT, configure, plan

#: For each row of the table, a list of changes to test. A change maps keys of the configuration to
#: new values.
CHANGES = {
    "`checkpoints`, or a checkpoint is added": [{"checkpoints": "all"}],
    "`corpora`": [{"corpora": ["text", "last", "passages", "random"]}],
    "`corpus.text`, or the contents of the file": [{"corpus.text": "other.txt"}],
    "`corpus.sampling`": [{"corpus.sampling": "paper"}],
    "`corpus.documents`": [{"corpus.documents": 12}],
    "`corpus.length`": [{"corpus.length": 12}],
    "`corpus.seed`": [{"corpus.seed": 1}],
    "`corpus.samples`": [{"corpus.samples": 2}],
    "`corpus.variants`; numbers of a variant that is removed are lost": [
        {"corpus.variants": {"short": {"length": 8}}}
    ],
    "`corpus.last.documents`, with the corpus `last`": [{"corpus.last.documents": 20}],
    "`corpus.last.length`, with the corpus `last`": [{"corpus.last.length": 8}],
    "`corpus.passages.documents`, with the corpus `passages`": [{"corpus.passages.documents": 20}],
    "`corpus.passages.length`, with the corpus `passages`": [{"corpus.passages.length": 8}],
    "`phases.paper`, `phases.control`": [
        {"phases.paper": {"corpus": "text", "selection": "all", "metric": "id_mle"}},
        {"phases.control": {"corpus": "text", "selection": "no_first", "metric": "id_mle"}},
    ],
    "`geometry.n_points`": [{"geometry.n_points": 50}],
    "`geometry.groups`": [{"geometry.groups": 3}],
    "`budget.checkpoints`": [{"budget.checkpoints": {"mine": "all"}}],
    "`budget.rise`": [{"budget.rise": 0.1}],
    "`keep_activations`": [{"keep_activations": True}],
    "`checkpoints_per_job`": [{"checkpoints_per_job": 1}],
    "`suites`: a run is added": [{"suites.mine.runs.b": "runs/encoder"}],
    "`suites`: `seed` of a run, `tokens_per_step`": [
        {"suites.mine.runs.a": {"path": "runs/decoder", "seed": 7}},
        {"suites.mine.tokens_per_step": 100},
    ],
    "`suites`: `accept`, `losses` of a run, `loss_files`": [
        {"suites.mine.accept": ["discontinuous"]},
        {"suites.mine.runs.a": {"path": "runs/decoder", "losses": "log.csv"}},
    ],
    "`device`": [{"device": "auto"}],
    "`batch_tokens`": [{"batch_tokens": 100}],
    "`scratch`": [{"scratch": "/tmp/scratch"}],
    "`hub.downloads`": [{"hub.downloads": 3}],
    "`hub.disk_gb`": [{"hub.disk_gb": 200}],
    "`hub.remote_code` of another suite": [{"hub.remote_code": ["another"]}],
    "`spikes.suites`": [{"spikes.suites.tiny.runs.small.seed": 1}],
    "`spikes.corpora`": [{"spikes.corpora": ["text", "random"]}],
}
#: The rules that each target needs in addition to the rules that measure checkpoints.
TARGETS = {
    "all": {"join", "curves", "figures", "summary", "page"},
    "numbers": {"join", "curves", "summary"},
    "paper": {"join", "curves", "figures", "summary", "comparison"},
    "results/summary.txt": {"join", "curves", "summary"},
    "results/curves/shapes.parquet": {"join", "curves"},
    "results/geometry.parquet": {"join"},
}
WATCHED = {"train", "geometry", "budget"}.union(*TARGETS.values())


def table():
    """Return the table as a dictionary, with the change as the key.

    Each value is a pair: the jobs that run again for checkpoints, and the other outputs that are
    written again.
    """
    page = (ROOT / "docs/how-to/run-again.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", page, re.MULTILINE)
    return {change: (checkpoints, again) for change, checkpoints, again in rows[1:]}


def expected(row, target):
    """Return the rules that run after a change, according to the table."""
    checkpoints, again = table()[row]
    rules = set(re.findall(r"`(\w+)`", checkpoints))
    if again == "tables":
        return rules | TARGETS[target]
    if again == "curves":
        return rules | TARGETS[target] - {"join"}
    return rules | ({"page"} & TARGETS[target] if again == "page" else set())


def planned(folder, change, *targets):
    """Return the rules in `WATCHED` that a dry run plans after a change."""
    configure(folder, change)
    return plan(folder, *targets).keys() & WATCHED
