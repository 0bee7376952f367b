"""The command line. Each step of a sweep is a subcommand, so a user can run any step by hand."""

from __future__ import annotations

import argparse
import math
import os
import tempfile
from collections.abc import Callable
from typing import Any

from shapesweep.cli import commands, examine, registry
from shapesweep.cli.exit_status import exit_status


def main(argv: list[str] | None = None) -> int:
    """Run a subcommand.

    Returns
    -------
    int
        Exit status: 0, or 2 after a one-line error message. `check-registry` returns 1 if the
        registry and the Hub differ.
    """
    arguments = parser().parse_args(argv)
    if "threads" in arguments:
        # numpy, torch and tokenizers read these variables once, when they are imported.
        os.environ.update(dict.fromkeys(_THREADS, str(arguments.threads)))
    # Keep transformers from starting a thread that looks for converted weights on the Hub.
    os.environ.setdefault("DISABLE_SAFETENSORS_CONVERSION", "1")
    # The disk budget does not count the cache of xet, so disable this cache.
    os.environ.setdefault("HF_XET_CHUNK_CACHE_SIZE_BYTES", "0")
    return exit_status(lambda: _run(arguments), getattr(arguments, "out", None))


def _run(arguments: argparse.Namespace) -> int | None:
    if "config" in arguments:
        from shapesweep.config import files

        arguments.config = files.load(arguments.config)
    return arguments.command(arguments)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line, from which `docs/generate.py` writes the reference."""
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
        title = command.__name__.replace("_", "-")
        sub = below.add_parser(title, help=summary, description=summary)
        sub.set_defaults(command=command)
        for name in names:
            sub.add_argument(name, **_OPTIONS_OF.get((title, name), _OPTIONS[name]))
    return top


def _commands() -> dict[Callable[[argparse.Namespace], int | None], list[str]]:
    """Return every subcommand with its options, in the order of the steps."""
    suite = ["--definition", "--suite", "--results"]
    checkpoints = ["--settings", "--manifest", "--texts", "--run", "--revision", "--tokenizer"]
    fetched = [*checkpoints, "--checkpoints", "--device", "--batch-tokens", "--threads"]
    return {
        commands.train: ["--definition", "--run", "--threads", "--out"],
        registry.check_registry: ["suites", "--calls", "--out"],
        commands.listing: [*suite, "--calls", "--out"],
        commands.text: ["name", "--copy"],
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
        examine.checkpoint: ["folder", "--base"],
        commands.activations: [*fetched, "--out"],
        commands.geometry: [
            *(*fetched, "--measured", "--temporary", "--keep", "--retries", "--out"),
        ],
        examine.measure: [
            *("files", "--json", "--metrics", "--k", "--n-points", "--seed", "--selection"),
            *("--tensor", "--local", "--threads"),
        ],
        commands.budget: [*fetched, "--measured", "--rise", "--temporary", "--retries", "--out"],
        commands.join: ["--plans", "--manifests", "--history", "--results", "--out"],
        commands.curves: ["--tables", "--tested", "--out"],
        commands.comparison: ["--curves", "--out"],
        commands.warnings: ["--tables", "--curves", "--spiked", "--out"],
        commands.figures: ["names", "--curves", "--out"],
        commands.summary: ["--results", "--out"],
        commands.page: ["--results", "--out"],
    }


#: Environment variables that limit the threads of libraries.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")


def _at_least(least: int) -> Callable[[str], int]:
    """Return a function that parses an integer, and refuses integers below `least`."""

    def read(text: str) -> int:
        if not text.lstrip("-").isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not an integer of at least {least}")
        return int(text)

    return read


def _needed(text: str, **more: Any) -> dict[str, Any]:
    return {"required": True, "help": text, **more}


def _optional(text: str, default: Any = None, **more: Any) -> dict[str, Any]:
    return {"help": text, "default": default, **more}


_OPTIONS: dict[str, dict[str, Any]] = {
    "--config": _needed("configuration file that a sweep wrote beside its results"),
    "--settings": _needed("settings file of the measurement, or a complete configuration"),
    "--device": _optional("device of the model (default: auto)", choices=["auto", "cpu", "cuda"]),
    "--batch-tokens": _optional("tokens per forward pass (default: 4096)", type=int),
    "--calls": _optional(
        "number of concurrent requests to the Hub (default: 2)", 2, type=_at_least(1)
    ),
    "--rise": _needed("maximum relative increase of the loss", type=float),
    "--budget-rise": _optional(
        "value of --rise, if dimension budgets of these checkpoints are also measured", type=float
    ),
    "--room": _needed("total number of bytes that all downloads may occupy", type=int),
    "--definition": _needed("definition of the suite, as JSON"),
    "--suite": _needed("name of the suite"),
    "--texts": _optional("folder of the texts that were fetched", ""),
    "name": {
        "help": "`paper`, or hf://datasets/<repository>@<commit>/<path>.parquet#<column>",
        "metavar": "TEXT",
    },
    "--copy": _optional("file to which the text is written, with its sha256 beside it"),
    "--run": _needed("name of a run of the suite"),
    "--revision": _needed("revisions of checkpoints of the run", nargs="+"),
    "--plan": _needed("recorded plan of the suite"),
    "--manifest": _needed("manifest of the suite"),
    "--manifests": _needed("manifests of all suites", nargs="+"),
    "--plans": _needed("recorded plans of all suites", nargs="+"),
    "--history": _needed("histories of all suites", nargs="+"),
    "--checkpoints": _optional(
        "folder of downloads; with several revisions, it has one subfolder per revision", ""
    ),
    "--tokenizer": _optional("folder of the run's tokenizer, if the checkpoint contains none", ""),
    "--measured": _optional("folder in which jobs keep the numbers of the run's checkpoints", ""),
    "--keep": _optional("folder in which shards are kept (default: shards are removed)", ""),
    "--temporary": _optional(
        "folder for temporary files (default: the system's folder)", tempfile.gettempdir()
    ),
    "--retries": _optional(
        "how often the workflow repeats this job, with more memory, if it fails (default: 0)",
        0,
        type=int,
    ),
    "--bytes": _optional("number of bytes to claim from the disk budget", 0, type=int),
    "--seconds": _optional(
        "seconds after which the download may be removed if another download needs the space",
        math.inf,
        type=float,
    ),
    "--tables": _needed("folder of the joined tables"),
    "--curves": _needed("folder of the curves"),
    "--spiked": _optional(
        "for each suite, patterns for runs that were saved during a loss spike, as JSON", "{}"
    ),
    "--tested": _needed("curves on which the claim of two phases is tested, as JSON"),
    "names": _optional(
        "figures to draw (default: draw all figures, and replace the output folder)",
        metavar="NAME",
        nargs="*",
    ),
    "--results": _needed("folder of the results"),
    "--out": _needed("output folder or file, which is written atomically"),
    "--threads": _optional("number of threads", os.cpu_count(), type=int),
    "files": _optional(
        "file with a point cloud (.npy, .safetensors or .parquet), such as a shard of a sweep",
        metavar="FILE",
        nargs="+",
    ),
    "--json": {"help": "print one line of JSON per file", "action": "store_true"},
    "--metrics": _optional(
        "names of metrics (default: all metrics that can be computed from the file)",
        [],
        metavar="NAME,...",
        action="append",
    ),
    "--k": _optional(
        "number of neighbours for id_mle, id_corrint and --local (default: 20)", type=_at_least(1)
    ),
    "--n-points": _optional(
        "number N of distinct points, drawn at random, from which IDs (intrinsic dimensions) are "
        "estimated (default: all points)",
        type=_at_least(1),
    ),
    "--seed": _optional("random seed for drawing points and for decimation", 0, type=_at_least(0)),
    "--selection": _optional(
        "tokens to select from a shard: all, no_first, no_massive, no_massive_3, no_massive_10",
        "all",
    ),
    "--tensor": _optional(
        "name of the tensor in a .safetensors file, if several tensors have two axes"
    ),
    "--local": _optional(
        "also write the local ID of every distinct point to this .parquet file", metavar="OUT"
    ),
    "folder": {"help": "folder of a checkpoint in Hugging Face format"},
    "--base": _optional(
        "base model, if the checkpoint is a LoRA adapter: a folder, or org/name@<commit> on the Hub"
    ),
    "suites": _optional(
        "suites of the registry (default: all suites on the Hub)", metavar="SUITE", nargs="*"
    ),
}
#: Options that differ from the option of the same name in `_OPTIONS`.
_OPTIONS_OF = {
    ("check-registry", "--out"): _optional(
        "record of the checks (default: checked.json in the folder of the registry)"
    ),
}
