"""The verbs of the command, one a room: each calls its room and says what was done."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapesweep.errors import ShapesweepError

if TYPE_CHECKING:
    from shapesweep.geometry import Measured
    from shapesweep.manifest import Listed
    from shapesweep.suite import AnySuite


def train(arguments: argparse.Namespace) -> None:
    """Train one run of an embedded suite."""
    from shapesweep import training
    from shapesweep.suite import EmbeddedSuite

    name, suite = _suite(arguments)
    if not isinstance(suite, EmbeddedSuite) or arguments.run not in suite.runs:
        raise ShapesweepError(f"suite {name} has no run {arguments.run!r} to be trained")
    training.train(suite, arguments.run, arguments.out)


def listing(arguments: argparse.Namespace) -> None:
    """Ask the Hub what a suite has published, or trainings which checkpoints they have kept."""
    from shapesweep import listing
    from shapesweep.published import HubSuite
    from shapesweep.suite import EmbeddedSuite, checkpoint_folder

    name, suite = _suite(arguments)
    if isinstance(suite, EmbeddedSuite):
        results = arguments.config.results
        folders = {run: checkpoint_folder(results, name, run) for run in suite.runs}
        listing.write_steps(folders, arguments.out)
        return
    if not isinstance(suite, HubSuite):
        raise ShapesweepError(f"suite {name} does not lie on the Hub")
    found = listing.make(suite, arguments.out, arguments.config.hub.downloads)
    for repository, said in found.items():
        print(said.problem or f"{repository}: {len(said.trees)} commits")


def history(arguments: argparse.Namespace) -> None:
    """Gather what was recorded while the runs of a suite were trained."""
    from shapesweep import contracts, history, tables

    name, suite = _suite(arguments)
    made, problems = history.of_suite(name, suite, arguments.config.results)
    tables.write(made, contracts.HISTORY, arguments.out)
    for one in problems:
        print(f"not read: {one}")
    print(f"{name}: {len(made):,} numbers of {made.run.nunique()} runs")


def manifest(arguments: argparse.Namespace) -> None:
    """List a suite's checkpoints with their files."""
    from shapesweep import contracts, manifest, tables

    name, suite = _suite(arguments)
    config = arguments.config
    listed = manifest.list_checkpoints(name, suite, config.results)
    rows = manifest.rows(name, suite, listed, config.checkpoints)
    tables.write(rows, contracts.MANIFEST, arguments.out)
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
    """Fetch checkpoints of the Hub, when the disk has room for them."""
    from shapesweep import costs, download

    config, out = arguments.config, Path(arguments.out)
    wanted = [one for one in _members(arguments) if not one.is_measured]
    room = int(config.hub.disk_gb * 1e9)
    budget = download.Budget(config.passing, room, config.keep_activations)
    needed = sum(costs.footprint(costs.Model.published(one.listed), config) for one in wanted)
    place = "/".join([arguments.suite, arguments.run, out.name])
    fits = download.Once(lambda: budget.claim(place, needed, arguments.seconds))
    try:
        for one in wanted:
            if one.listed.published is None:
                raise ShapesweepError(f"suite {arguments.suite} does not lie on the Hub")
            files = list(one.listed.published.files)
            into = one.folder(out)
            print(download.checkpoint(one.row, files, into, fits, one.tokenizer), flush=True)
        out.mkdir(parents=True, exist_ok=True)
    finally:
        budget.settle(place)


def tokenizer(arguments: argparse.Namespace) -> None:
    """Fetch the tokenizer of a run of the Hub."""
    from shapesweep import download, manifest

    name, suite = _suite(arguments)
    row, places = manifest.tokenizers(name, suite, arguments.config.results, arguments.run)
    print(download.tokenizer(row, places, Path(arguments.out)))


def activations(arguments: argparse.Namespace) -> None:
    """Extract the activations of checkpoints."""
    from shapesweep import activations

    config, out, sources = arguments.config, Path(arguments.out), []
    out.mkdir(parents=True, exist_ok=True)
    for one in _members(arguments):
        # Shards that are to be kept are all extracted, whether or not they are measured already.
        keep = config.keep_activations
        if one.is_measured and not keep:
            print(f"{one.listed.revision}: nothing to be extracted: it is measured")
            continue
        known = {} if keep else one.known.complete()
        into = one.folder(out)
        sources.append(
            activations.Source(one.row, one.source, into, known, one.tokenizer, one.state)
        )
    for said in activations.extract(sources, config):
        print(said, flush=True)


def geometry(arguments: argparse.Namespace) -> None:
    """Measure the shards of checkpoints."""
    from shapesweep import batches, geometry

    settings, revisions = arguments.config.geometry, arguments.revision
    states, expected = {}, dict(zip(revisions, arguments.state, strict=False))
    for number, revision in enumerate(revisions):
        shards = batches.place(arguments.activations, revisions, revision)
        into, part = Path(arguments.out) / revision, (number, len(revisions))
        # One without shards was measured already, and is kept.
        if shards.is_dir() and any(shards.iterdir()):
            said = geometry.measure(shards, into, settings, part, expected.get(revision, ""))
            print(f"{into}: {said}", flush=True)
        states[revision] = geometry.Measured.read(into, settings).finished()
    if arguments.mark:
        batches.write_mark(arguments.mark, batches.key(states, arguments.config), revisions)


def budget(arguments: argparse.Namespace) -> None:
    """Count the dimensions that each layer of one checkpoint needs."""
    from shapesweep import budget, contracts, tables
    from shapesweep.errors import CheckpointError

    (one,) = _members(arguments)
    row, made = one.row, []
    try:
        made = budget.measure(row, one.source, arguments.config, one.tokenizer)
        print(f"{arguments.out}: {len(made)} layers")
    except CheckpointError as error:
        # What keeps it from being measured at all is recorded with its activations.
        print(f"{row['suite']}/{row['run']}/{row['revision']}: no budget: {error}")
    made_with = {"settings": budget.settings_of(arguments.config)}
    tables.write(made, contracts.BUDGETS, arguments.out, made_with)


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
    from shapesweep import budget, join, tables

    wanted = budget.settings_of(arguments.config)
    for path in arguments.budgets:
        if tables.read_metadata(path).get("settings") != wanted:
            raise ShapesweepError(f"{path}: made with other settings: remove it, and run again")
    suites = arguments.config.suites.items()
    accepted = {name: getattr(suite, "accept", []) for name, suite in suites}
    join.join(
        arguments.manifests,
        arguments.geometry,
        arguments.out,
        accepted,
        arguments.budgets,
        arguments.history,
    )


def curves(arguments: argparse.Namespace) -> None:
    """Make the curves of the joined tables."""
    from shapesweep import contracts, curves, tables

    tables_in = Path(arguments.tables)
    geometry = tables.read(tables_in / "geometry.parquet", contracts.GEOMETRY)
    replicates = tables.Reader(tables_in / "replicates.parquet", contracts.REPLICATES)
    losses = tables.read(tables_in / "losses.parquet", contracts.LOSSES)
    out = Path(arguments.out)
    history = tables.read(tables_in / "history.parquet", contracts.HISTORY)
    continuity = tables.read(tables_in / "continuity.parquet", contracts.CONTINUITY)
    for name, made in curves.build(geometry, replicates, losses, history, continuity).items():
        tables.write(made, getattr(contracts, name.upper()), out / f"{name}.parquet")
    missing = tables.read(tables_in / "failures.parquet", contracts.FAILURES)
    tables.write(missing, contracts.MISSING, out / "missing.parquet")
    budgets = tables.read(tables_in / "budgets.parquet", contracts.BUDGETS)
    tables.write(budgets, contracts.BUDGETS, out / "budgets.parquet")


def comparison(arguments: argparse.Namespace) -> None:
    """Hold the authors' numbers against those of a sweep of their models."""
    from shapesweep import contracts, tables
    from shapesweep.curves.comparison import as_markdown

    made = tables.read(Path(arguments.curves) / "comparison.parquet", contracts.COMPARISON)
    Path(arguments.out).write_text(as_markdown(made), encoding="utf-8")
    print(as_markdown(made))


def warnings(arguments: argparse.Namespace) -> None:
    """Say what warned of loss explosions, and what did not."""
    from shapesweep.curves.answer import as_markdown
    from shapesweep.figures import Curves

    told = as_markdown(Curves.read(Path(arguments.curves)))
    Path(arguments.out).write_text(told, encoding="utf-8")
    print(told)


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


@dataclass(frozen=True)
class _Member:
    """One of the checkpoints that a verb is asked for."""

    suite: AnySuite
    listed: Listed
    arguments: argparse.Namespace

    @cached_property
    def row(self) -> dict[str, Any]:
        """Of the manifest, read anew from its files."""
        from shapesweep import manifest

        return manifest.rows(self.arguments.suite, self.suite, [self.listed], "all")[0]

    @property
    def source(self) -> Path:
        """Where its files lie."""
        downloaded = self.arguments.checkpoints
        return self.folder(Path(downloaded)) if downloaded else self.listed.folder

    @property
    def tokenizer(self) -> Path | None:
        return Path(self.arguments.tokenizer) if self.arguments.tokenizer else None

    @cached_property
    def known(self) -> Measured:
        """What is measured of it already."""
        from shapesweep import geometry

        if not self.arguments.measured:
            return geometry.Measured.of({}, [], [], [])
        place = Path(self.arguments.measured, self.listed.revision)
        return geometry.Measured.read(place, self.arguments.config.geometry)

    @cached_property
    def state(self) -> str:
        from shapesweep import batches

        return batches.state(self.suite, self.listed, self.arguments.config)

    @property
    def is_measured(self) -> bool:
        """Whether all its numbers are there, from what it is now."""
        return self.known.finished() == self.state

    def folder(self, batch: Path) -> Path:
        """Where it lies in a folder of all that are asked for."""
        from shapesweep import batches

        return batches.place(batch, self.arguments.revision, self.listed.revision)


def _members(arguments: argparse.Namespace) -> list[_Member]:
    from shapesweep import manifest

    name, suite = _suite(arguments)
    listed = manifest.list_checkpoints(name, suite, arguments.config.results)
    known = {one.revision: one for one in listed if one.run == arguments.run}
    for revision in arguments.revision:
        if revision not in known:
            raise ShapesweepError(f"suite {name} has no checkpoint {arguments.run}/{revision}")
    return [_Member(suite, known[revision], arguments) for revision in arguments.revision]
