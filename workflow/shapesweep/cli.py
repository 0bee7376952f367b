"""The command `shapesweep`: one verb a room, so that every line of a log can be pasted."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapesweep.errors import ShapesweepError

if TYPE_CHECKING:
    from shapesweep.manifest import Listed
    from shapesweep.suite import AnySuite


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
            from shapesweep import config

            arguments.config = config.load(arguments.config)
        return arguments.verb(arguments) or 0
    except ShapesweepError as error:
        print(f"shapesweep: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        said = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"shapesweep: error: {said}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def train(arguments: argparse.Namespace) -> None:
    """Train one run of an embedded suite."""
    from shapesweep import training
    from shapesweep.suite import EmbeddedSuite

    name, suite = _suite(arguments)
    if not isinstance(suite, EmbeddedSuite) or arguments.run not in suite.runs:
        raise ShapesweepError(f"suite {name} has no run {arguments.run!r} to be trained")
    training.train(suite, arguments.run, arguments.out)


def listing(arguments: argparse.Namespace) -> None:
    """Ask the Hub what a suite has published."""
    from shapesweep import listing
    from shapesweep.published import HubSuite

    name, suite = _suite(arguments)
    if not isinstance(suite, HubSuite):
        raise ShapesweepError(f"suite {name} does not lie on the Hub")
    found = listing.make(suite, arguments.out, arguments.config.hub.downloads)
    for repository, said in found.items():
        print(said.problem or f"{repository}: {len(said.trees)} commits")


def manifest(arguments: argparse.Namespace) -> None:
    """List a suite's checkpoints with their files."""
    from shapesweep import manifest, tables

    name, suite = _suite(arguments)
    config = arguments.config
    listed = manifest.list_checkpoints(name, suite, config.results)
    rows = manifest.rows(name, suite, listed, config.checkpoints)
    tables.write(rows, tables.MANIFEST, arguments.out)
    for row in rows:
        if row["status"]:
            print(f"{name}/{row['run']}/{row['revision']}: {', '.join(row['status'])}")


def checkpoint(arguments: argparse.Namespace) -> None:
    """Load a checkpoint, check its every weight, and say what it is."""
    from shapesweep import checkpoint

    if not Path(arguments.folder).is_dir():
        raise ShapesweepError(f"{arguments.folder}: there is no such folder")
    status = checkpoint.inspect(arguments.folder)["status"]
    if status:
        raise ShapesweepError(f"{arguments.folder}: {', '.join(status)}")
    try:
        model = checkpoint.load(arguments.folder)
    except ShapesweepError as error:
        raise ShapesweepError(f"{arguments.folder}: {error}") from None
    kind = checkpoint.family(type(model).__name__)
    print(
        f"{arguments.folder}: {type(model).__name__} ({kind}), {model.num_parameters():,} weights"
    )


def download(arguments: argparse.Namespace) -> None:
    """Fetch one checkpoint of the Hub, when the disk has room for it."""
    from shapesweep import download, inventory

    row, one = _row(arguments)
    if one.published is None:
        raise ShapesweepError(f"suite {row['suite']} does not lie on the Hub")
    config = arguments.config
    room = int(config.hub.disk_gb * 1e9)
    budget = download.Budget(config.results, room, config.keep_activations)
    place = f"{row['suite']}/{one.run}/{one.revision}"
    needed = inventory.footprint(one, config)
    files, out = list(one.published.files), Path(arguments.out)
    tokens = Path(arguments.tokenizer) if arguments.tokenizer else None
    print(download.checkpoint(row, files, out, lambda: budget.claim(place, needed), tokens))


def tokenizer(arguments: argparse.Namespace) -> None:
    """Fetch the tokenizer of a run of the Hub."""
    from shapesweep import download, manifest

    name, suite = _suite(arguments)
    row, places = manifest.tokenizers(name, suite, arguments.config.results, arguments.run)
    print(download.tokenizer(row, places, Path(arguments.out)))


def activations(arguments: argparse.Namespace) -> None:
    """Extract the activations of one checkpoint."""
    from shapesweep import activations, geometry

    row, one = _row(arguments)
    tokens = Path(arguments.tokenizer) if arguments.tokenizer else None
    # Shards that are to be kept are all extracted, whether or not they are measured already.
    keep = arguments.config.keep_activations
    known = {} if keep else geometry.complete(arguments.measured, arguments.config.geometry)
    print(activations.extract(row, one.folder, arguments.config, arguments.out, known, tokens))


def geometry(arguments: argparse.Namespace) -> None:
    """Measure the shards of one checkpoint."""
    from shapesweep import geometry

    done = geometry.measure(arguments.activations, arguments.out, arguments.config.geometry)
    print(f"{arguments.out}: {done}")


def measure(arguments: argparse.Namespace) -> int:
    """Measure clouds that lie in files."""
    from shapesweep import cloudfile, measure

    names = [name for part in arguments.metrics for name in part.split(",") if name]
    if arguments.local and len(arguments.files) > 1:
        raise ShapesweepError("--local writes the points of one file: name one")
    status = 0
    for path in arguments.files:
        try:
            cloud = cloudfile.read(path, arguments.selection, arguments.tensor)
            if arguments.local:
                measure.write_local(cloud, arguments.k, arguments.local)
            made = measure.measure(cloud, names, arguments.k, arguments.n_points, arguments.seed)
            told = measure.as_json(*made) if arguments.json else measure.as_table(*made)
            print(told, flush=True)
        except ShapesweepError as error:
            # What is wrong with one file costs no other.
            print(f"shapesweep: error: {error}", file=sys.stderr)
            status = 2
    return status


def join(arguments: argparse.Namespace) -> None:
    """Join the tables of all checkpoints."""
    from shapesweep import join

    suites = arguments.config.suites.items()
    accepted = {name: getattr(suite, "accept", []) for name, suite in suites}
    join.join(arguments.manifests, arguments.geometry, arguments.out, accepted)


def curves(arguments: argparse.Namespace) -> None:
    """Make the curves of the joined tables."""
    from shapesweep import curves, tables

    tables_in = Path(arguments.tables)
    geometry = tables.read(tables_in / "geometry.parquet", tables.GEOMETRY)
    replicates = tables.read(tables_in / "replicates.parquet", tables.REPLICATES)
    losses = tables.read(tables_in / "losses.parquet", tables.LOSSES)
    out = Path(arguments.out)
    made = curves.profiles(geometry, replicates)
    tables.write(made, tables.PROFILES, out / "profiles.parquet")
    made = curves.trajectories(geometry, replicates, losses)
    tables.write(made, tables.TRAJECTORIES, out / "trajectories.parquet")
    made = curves.phases(geometry, replicates)
    tables.write(made, tables.PHASES, out / "phases.parquet")
    missing = tables.read(tables_in / "failures.parquet", tables.FAILURES)
    tables.write(missing, tables.FAILURES, out / "missing.parquet")


def figures(arguments: argparse.Namespace) -> None:
    """Draw one figure as SVG, PDF and PNG."""
    from shapesweep import figures

    figures.draw(arguments.figure, arguments.curves, arguments.out)


def summary(arguments: argparse.Namespace) -> None:
    """Say what the sweep has found, and where it lies."""
    from shapesweep import summary

    print(summary.write(arguments.results, arguments.out))


def page(arguments: argparse.Namespace) -> None:
    """Write the page of a sweep: all of it in one file for a browser."""
    from shapesweep import page

    print(page.write(arguments.results, arguments.out))


def _suite(arguments: argparse.Namespace) -> tuple[str, AnySuite]:
    suites = arguments.config.suites
    if arguments.suite not in suites:
        raise ShapesweepError(
            f"{arguments.suite!r} is not a suite of this sweep: {', '.join(suites)}"
        )
    return arguments.suite, suites[arguments.suite]


def manifests(arguments: argparse.Namespace) -> None:
    """Say what every suite has: checkpoints, bytes, holes, defects."""
    from shapesweep import inventory, manifest

    config = arguments.config
    suites = config.suites.items()
    listed = {n: manifest.list_checkpoints(n, suite, config.results) for n, suite in suites}
    print(inventory.published(listed))


def plan(arguments: argparse.Namespace) -> None:
    """Say what the sweep will cost: checkpoints, bytes, disk, tokens, operations, hours."""
    from shapesweep import inventory, manifest

    config = arguments.config
    chosen = {}
    for name, suite in config.suites.items():
        listed = manifest.list_checkpoints(name, suite, config.results)
        wanted = manifest.select(listed, config.checkpoints)
        chosen[name] = [one for one in wanted if not one.flags]
    print(inventory.costs(chosen, config))


def _row(arguments: argparse.Namespace) -> tuple[dict[str, Any], Listed]:
    """The manifest's row of one checkpoint, read anew from its files, and the checkpoint."""
    from shapesweep import manifest

    name, suite = _suite(arguments)
    listed = manifest.list_checkpoints(name, suite, arguments.config.results)
    key = (arguments.run, arguments.revision)
    found = [one for one in listed if (one.run, one.revision) == key]
    if not found:
        raise ShapesweepError(f"suite {name} has no checkpoint {'/'.join(key)}")
    return manifest.rows(name, suite, found, "all")[0], found[0]


def parser() -> argparse.ArgumentParser:
    """The command line; `docs/generate.py` writes its reference from it."""
    from shapesweep import __version__

    made = argparse.ArgumentParser(
        prog="shapesweep",
        description="Follow the shape of a language model's hidden states through its training.",
        epilog="Each verb is one step of the sweep; `snakemake --cores all` runs them all.",
    )
    made.add_argument("--version", action="version", version=__version__)
    below = made.add_subparsers(title="verbs", required=True, metavar="VERB")
    for verb, names in _verbs().items():
        told = verb.__doc__
        sub = below.add_parser(verb.__name__, help=told, description=told)
        sub.set_defaults(verb=verb)
        for name in names:
            sub.add_argument(name, **_OPTIONS[name])
    return made


def _verbs() -> dict[Callable[[argparse.Namespace], int | None], list[str]]:
    """Every verb with its options, in the order of the way of the data."""
    one_checkpoint = ["--config", "--suite", "--run", "--revision"]
    return {
        train: ["--config", "--suite", "--run", "--threads", "--out"],
        listing: ["--config", "--suite", "--out"],
        manifest: ["--config", "--suite", "--out"],
        manifests: ["--config"],
        plan: ["--config"],
        download: [*one_checkpoint, "--tokenizer", "--out"],
        tokenizer: ["--config", "--suite", "--run", "--out"],
        checkpoint: ["folder"],
        activations: [*one_checkpoint, "--tokenizer", "--measured", "--threads", "--out"],
        geometry: ["--config", "--activations", "--threads", "--out"],
        measure: [
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
        join: ["--config", "--manifests", "--geometry", "--out"],
        curves: ["--tables", "--out"],
        figures: ["--curves", "--figure", "--out"],
        summary: ["--results", "--out"],
        page: ["--results", "--out"],
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
    "--suite": _option("name of a suite of the configuration"),
    "--run": _option("name of a run of the suite"),
    "--revision": _option("revision of a checkpoint of the run"),
    "--manifests": _option("manifests of all suites", nargs="+"),
    "--tokenizer": {
        "default": "",
        "help": "folder of the run's tokenizer, if it does not lie with the checkpoint",
    },
    "--measured": {
        "default": "",
        "help": "folder of this checkpoint's geometry: what is measured already is not extracted",
    },
    "--activations": _option("folder of one checkpoint's shards"),
    "--geometry": _option("folder of all checkpoints' geometry"),
    "--tables": _option("folder of the joined tables"),
    "--curves": _option("folder of the curves"),
    "--figure": _option("name of a figure"),
    "--results": _option("folder of the results"),
    "--out": _option("what is made: a folder or file, whole or not at all"),
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
