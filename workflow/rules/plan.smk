# The plan: what the configuration asks for, as names of files, and what each job depends on. No
# rules here; nothing is run or read but the configuration, what the Hub has said of its suites, the
# names of the checkpoints' folders, and their files' sizes and times.
import functools
import hashlib
import json
import shlex
import sys
from pathlib import Path

from shapesweep import batches, costs, devices, download, history, join
from shapesweep import config as configuration
from shapesweep import manifest as manifests
from shapesweep.budget import settings_of as budget_settings
from shapesweep.errors import ShapesweepError
from shapesweep.figures import EXTENSIONS, FIGURES
from shapesweep.published import HubSuite
from shapesweep.suite import NAME, EmbeddedSuite, checkpoint_folder
from shapesweep.text import text_file

BASE = Path(str(workflow.current_basedir), "../..").resolve()

try:
    CONFIG = configuration.validate(
        config,
        BASE / "config/suites",
        [BASE / "config/config.yaml", *workflow.overwrite_configfiles],
    )
    text_file(CONFIG.corpus.text)
except ShapesweepError as error:
    sys.exit(f"shapesweep: error: {error}")

RESULTS = CONFIG.results
# Where downloads lie, and shards that are not to be kept.
PASSING = CONFIG.passing
SHARDS = RESULTS if CONFIG.keep_activations else PASSING
MERGED = f"{RESULTS}/config.yaml"
# What `snakemake spikes` is about is a sweep beside the other: its suites' checkpoints lie among the
# others, what is made of all of them in a folder of its own.
SPIKES = CONFIG.for_spikes
MERGED_SPIKES = f"{RESULTS}/spikes/config.yaml"
SETTINGS = {
    **dict.fromkeys(SPIKES.suites, SPIKES),
    **dict.fromkeys(CONFIG.suites, CONFIG),
}
SUITES = {**SPIKES.suites, **CONFIG.suites}
MANIFESTS = [f"{RESULTS}/manifests/{name}.parquet" for name in CONFIG.suites]
HISTORIES = [f"{RESULTS}/history/{name}.parquet" for name in CONFIG.suites]
# What is trained on the spot need not be trained to be counted.
COUNTED = [
    f"{RESULTS}/manifests/{name}.parquet"
    for name, one in CONFIG.suites.items()
    if not isinstance(one, EmbeddedSuite)
]
TABLES = [
    f"{RESULTS}/{t}.parquet"
    for t in (
        *("geometry", "replicates", "losses", "budgets", "origins", "failures"),
        *("history", "continuity", "manifest"),
    )
]
# Suites of the Hub: what they have is known once it has been asked for.
PUBLISHED = [name for name, one in SUITES.items() if isinstance(one, HubSuite)]
# And those whose training decides which checkpoints it keeps.
LISTED = PUBLISHED + [
    name for name, one in SUITES.items() if isinstance(one, EmbeddedSuite) and one.onset
]
# What all downloads may fill together, and how many may run at a time.
workflow.global_resources.setdefault("disk_mb", max(1, int(CONFIG.hub.disk_gb * 1000)))
workflow.global_resources.setdefault("hub", CONFIG.hub.downloads)
# A job that computes on a GPU holds one of this resource; see profiles/default/config.yaml.
GPUS = devices.count() if CONFIG.device != "cpu" else 0
if GPUS:
    workflow.global_resources.setdefault("gpu", GPUS)


def settings(wildcards):
    """The configuration of a suite's sweep."""
    return SETTINGS[wildcards.suite]


def merged(wildcards):
    """The file that a suite's configuration is written to."""
    return MERGED if settings(wildcards) is CONFIG else MERGED_SPIKES


def as_text(value):
    """A value as one line of JSON."""
    return json.dumps(value, sort_keys=True)


def as_param(value_of):
    """A parameter from a function of the wildcards.

    It is text, since Snakemake compares only the keys of a mapping and the set of a list. It is a
    function, since Snakemake expands the braces of a plain string, and users write braces.
    """
    return lambda wildcards: as_text(value_of(wildcards))


@functools.cache
def listed(suite):
    """All checkpoints of a suite; of one that must be listed, not before its listing is made."""
    # A cluster's job plans itself anew, and knows of no checkpoint that it is complete.
    if suite in LISTED and workflow.is_main_process:
        checkpoints.listing.get(suite=suite)
    try:
        return manifests.list_checkpoints(suite, SUITES[suite], RESULTS)
    except ShapesweepError as error:
        sys.exit(f"shapesweep: error: {error}")


@functools.cache
def selected(suite):
    """The sound checkpoints that are chosen, by (suite, run, revision): their results' folders."""
    try:
        chosen = manifests.select(listed(suite), CONFIG.checkpoints)
    except ShapesweepError as error:
        sys.exit(f"shapesweep: error: suites.{suite}: {error}")
    return {(suite, one.run, one.revision): one for one in chosen if not one.flags}


@functools.cache
def batches_of(suite):
    """The batches of a suite, by (suite, run, name)."""
    cut = batches.cut(suite, SUITES[suite], selected(suite).values(), SETTINGS[suite])
    return {(suite, one.run, one.name): one for one in cut}


def batch(wildcards):
    """The batch that a job is for, or that of one checkpoint."""
    name = wildcards.get("batch") or wildcards.revision
    return batches_of(wildcards.suite)[wildcards.suite, wildcards.run, name]


def model(wildcards):
    """What the cost of a job depends on; all checkpoints of a run have one shape."""
    return model_of(wildcards.suite, wildcards.run)


@functools.cache
def model_of(suite, run):
    first = next(one for one in selected(suite).values() if one.run == run)
    return costs.Model.of(first, SUITES[suite])


def minutes(wildcards):
    """Minutes to allow a job that extracts or measures a batch."""
    n_operations = costs.operations(model(wildcards), settings(wildcards))
    return costs.minutes(len(batch(wildcards).members) * n_operations)


def marks(wildcards):
    """What tells of every batch that it is measured; a mark that is no longer true is removed."""
    return [mark for suite in CONFIG.suites for mark in marks_of(suite)]


def spike_marks(wildcards):
    """The same of what `snakemake spikes` is about."""
    return [mark for suite in SPIKES.suites for mark in marks_of(suite)]


@functools.cache
def marks_of(suite):
    """The marks of a suite, each looked at once: what this run makes is not judged by it."""
    asked = []
    for one in batches_of(suite).values():
        path = Path(RESULTS, "batches", suite, one.run, f"{one.name}.json")
        if path.is_file() and not is_measured(one, path):
            path.unlink(missing_ok=True)
        asked.append(str(path))
    return asked


def is_measured(one, mark):
    """Whether a mark says what is so: the same checkpoints, settings, metrics, and all is there."""
    folder = Path(RESULTS, "geometry", one.suite, one.run)
    return all(
        (folder / name / "geometry.parquet").is_file() for name in one.revisions
    ) and batches.is_true(mark, batches.key(states(one), SETTINGS[one.suite]))


def states(one):
    """What the shards of a batch's checkpoints depend on, by revision."""
    definition = SUITES[one.suite]
    return {
        member.revision: batches.state(definition, member, SETTINGS[one.suite])
        for member in one.members
    }


def kept_states(wildcards):
    """The same of a batch whose shards are kept: they must be made again when it changes."""
    return list(states(batch(wildcards)).values()) if CONFIG.keep_activations else []


def claim_seconds(wildcards):
    """For how long a cluster's job may claim a disk of its node, that only its like can clear."""
    if CONFIG.scratch is None or workflow.is_main_process:
        return "inf"
    models = [costs.Model.published(member) for member in batch(wildcards).members]
    return costs.longest(models, settings(wildcards))


def shards(wildcards):
    """The folders of all shards."""
    return [
        f"{SHARDS}/activations/{'/'.join(key)}"
        for suite in CONFIG.suites
        for key in batches_of(suite)
    ]


def budgets(wildcards):
    """The budgets of the checkpoints of which they are asked for."""
    made = []
    for suite, asked in CONFIG.budget.checkpoints.items():
        measured = list(selected(suite).values())
        chosen = manifests.budgeted(measured, asked)
        if measured and not chosen:
            sys.exit(
                f"shapesweep: error: budget.checkpoints.{suite}: chooses none of the "
                f"{len(measured)} that are measured"
            )
        made += [
            f"{RESULTS}/budgets/{suite}/{one.run}/{one.revision}.parquet"
            for one in chosen
        ]
    return made


def checkpoint_files(one):
    """What a batch's checkpoints wait for: their run's training, or their download."""
    if isinstance(SUITES[one.suite], EmbeddedSuite):
        return [str(checkpoint_folder(RESULTS, one.suite, one.run))]
    if one.suite in PUBLISHED:
        return [f"{PASSING}/checkpoints/{one.suite}/{one.run}/{one.name}"]
    # What lies in a folder is there already; when it changes, so does its state.
    return []


def suite_files(wildcards):
    """What a suite waits for as a whole: its listing, or the training of all its runs."""
    if wildcards.suite in PUBLISHED:
        return [f"{RESULTS}/listings/{wildcards.suite}.json"]
    # That it must be listed first Snakemake takes from an input only, and not from a parameter.
    listed(wildcards.suite)
    return trained(wildcards)


def trained(wildcards):
    """The runs of an embedded suite, each a Trainer's output folder."""
    definition = SUITES[wildcards.suite]
    if not isinstance(definition, EmbeddedSuite):
        return []
    return [
        str(checkpoint_folder(RESULTS, wildcards.suite, run)) for run in definition.runs
    ]


def suite_states(wildcards):
    """What makes a suite's manifest another one, besides those files' contents."""
    if wildcards.suite in PUBLISHED:
        # What is read of the listing is said in the definition.
        return SUITES[wildcards.suite].model_dump_json(exclude={"facts"})
    names = [(one.run, one.revision) for one in listed(wildcards.suite)]
    found = [states(one) for one in batches_of(wildcards.suite).values()]
    return hashlib.sha256(as_text([names, found]).encode()).hexdigest()


def release(kind, w):
    """The end of a command: what it removes if it dies, for a download would hold its room."""
    is_kept = kind == "activations" and CONFIG.keep_activations
    if w.suite not in PUBLISHED or is_kept:
        return ""
    folder = f"{PASSING}/{kind}/{w.suite}/{w.run}/{batch(w).name}"
    return f" || {{ rm -rf {shlex.quote(folder)}; false; }}"


def history_state(wildcards):
    """What makes a suite's history another one."""
    try:
        return as_text(history.states(wildcards.suite, SUITES[wildcards.suite]))
    except ShapesweepError as error:
        sys.exit(f"shapesweep: error: {error}")


def tokenizer_folder(wildcards):
    """Where the tokenizer of a run of the Hub is fetched to; others bring their own."""
    if wildcards.suite not in PUBLISHED:
        return []
    return f"{RESULTS}/tokenizers/{wildcards.suite}/{wildcards.run}"


def disk_mb(wildcards):
    """Megabytes that a batch of the Hub fills while it is measured."""
    one = batch(wildcards)
    parts = [costs.Model.published(member) for member in one.members]
    needed = sum(costs.footprint(part, settings(wildcards)) for part in parts)
    if needed > CONFIG.hub.disk_gb * 1e9:
        sys.exit(
            f"shapesweep: error: hub.disk_gb: {one.suite}/{one.run}/{one.name} needs "
            f"{needed / 1e9:.3g}, {CONFIG.hub.disk_gb:g} are allowed"
        )
    return max(1, needed // 10**6)


wildcard_constraints:
    suite=NAME.strip("^$"),
    run=NAME.strip("^$"),
    revision=NAME.strip("^$"),
    batch=batches.BATCH,
    figure="|".join(FIGURES),


onstart:
    configuration.dump(CONFIG, MERGED)
    if SPIKES.suites:
        configuration.dump(SPIKES, MERGED_SPIKES)
    needed = {
        str(path) for job in workflow.dag.needrun_jobs() for path in job.input
    }
    download.Budget(PASSING, 0, CONFIG.keep_activations).clear(needed)


onerror:
    join.forget(RESULTS)


onsuccess:
    join.forget(RESULTS)
    if Path(RESULTS, "summary.txt").is_file():
        # Through the same door as all else that is said, so that it comes last.
        logger.info(Path(RESULTS, "summary.txt").read_text(encoding="utf-8"))
