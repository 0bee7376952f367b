# The plan: what the configuration asks for, as names of files, and what each job depends on. No
# rules here; nothing is run or read but the configuration, what the Hub has said of its suites, the
# names of the checkpoints' folders, and their files' sizes and times.
import functools
import json
import shlex
import sys
from pathlib import Path

from shapesweep import config as configuration
from shapesweep import devices, download, inventory, join, tables
from shapesweep import manifest as manifests
from shapesweep.budget import VERSION as BUDGET_VERSION
from shapesweep.checkpoint import model_files, tokenizer_files
from shapesweep.corpora import CORPORA
from shapesweep.errors import ShapesweepError
from shapesweep.figures import EXTENSIONS, FIGURES
from shapesweep.metrics import METRICS
from shapesweep.published import HubSuite
from shapesweep.shards import FORMAT_VERSION
from shapesweep.suite import NAME, EmbeddedSuite, checkpoint_folder
from shapesweep.text import text_file

BASE = Path(str(workflow.current_basedir), "../..").resolve()

try:
    CONFIG = configuration.validate(
        config,
        BASE / "config/suites",
        [BASE / "config/config.yaml", *workflow.overwrite_configfiles],
    )
    TEXT = text_file(CONFIG.corpus.text)
except ShapesweepError as error:
    sys.exit(f"shapesweep: error: {error}")

RESULTS = CONFIG.results
MERGED = f"{RESULTS}/config.yaml"
MANIFESTS = [f"{RESULTS}/manifests/{name}.parquet" for name in CONFIG.suites]
# What is trained on the spot need not be trained to be counted.
COUNTED = [
    f"{RESULTS}/manifests/{name}.parquet"
    for name, one in CONFIG.suites.items()
    if not isinstance(one, EmbeddedSuite)
]
TABLES = [
    f"{RESULTS}/{t}.parquet"
    for t in ("geometry", "replicates", "losses", "budgets", "origins", "failures")
]
# Suites of the Hub: what they have is known once it has been asked for.
PUBLISHED = [name for name, one in CONFIG.suites.items() if isinstance(one, HubSuite)]
# What all downloads may fill together, and how many may run at a time.
workflow.global_resources.setdefault("disk_mb", max(1, int(CONFIG.hub.disk_gb * 1000)))
workflow.global_resources.setdefault("hub", CONFIG.hub.downloads)
# A job that computes on a GPU holds one of this resource; see profiles/default/config.yaml.
GPUS = devices.count() if CONFIG.device != "cpu" else 0
if GPUS:
    workflow.global_resources.setdefault("gpu", GPUS)


def as_param(value):
    """A value in one line. Of a mapping Snakemake would remember the keys alone, of a list the set."""
    return json.dumps(value, sort_keys=True)


@functools.cache
def listed(suite):
    """All checkpoints of a suite; of one on the Hub, not before its listing is made."""
    # A cluster's job plans itself anew, and knows of no checkpoint that it is complete.
    if suite in PUBLISHED and workflow.is_main_process:
        checkpoints.listing.get(suite=suite)
    try:
        return manifests.list_checkpoints(suite, CONFIG.suites[suite], RESULTS)
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


def folders(kind):
    """The folder of every selected checkpoint's results of a kind, as a function for Snakemake."""
    return lambda w: [
        f"{RESULTS}/{kind}/{'/'.join(key)}"
        for suite in CONFIG.suites
        for key in selected(suite)
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


def checkpoint_files(suite, run, revision):
    """What a checkpoint is made of: its run's folder, its download, or the files that are there."""
    if isinstance(CONFIG.suites[suite], EmbeddedSuite):
        return [str(checkpoint_folder(RESULTS, suite, run))]
    folder = selected(suite)[suite, run, revision].folder
    if suite in PUBLISHED:
        return [str(folder)]
    log = [path for path in [folder / "trainer_state.json"] if path.is_file()]
    return [str(path) for path in model_files(folder) + tokenizer_files(folder) + log]


def checkpoint_state(suite, run, revision):
    """What makes a checkpoint another one: its place in training, its files' sizes and times.

    A file that is mended with an old time (by rsync, say) is seen by its size or time here.
    """
    chosen = selected(suite)[suite, run, revision]
    place = (chosen.seed, chosen.step, chosen.tokens)
    if isinstance(CONFIG.suites[suite], EmbeddedSuite):
        return [*place]
    if chosen.published:
        pins = [file.sha256 or file.blob for file in chosen.published.files]
        return [*place, chosen.published.commit, *pins]
    stats = [Path(f).stat() for f in checkpoint_files(suite, run, revision)]
    return [*place, *((stat.st_size, stat.st_mtime_ns) for stat in stats)]


def suite_files(wildcards):
    """What a suite's manifest is read from: its listing, or its checkpoints' files, each once."""
    if wildcards.suite in PUBLISHED:
        return [f"{RESULTS}/listings/{wildcards.suite}.json"]
    keys = selected(wildcards.suite)
    return sorted({path for key in keys for path in checkpoint_files(*key)})


def suite_states(wildcards):
    """What makes a suite's manifest another one, besides those files' contents."""
    if wildcards.suite in PUBLISHED:
        # What is read of the listing is said in the definition.
        return CONFIG.suites[wildcards.suite].model_dump_json(exclude={"facts"})
    names = [(one.run, one.revision) for one in listed(wildcards.suite)]
    return as_param(
        [names, [checkpoint_state(*key) for key in selected(wildcards.suite)]]
    )


def release(kind, w):
    """The end of a command: what it removes if it dies, for a download would hold its room."""
    is_kept = kind == "activations" and CONFIG.keep_activations
    if w.suite not in PUBLISHED or is_kept:
        return ""
    folder = f"{RESULTS}/{kind}/{w.suite}/{w.run}/{w.revision}"
    return f" || {{ rm -rf {shlex.quote(folder)}; false; }}"


def tokenizer_folder(wildcards):
    """Where the tokenizer of a run of the Hub is fetched to; others bring their own."""
    if wildcards.suite not in PUBLISHED:
        return []
    return f"{RESULTS}/tokenizers/{wildcards.suite}/{wildcards.run}"


def disk_mb(wildcards):
    """Megabytes that a checkpoint of the Hub fills while it is measured."""
    key = (wildcards.suite, wildcards.run, wildcards.revision)
    needed = inventory.footprint(selected(wildcards.suite)[key], CONFIG)
    if needed > CONFIG.hub.disk_gb * 1e9:
        sys.exit(
            f"shapesweep: error: hub.disk_gb: {'/'.join(key)} needs {needed / 1e9:.3g}, "
            f"{CONFIG.hub.disk_gb:g} are allowed"
        )
    return max(1, needed // 10**6)


def extraction(wildcards):
    """All that a checkpoint's shards depend on, but its files' contents.

    The geometry depends on it too, for Snakemake forgets the params of a temporary output.
    """
    depends = {
        "state": checkpoint_state(wildcards.suite, wildcards.run, wildcards.revision),
        "corpora": {name: CORPORA[name].version for name in CONFIG.corpora},
        "corpus": CONFIG.corpus.model_dump(),
        "groups": CONFIG.geometry.groups,
        "format_version": FORMAT_VERSION,
        "tables_version": tables.VERSION,
    }
    return as_param(depends)


def is_forgotten():
    """Whether results lie here of other settings, and the record of that does not.

    Snakemake keeps what its jobs were made with in .snakemake/; without it, it sees no change.
    """
    if any(path.is_file() for path in Path(".snakemake/metadata").rglob("*")):
        return False
    made = Path(RESULTS, "geometry").glob("*/*/*/geometry.parquet")
    folder = next((one.parent for one in made), None)
    if folder is None or not Path(MERGED).is_file():
        return False
    from shapesweep.geometry import complete

    try:
        before, now = configuration.load(MERGED), CONFIG
    except ShapesweepError:  # Written by a version that knew other keys.
        return True
    same = (before.corpus, before.corpora) == (now.corpus, now.corpora)
    return not (same and set(now.corpora) <= set(complete(folder, now.geometry)))


if is_forgotten():
    logger.warning(
        f"{RESULTS} was made with other settings or another version, and the record of that "
        "(.snakemake) is not here: add --forcerun activations, and what is not up to date is "
        "measured again."
    )


wildcard_constraints:
    suite=NAME.strip("^$"),
    run=NAME.strip("^$"),
    revision=NAME.strip("^$"),
    figure="|".join(FIGURES),


onstart:
    configuration.dump(CONFIG, MERGED)
    needed = {
        str(path) for job in workflow.dag.needrun_jobs() for path in job.input
    }
    download.Budget(RESULTS, 0, CONFIG.keep_activations).clear(needed)


onerror:
    join.forget(RESULTS)


onsuccess:
    join.forget(RESULTS)
    if Path(RESULTS, "summary.txt").is_file():
        # Through the same door as all else that is said, so that it comes last.
        logger.info(Path(RESULTS, "summary.txt").read_text(encoding="utf-8"))
