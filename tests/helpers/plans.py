"""A sweep in a temporary folder, for tests of the plan that do not use Snakemake."""

import copy
import json
from dataclasses import asdict

from shapesweep.config import files
from shapesweep.errors import CheckpointError, TransientError
from shapesweep.hub.revisions import Repository
from shapesweep.plan.workflow import Plan
from shapesweep.storage import failures, schemas, tables
from shapesweep.storage.files import File
from shapesweep.storage.manifests import Checkpoint

SHAPE = {"num_hidden_layers": 2, "hidden_size": 16, "vocab_size": 300}
TRAINED = {
    "source": "embedded",
    **{"steps": [0, 1, 2], "batch_size": 4, "document_length": 16, "vocabulary": 300},
    "runs": {
        run: {"model": {"model_type": "llama", **SHAPE}, "learning_rate": 0.01, "seed": seed}
        for seed, run in enumerate(("first", "second"))
    },
}
HUB = {"source": "hub", "mode": "branches", "match": r"step(?P<step>\d+)"}
HUB["repositories"] = ["org/a"]
#: Keys that only describe what the Hub has.
EXPECTED = {"license": "mit", "gated": True, "weights": "bin", "architecture": "LlamaForCausalLM"}
EXPECTED |= {"other_names": "it-.*", "other_steps": True}
FACT = {"about": "it", "says": "more", "source": "here", "verified": "read"}


def paths(value, path=()):
    """Yield the path to every value in nested mappings and lists, as a tuple of keys."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else ()
    for key, item in enumerate(value) if isinstance(value, list) else items:
        yield from paths(item, (*path, key))


def write_checkpoint(folder, content=b"weights"):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(SHAPE), encoding="utf-8")
    (folder / "model.safetensors").write_bytes(content)
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")


def files_of(name, weights=10**6):
    small = [File(path, 2, None, name) for path in ("config.json", "tokenizer.json")]
    return [*small, File("model.safetensors", weights, name, name)]


def list_hub(results, suite="hub", revisions=("step1", "step2"), **more):
    """Write a listing that contains a repository of the Hub."""
    branches = {name: f"commit of {name}" for name in revisions}
    trees = {commit: files_of(commit) for commit in branches.values()}
    repository = Repository(branches=branches, trees=trees, config=SHAPE, **more)
    write(results / f"listings/{suite}.json", json.dumps({"org/a": asdict(repository)}))


def write(path, text=""):
    """Create the folder of a file, and write the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


class Sweep:
    """A configuration with local checkpoints and a text, in a temporary folder."""

    def __init__(self, folder):
        self.results, self.text = folder / "results", folder / "text.txt"
        self.run = folder / "run"
        self.results.mkdir()
        self.text.write_text("a text", encoding="utf-8")
        self.raw = {
            "suites": {"s": {"source": "local", "runs": {"r": str(self.run)}}},
            "corpus": {"text": str(self.text)},
            "checkpoints_per_job": 4,
        }

    def train(self, *steps):
        for step in steps:
            write_checkpoint(self.run / f"checkpoint-{step}", f"of {step}".encode())

    def plan(self, **more):
        """Return a new plan. `more` replaces keys of the configuration. Mappings are merged."""
        raw = copy.deepcopy(self.raw)
        for key, value in more.items():
            is_merged = isinstance(value, dict) and key in raw
            raw[key] = {**raw[key], **value} if is_merged else value
        return Plan(files.validate(raw), self.results)

    def fingerprint(self, **more):
        (batch,) = self.plan(**more).batches("s")
        return batch.fingerprint

    def fail(self, folder, n_transient):
        """Record failures of a batch. `n_transient` of these failures are transient."""
        error = (TransientError if n_transient else CheckpointError)("no")
        row = failures.as_row(Checkpoint("s", "r", "checkpoint-1", step=1), error)
        path = self.results / "geometry" / folder / "failures.parquet"
        tables.write([row], schemas.FAILURES, path, {"transient": n_transient})
