"""The command `shapesweep`: a verb for each step, so that every line of a log can be pasted."""

from __future__ import annotations

import argparse
import math
import os
import sys
import tempfile
from collections.abc import Callable
from typing import Any

from shapesweep.cli import commands
from shapesweep.errors import ShapesweepError


def main(argv: list[str] | None = None) -> int:
    """Run one verb.

    Returns
    -------
    int
        Exit status: 0, or 2 after one line that says what is wrong.
    """
    arguments = parser().parse_args(argv)
    if "threads" in arguments:
        # Before numpy, torch and the tokenizers are imported: they read it once.
        os.environ.update(dict.fromkeys(_THREADS, str(arguments.threads)))
    # No thread that looks for converted weights on the Hub while others are measured.
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    # What xet keeps of its transfers would lie outside the budget of the disk.
    os.environ.setdefault("HF_XET_CHUNK_CACHE_SIZE_BYTES", "0")
    try:
        if "config" in arguments:
            from shapesweep.config import files

            arguments.config = files.load(arguments.config)
        return arguments.verb(arguments) or 0
    except ShapesweepError as error:
        print(f"shapesweep: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        # Who writes Parquet does not tell where to.
        path = error.filename or getattr(arguments, "out", None)
        reason = os.strerror(error.errno) if error.errno else str(error)
        message = f"{path}: {reason}" if path else reason
        print(f"shapesweep: error: {message}", file=sys.stderr)
        return 2
    except MemoryError as error:
        message = str(error) or "what was asked for does not fit"
        print(f"shapesweep: error: out of memory: {message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def parser() -> argparse.ArgumentParser:
    """The command line; `docs/generate.py` writes its reference from it."""
    from shapesweep import __version__

    top = argparse.ArgumentParser(
        prog="shapesweep",
        description="Follow the shape of a language model's hidden states through its training.",
        epilog="Each verb is one step of the sweep; `snakemake --cores all` runs them all.",
    )
    top.add_argument("--version", action="version", version=__version__)
    below = top.add_subparsers(title="verbs", required=True, metavar="VERB")
    for verb, names in _verbs().items():
        summary = verb.__doc__
        sub = below.add_parser(verb.__name__, help=summary, description=summary)
        sub.set_defaults(verb=verb)
        for name in names:
            sub.add_argument(name, **_OPTIONS[name])
    return top


def _verbs() -> dict[Callable[[argparse.Namespace], int | None], list[str]]:
    """Every verb with its options, in the order of the steps."""
    suite = ["--definition", "--suite", "--results"]
    checkpoints = ["--settings", "--manifest", "--run", "--revision", "--tokenizer"]
    fetched = [*checkpoints, "--checkpoints", "--device", "--batch-tokens", "--threads"]
    return {
        commands.train: ["--definition", "--run", "--threads", "--out"],
        commands.listing: [*suite, "--calls", "--out"],
        commands.history: ["--plan", "--results", "--out"],
        commands.manifest: ["--plan", "--results", "--out"],
        commands.manifests: ["--config", "--results"],
        commands.plan: ["--config", "--results"],
        commands.tokenizer: [*suite, "--run", "--out"],
        commands.download: [
            *checkpoints,
            *("--measured", "--budget-rise", "--room", "--bytes", "--seconds", "--temporary"),
            "--out",
        ],
        commands.checkpoint: ["folder"],
        commands.activations: [*fetched, "--out"],
        commands.geometry: [*fetched, "--measured", "--temporary", "--keep", "--out"],
        commands.measure: [
            "files",
            "--json",
            "--metrics",
            "--k",
            "--n-points",
            "--seed",
            "--selection",
            "--tensor",
            "--local",
            "--threads",
        ],
        commands.budget: [*fetched, "--measured", "--rise", "--temporary", "--out"],
        commands.join: ["--plans", "--manifests", "--history", "--results", "--out"],
        commands.curves: ["--tables", "--out"],
        commands.comparison: ["--curves", "--out"],
        commands.warnings: ["--tables", "--curves", "--out"],
        commands.figures: ["names", "--curves", "--out"],
        commands.summary: ["--results", "--out"],
        commands.page: ["--results", "--out"],
    }


#: What says to a library how many threads it may use.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")


def _at_least(least: int) -> Callable[[str], int]:
    """What reads a whole number that is not too small."""

    def read(text: str) -> int:
        if not text.lstrip("-").isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} on")
        return int(text)

    return read


def _option(text: str, **more: Any) -> dict[str, Any]:
    return {"required": True, "help": text, **more}


_OPTIONS: dict[str, dict[str, Any]] = {
    "--config": _option("configuration of the sweep, as written beside its results"),
    "--settings": _option("settings of the measurement, or a whole configuration"),
    "--device": {"choices": ["auto", "cpu", "cuda"], "help": "device of the model (default: auto)"},
    "--batch-tokens": {"type": int, "help": "tokens of a forward pass (default: 4096)"},
    "--calls": {"type": int, "default": 2, "help": "calls to the Hub at a time (default: 2)"},
    "--rise": _option("relative rise of the loss that is allowed", type=float),
    "--budget-rise": {
        "type": float,
        "help": "the same, if the checkpoint is fetched for its dimension budget, too",
    },
    "--room": _option("bytes that all downloads may fill at once", type=int),
    "--definition": _option("definition of the suite, as JSON"),
    "--suite": _option("name of the suite"),
    "--run": _option("name of a run of the suite"),
    "--revision": _option("revisions of checkpoints of the run", nargs="+"),
    "--plan": _option("plan of the suite, as the sweep has recorded it"),
    "--manifest": _option("manifest of the suite"),
    "--manifests": _option("manifests of all suites", nargs="+"),
    "--plans": _option("plans of all suites, as the sweep has recorded them", nargs="+"),
    "--history": _option("histories of all suites", nargs="+"),
    "--checkpoints": {
        "default": "",
        "help": "where they were downloaded to; one subfolder per revision if there are several",
    },
    "--tokenizer": {
        "default": "",
        "help": "folder of the run's tokenizer, if it does not lie with the checkpoint",
    },
    "--measured": {
        "default": "",
        "help": "folder that keeps the numbers of the run's checkpoints, to be used again",
    },
    "--keep": {"default": "", "help": "folder for the shards; without it they are removed"},
    "--temporary": {
        "default": tempfile.gettempdir(),
        "help": "folder of temporary files (default: the system's)",
    },
    "--bytes": {"type": int, "default": 0, "help": "bytes to claim of the disk budget"},
    "--seconds": {
        "type": float,
        "default": math.inf,
        "help": "after which what is downloaded may be removed if another needs the room",
    },
    "--tables": _option("folder of the joined tables"),
    "--curves": _option("folder of the curves"),
    "names": {
        "metavar": "NAME",
        "nargs": "*",
        "help": "figures to draw (default: all, and the output folder is replaced)",
    },
    "--results": _option("folder of the results"),
    "--out": _option("output: a folder or a file, written atomically"),
    "--threads": {"type": int, "default": os.cpu_count(), "help": "threads to compute with"},
    "files": {
        "metavar": "FILE",
        "nargs": "+",
        "help": "cloud of points: .npy, .safetensors or .parquet, such as a shard of a sweep",
    },
    "--json": {"action": "store_true", "help": "one line of JSON a file, for machines"},
    "--metrics": {
        "metavar": "NAME,...",
        "action": "append",
        "default": [],
        "help": "metrics by name; else all that the file allows",
    },
    "--k": {"type": _at_least(1), "help": "neighbours of id_mle, id_corrint and --local; else 20"},
    "--n-points": {
        "type": _at_least(1),
        "help": "N of the IDs: so many different points, drawn at random; else all",
    },
    "--seed": {
        "type": _at_least(0),
        "default": 0,
        "help": "of that drawing, and of the decimation",
    },
    "--selection": {
        "default": "all",
        "help": "which tokens of a shard: all, no_first, no_massive, no_massive_3, no_massive_10",
    },
    "--tensor": {"help": "which tensor of a .safetensors file, if several have two axes"},
    "--local": {
        "metavar": "OUT",
        "help": "write every point's own ID to this .parquet file, too",
    },
    "folder": {"help": "a checkpoint in Hugging Face format"},
}
