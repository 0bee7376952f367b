"""The command line: one subcommand for each step, so that commands in logs can be run by hand."""

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
    """Run a subcommand.

    Returns
    -------
    int
        Exit status: 0, or 2 after a one-line error message.
    """
    arguments = parser().parse_args(argv)
    if "threads" in arguments:
        # numpy, torch and tokenizers read these once, when they are imported.
        os.environ.update(dict.fromkeys(_THREADS, str(arguments.threads)))
    # Prevents a thread that looks for converted weights on the Hub.
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    # The cache of xet would not be counted in the disk budget.
    os.environ.setdefault("HF_XET_CHUNK_CACHE_SIZE_BYTES", "0")
    try:
        if "config" in arguments:
            from shapesweep.config import files

            arguments.config = files.load(arguments.config)
        return arguments.command(arguments) or 0
    except ShapesweepError as error:
        print(f"shapesweep: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        # Errors of the Parquet writer do not name the file.
        path = error.filename or getattr(arguments, "out", None)
        reason = os.strerror(error.errno) if error.errno else str(error)
        message = f"{path}: {reason}" if path else reason
        print(f"shapesweep: error: {message}", file=sys.stderr)
        return 2
    except MemoryError as error:
        message = str(error) or "the data does not fit in memory"
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
        epilog="Each command is one step of the sweep; `snakemake --cores all` runs all of them.",
    )
    top.add_argument("--version", action="version", version=__version__)
    below = top.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command, names in _commands().items():
        summary = command.__doc__
        sub = below.add_parser(command.__name__, help=summary, description=summary)
        sub.set_defaults(command=command)
        for name in names:
            sub.add_argument(name, **_OPTIONS[name])
    return top


def _commands() -> dict[Callable[[argparse.Namespace], int | None], list[str]]:
    """Every subcommand with its options, in the order of the steps."""
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


#: Environment variables that limit the threads of libraries.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")


def _at_least(least: int) -> Callable[[str], int]:
    """A reader of whole numbers with a lower bound."""

    def read(text: str) -> int:
        if not text.lstrip("-").isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
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
    "--rise": _option("maximum relative increase of the loss", type=float),
    "--budget-rise": {
        "type": float,
        "help": "maximum relative increase of the loss, if a dimension budget is needed, too",
    },
    "--room": _option("total bytes that all downloads may fill", type=int),
    "--definition": _option("definition of the suite, as JSON"),
    "--suite": _option("name of the suite"),
    "--run": _option("name of a run of the suite"),
    "--revision": _option("revisions of checkpoints of the run", nargs="+"),
    "--plan": _option("recorded plan of the suite"),
    "--manifest": _option("manifest of the suite"),
    "--manifests": _option("manifests of all suites", nargs="+"),
    "--plans": _option("recorded plans of all suites", nargs="+"),
    "--history": _option("histories of all suites", nargs="+"),
    "--checkpoints": {
        "default": "",
        "help": "folder of the downloads; one subfolder per revision if there are several",
    },
    "--tokenizer": {
        "default": "",
        "help": "folder of the run's tokenizer, if the checkpoint has none",
    },
    "--measured": {
        "default": "",
        "help": "folder with kept numbers of the run's checkpoints",
    },
    "--keep": {"default": "", "help": "folder for the shards (default: shards are removed)"},
    "--temporary": {
        "default": tempfile.gettempdir(),
        "help": "folder of temporary files (default: the system's)",
    },
    "--bytes": {"type": int, "default": 0, "help": "bytes of the disk budget to claim"},
    "--seconds": {
        "type": float,
        "default": math.inf,
        "help": "seconds after which the download may be removed if others need the room",
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
    "--json": {"action": "store_true", "help": "print one line of JSON per file"},
    "--metrics": {
        "metavar": "NAME,...",
        "action": "append",
        "default": [],
        "help": "metrics by name (default: all that the file allows)",
    },
    "--k": {
        "type": _at_least(1),
        "help": "number of neighbours for id_mle, id_corrint and --local (default: 20)",
    },
    "--n-points": {
        "type": _at_least(1),
        "help": "N of the IDs: number of different points, drawn at random (default: all)",
    },
    "--seed": {
        "type": _at_least(0),
        "default": 0,
        "help": "random seed for drawing points, and for the decimation",
    },
    "--selection": {
        "default": "all",
        "help": "tokens of a shard: all, no_first, no_massive, no_massive_3, no_massive_10",
    },
    "--tensor": {"help": "tensor of a .safetensors file, if several have two axes"},
    "--local": {
        "metavar": "OUT",
        "help": "also write the local ID of every point to this .parquet file",
    },
    "folder": {"help": "checkpoint in Hugging Face format"},
}
