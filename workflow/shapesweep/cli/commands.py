"""The subcommands. Each subcommand runs a step of the sweep, and prints what it did."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shapesweep.cli.exit_status import exit_status
from shapesweep.errors import ShapesweepError

if TYPE_CHECKING:
    from shapesweep.config.measurement import Measurement
    from shapesweep.config.suite import AnySuite
    from shapesweep.geometry.isolation import Attempt
    from shapesweep.geometry.member import Member
    from shapesweep.manifest.selection import Rule


def train(arguments: argparse.Namespace) -> None:
    """Train one run of an embedded suite."""
    from shapesweep.config.suite import EmbeddedSuite
    from shapesweep.training.train import train

    suite = _suite(arguments)
    if not isinstance(suite, EmbeddedSuite) or arguments.run not in suite.runs:
        raise ShapesweepError(f"--definition: has no run {arguments.run!r} to train")
    train(suite, arguments.run, arguments.out)


def listing(arguments: argparse.Namespace) -> None:
    """List a suite's repositories on the Hub or trained checkpoints, or fetch its base models."""
    from shapesweep.config.hub_suite import HubSuite
    from shapesweep.config.suite import EmbeddedSuite, checkpoint_folder
    from shapesweep.hub import bases, listing

    name, suite = arguments.suite, _suite(arguments)
    if isinstance(suite, EmbeddedSuite):
        folders = {run: checkpoint_folder(arguments.results, name, run) for run in suite.runs}
        listing.write_steps(folders, arguments.out)
        return
    if not isinstance(suite, HubSuite):
        bases.write_folders(suite.bases_on_hub, arguments.out)
        return
    found = listing.request(suite, arguments.out, arguments.calls)
    for repository, listed in found.items():
        print(listed.problem or f"{repository}: {len(listed.trees)} commits")


def history(arguments: argparse.Namespace) -> None:
    """Collect the values that were recorded during the training of a suite's runs."""
    from shapesweep.manifest import history
    from shapesweep.storage import schemas, tables

    name, suite, *_ = _planned(arguments)
    recorded, problems = history.of_suite(name, suite, arguments.results)
    tables.write(recorded, schemas.HISTORY, arguments.out)
    for problem in problems:
        print(f"not read: {problem}")
    print(f"{name}: {len(recorded):,} numbers from {recorded.run.nunique()} runs")


def manifest(arguments: argparse.Namespace) -> None:
    """List a suite's checkpoints with their files, and remove earlier plans of the suite."""
    from shapesweep.manifest import checkpoints
    from shapesweep.plan import fingerprints
    from shapesweep.storage import manifests

    name, suite, rule, planned, texts = _planned(arguments)
    listed = checkpoints.list_checkpoints(name, suite, arguments.results)
    try:
        known = manifests.read(arguments.out)
    except ShapesweepError:
        known = []  # Without a valid earlier manifest, all files are hashed.
    described = checkpoints.describe(name, suite, listed, rule, known, planned)
    manifests.write(described, arguments.out, fingerprints.text_digests(texts))
    # Earlier plans are removed, so that the manifest is written again if a sweep returns to one of
    # these plans.
    plan = Path(arguments.plan)
    for other in plan.parent.glob("*.json"):
        if other != plan:
            other.unlink(missing_ok=True)
    for checkpoint in described:
        if checkpoint.status:
            print(f"{checkpoint.name}: {', '.join(checkpoint.status)}")


def download(arguments: argparse.Namespace) -> None:
    """Download checkpoints from the Hub, as soon as the disk has room for them."""
    from shapesweep.hub import disk_budget, download

    out = Path(arguments.out)
    claim = "/".join(out.parts[-4:])
    disk = disk_budget.DiskBudget(_temporary(arguments), arguments.room)
    rise = arguments.budget_rise
    wanted = [
        (member.checkpoint, member.folder)
        for member in _members(arguments, downloads=out)
        if not (member.is_measured and (rise is None or member.budget(rise) is not None))
    ]
    with disk.using(claim, "download"):
        for line in download.checkpoints(
            wanted,
            lambda: disk.claim(claim, arguments.bytes, arguments.seconds),
            Path(arguments.tokenizer),
        ):
            print(line, flush=True)
        out.mkdir(parents=True, exist_ok=True)


def tokenizer(arguments: argparse.Namespace) -> None:
    """Download the tokenizer of a run from the Hub."""
    from shapesweep.hub import download
    from shapesweep.manifest import checkpoints

    name, suite = arguments.suite, _suite(arguments)
    last, sources, problem = checkpoints.tokenizers(name, suite, arguments.results, arguments.run)
    print(download.tokenizer(last, sources, Path(arguments.out), problem))


def text(arguments: argparse.Namespace) -> None:
    """Fetch a text of the corpora, and verify it; later calls find it in the cache."""
    from shapesweep.hub import texts

    print(texts.fetch(arguments.name, arguments.copy))


def activations(arguments: argparse.Namespace) -> None:
    """Extract the activations of checkpoints."""
    from shapesweep.activations.extract import extract

    out, several = Path(arguments.out), len(arguments.revision) > 1
    sources = [
        member.source(out / str(member.checkpoint.revision) if several else out)
        for member in _members(arguments, downloads=arguments.checkpoints)
    ]
    for _, line in extract(sources, _settings(arguments)):
        print(line, flush=True)


def geometry(arguments: argparse.Namespace) -> None:
    """Measure checkpoints: extract their activations, and write the tables of their metrics."""

    def work(attempt: Attempt) -> None:
        from shapesweep.geometry import batch

        members = _members(arguments, downloads=arguments.checkpoints)
        shards, settings = _temporary(arguments) / "activations", _settings(arguments)
        for line in batch.measure(
            members, arguments.out, shards, settings, arguments.keep, attempt
        ):
            print(line, flush=True)

    _run_in_child(work, arguments, "geometry")


def budget(arguments: argparse.Namespace) -> None:
    """Measure how many dimensions of each layer a checkpoint needs to keep its loss."""

    def work(attempt: Attempt) -> None:
        from shapesweep.geometry import batch

        (member,) = _members(arguments, downloads=arguments.checkpoints)
        print(batch.measure_budget(member, arguments.out, arguments.rise, attempt))

    _run_in_child(work, arguments, "budget")


def join(arguments: argparse.Namespace) -> None:
    """Join the tables of all checkpoints."""
    from shapesweep.curves import join

    join.join(
        arguments.plans, arguments.manifests, arguments.history, arguments.results, arguments.out
    )


def curves(arguments: argparse.Namespace) -> None:
    """Compute the curves from the joined tables."""
    from shapesweep import curves
    from shapesweep.storage import schemas, tables

    folder = Path(arguments.tables)
    geometry, losses, continuity, copies, failures, budgets = (
        tables.read(folder / f"{name}.parquet", getattr(schemas, name.upper()))
        for name in ("geometry", "losses", "continuity", "copies", "failures", "budgets")
    )
    replicates = tables.Reader(folder / "replicates.parquet", schemas.REPLICATES)
    tested = json.loads(arguments.tested)
    built = curves.build(geometry, replicates, losses, continuity, copies, tested)
    for name, table in {**built, "missing": failures, "budgets": budgets}.items():
        path = Path(arguments.out) / f"{name}.parquet"
        tables.write(table, getattr(schemas, name.upper()), path)


def comparison(arguments: argparse.Namespace) -> None:
    """Compare the paper's numbers with a sweep's numbers for the same models."""
    from shapesweep.report.paper_numbers import as_markdown
    from shapesweep.storage import schemas, tables

    table = tables.read(Path(arguments.curves) / "comparison.parquet", schemas.COMPARISON)
    text = as_markdown(table)
    Path(arguments.out).write_text(text, encoding="utf-8")
    print(text)


def warnings(arguments: argparse.Namespace) -> None:
    """Score how well signals warned of loss explosions, and write the report."""
    from shapesweep.curves.tables import Curves
    from shapesweep.explosions import checkpoints, scoring
    from shapesweep.report.explosions import as_markdown
    from shapesweep.storage import schemas, tables

    history, copies, manifest = (
        tables.read(Path(arguments.tables) / f"{name}.parquet", getattr(schemas, name.upper()))
        for name in ("history", "copies", "manifest")
    )
    copied = set(zip(copies.suite, copies.run, strict=True))
    curves, spiked = Path(arguments.curves), json.loads(arguments.spiked)
    trajectories = tables.read(curves / "trajectories.parquet", schemas.TRAJECTORIES)
    found = scoring.warnings(history, copied)
    found["spiked"] = checkpoints.describe(trajectories, history, manifest, spiked)
    for name, table in found.items():
        tables.write(table, getattr(schemas, name.upper()), curves / f"{name}.parquet")
    report = as_markdown(Curves.read(curves))
    Path(arguments.out).write_text(report, encoding="utf-8")
    print(report)


def figures(arguments: argparse.Namespace) -> None:
    """Draw the figures for which the tables contain data, as SVG, PDF and PNG."""
    from shapesweep import figures

    if arguments.names:
        drawn = figures.draw(arguments.names, arguments.curves, Path(arguments.out))
    else:
        drawn = figures.draw_all(arguments.curves, arguments.out)
    print(f"drawn: {', '.join(drawn) or 'none'}")
    for name in (name for name in arguments.names if name not in drawn):
        print(f"not drawn: {name} has no data; it needs {figures.FIGURES[name].needs}")


def summary(arguments: argparse.Namespace) -> None:
    """Summarize the results of the sweep, and list the paths of its files."""
    from shapesweep.report import summary

    print(summary.write(arguments.results, arguments.out))


def page(arguments: argparse.Namespace) -> None:
    """Write the page of a sweep as a single HTML file."""
    from shapesweep.report import page

    print(page.write(arguments.results, arguments.out))


def _suite(arguments: argparse.Namespace) -> AnySuite:
    """Return the definition of a suite from the command line."""
    from shapesweep.config.suite import SUITE
    from shapesweep.validation import validated

    return validated(SUITE.validate_json, arguments.definition, "--definition")


def manifests(arguments: argparse.Namespace) -> None:
    """Print the number of checkpoints, bytes, holes and defects of every suite."""
    from shapesweep.plan import inventory
    from shapesweep.plan.workflow import Plan

    config, listed = arguments.config, Plan(arguments.config, arguments.results).listed
    print(inventory.published({name: listed(name) for name in config.suites}))


def plan(arguments: argparse.Namespace) -> None:
    """Print the costs of the sweep: checkpoints, bytes, disk, tokens, operations and hours."""
    from shapesweep.plan import inventory
    from shapesweep.plan.workflow import Plan

    config, selected = arguments.config, Plan(arguments.config, arguments.results).selected
    chosen = {name: list(selected(name).values()) for name in config.suites}
    print(inventory.costs(chosen, config))


def _planned(
    arguments: argparse.Namespace,
) -> tuple[str, AnySuite, Rule, set[tuple[str, str]], dict[str, Any]]:
    """Return the suite, definition, selection rule, checkpoints and texts of a recorded plan."""
    from pydantic import TypeAdapter

    from shapesweep.config.suite import SUITE
    from shapesweep.manifest.selection import Rule
    from shapesweep.storage import failures

    record = failures.read_json(Path(arguments.plan))
    try:
        rule: Rule = TypeAdapter(Rule).validate_python(record["checkpoints"])
        suite = SUITE.validate_python(record["definition"])
        batches = [(batch["run"], batch["revisions"]) for batch in record["batches"]]
        planned = {(run, revision) for run, revisions in batches for revision in revisions}
        return record["suite"], suite, rule, planned, record["texts"]
    except (KeyError, TypeError, ValueError):
        raise ShapesweepError(f"{arguments.plan}: damaged; remove it, and run again") from None


def _settings(arguments: argparse.Namespace) -> Measurement:
    """Return the settings of a measurement; the digests of texts come from the manifest."""
    from shapesweep.config import measurement
    from shapesweep.storage import manifests

    more = {key: getattr(arguments, key, None) for key in ("device", "batch_tokens")}
    given = {key: value for key, value in more.items() if value is not None}
    settings = measurement.load(arguments.settings, **given)
    texts = {"text_folder": arguments.texts, "text_sha256": manifests.texts(arguments.manifest)}
    return settings.model_copy(update=texts)


def _members(arguments: argparse.Namespace, downloads: str | Path) -> list[Member]:
    """Return the checkpoints that the command line names."""
    from shapesweep.geometry.member import members

    return members(
        arguments.manifest,
        arguments.run,
        arguments.revision,
        _settings(arguments),
        downloads,
        arguments.tokenizer,
        getattr(arguments, "measured", ""),
    )


def _temporary(arguments: argparse.Namespace) -> Path:
    """Return the folder for temporary files. A folder in `scratch` is private to the user."""
    from shapesweep.config.sweep import SCRATCH_NAME
    from shapesweep.storage.private import private_folder

    folder = Path(arguments.temporary)
    if re.fullmatch(SCRATCH_NAME, folder.name):
        return private_folder(folder, "set scratch to a folder that belongs to you")
    return folder


def _run_in_child(work: Callable[[Attempt], None], arguments: argparse.Namespace, job: str) -> None:
    """Run a job in a child process, which a checkpoint may end."""
    from shapesweep.geometry import isolation

    # The child process inherits the mark. If the child ends, this process keeps the mark.
    with _used(arguments, job):
        status = isolation.run(
            lambda attempt: exit_status(lambda: work(attempt), arguments.out), arguments.retries
        )
        if status:
            # The files of a job that failed may be removed when another job needs the space.
            sys.exit(status)


def _used(arguments: argparse.Namespace, job: str) -> AbstractContextManager[None]:
    """Mark downloads as in use while a job needs them."""
    from shapesweep.hub import disk_budget

    if not arguments.checkpoints:
        return contextlib.nullcontext()
    claim = "/".join(Path(arguments.checkpoints).parts[-4:])
    return disk_budget.DiskBudget(_temporary(arguments), 0).using(claim, job)
