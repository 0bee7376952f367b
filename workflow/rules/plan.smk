# Input functions, params and resources of the rules. These functions use the plan, which is a
# Python object (workflow/shapesweep/plan/workflow.py). Planning writes nothing.
import functools
import sys
from pathlib import Path

from shapesweep.config import files as configuration
from shapesweep.config.suite import NAME, REVISION, EmbeddedSuite
from shapesweep.corpora import fetched_file, text_file
from shapesweep.curves.tables import CURVES, OF_EXPLOSIONS
from shapesweep.errors import ShapesweepError
from shapesweep.figures import EXTENSIONS, FIGURES
from shapesweep.hub.disk_budget import DiskBudget
from shapesweep.plan import attempts, batches, costs, definitions
from shapesweep.plan.workflow import BATCH_TABLES, TABLES, Plan
from shapesweep.storage.digests import digest


def reported(function):
    """Wrap a function so that an expected error ends Snakemake with a one-line message."""

    @functools.wraps(function)
    def call(*arguments, **named):
        try:
            return function(*arguments, **named)
        except ShapesweepError as error:
            # If sys.exit is called while Snakemake updates its plan, Snakemake does not print the
            # message.
            print(f"shapesweep: error: {error}", file=sys.stderr)
            sys.exit(1)

    return call


@reported
def read_configuration():
    chosen = configuration.validate(config, files=configuration_files())
    for each in chosen.corpus.texts:
        if not fetched_file(each):
            text_file(each)
        elif Path(each).is_file():
            raise ShapesweepError(
                f"corpus.text: {each} is the name of a text, but there is also a file of this "
                f"name; for the file, write ./{each}"
            )
    return chosen


CONFIG = read_configuration()
RESULTS = CONFIG.results


include: "config.smk"


# A workflow that imports this workflow as a module may set a prefix. Snakemake adds the prefix of a
# module only to paths in rules.
HERE = Path(str(rules.config.output[0])).parent
PLAN = Plan(CONFIG, HERE)
# TEMPORARY and TEMPORARY_HERE are paths of the same folder, which contains temporary files.
# TEMPORARY is for paths in rules, because Snakemake adds a module's prefix to these paths.
# TEMPORARY_HERE is for commands, and already contains the prefix.
TEMPORARY = CONFIG.scratch_folder(HERE) or RESULTS
TEMPORARY_HERE = CONFIG.scratch_folder(HERE) or str(HERE)
# The folder of texts that were fetched, for commands.
TEXTS = HERE / "texts"
# The subfolder of a batch, as a pattern with wildcards.
BATCH = "{suite}/{run}/{batch}/{fingerprint}"
set_limits(CONFIG)
if "stdlib" in CONFIG.corpus.texts and PLAN.published and is_main_process():
    logger.warning(
        "shapesweep: the text stdlib differs between versions of Python; for numbers "
        "that others can compare, set corpus: {text: paper, sampling: paper}"
    )
refuse_storage()
warn_without_profile()


def listed(suite):
    """Wait until the checkpoints of a suite are listed."""
    # In the process of a job on a cluster, Snakemake regards no checkpoint rule as complete.
    if suite in PLAN.listable and is_main_process():
        checkpoints.listing.get(suite=suite)


def of_suites(function):
    """Return a function from suites to an input function, which waits for the suites' listings."""

    @reported
    def paths(suites):
        for suite in suites:
            listed(suite)
        return [f"{RESULTS}/{path}" for path in function(suites)]

    return lambda suites: lambda wildcards: paths(suites)


tables = of_suites(PLAN.tables)
budgets = of_suites(PLAN.budgets)
plans = of_suites(lambda suites: [PLAN.record_file(suite) for suite in suites])
shards = of_suites(PLAN.shards)
# Snakemake notices a missing file only if a target names this file.
files = of_suites(PLAN.files)


@reported
def batch(w):
    """Return the batch of a job. A job without the wildcard `batch` has one checkpoint."""
    listed(w.suite)
    return PLAN.batch(w.suite, w.run, w.get("batch") or w.revision)


@reported
def recorded(w):
    """Return the recorded plan's entry for a job's batch; {} in the main process.

    A job on a cluster plans again. Its plan differs if more results exist by then, so the job
    takes its batch from the recorded plan.
    """
    if is_main_process():
        return {}
    if w.get("batch"):
        output = f"{w.suite}/{w.run}/{w.batch}/{w.fingerprint}"
    else:
        output = f"budgets/{w.suite}/{w.run}/{w.revision}/{w.fingerprint}.parquet"
    return PLAN.recorded(w.suite, output) or {}


def revisions(w):
    """Return the checkpoints of a job's batch."""
    return recorded(w).get("revisions") or batch(w).revisions


def model(w):
    """Return a run's model and settings. The memory of a job depends on both."""
    return PLAN.model(w.suite, w.run), PLAN.settings(w.suite)


@reported
def disk_bytes(w):
    """Return the bytes on disk that a batch from the Hub needs while it is measured."""
    return PLAN.disk_bytes(batch(w))


@reported
def text_files(w):
    """Return the user's text files. Their sizes and times are part of the outputs' names."""
    paths = [text_file(text) for text in CONFIG.corpus.texts if not fetched_file(text)]
    # Snakemake adds a module's prefix to relative paths.
    has_no_prefix = str(HERE) == RESULTS and not Path(RESULTS).is_absolute()
    return [
        ancient(str(path if has_no_prefix else path.absolute()))
        for path in paths
        # Snakemake reads braces in a path as wildcards, and braces cannot be escaped.
        if path is not None and "{" not in str(path.absolute())
    ]


def texts(w):
    """Return all text files of the corpora, also those that are fetched."""
    fetched = filter(None, map(fetched_file, CONFIG.corpus.texts))
    return text_files(w) + [ancient(f"{RESULTS}/texts/{name}") for name in fetched]


def measurement_file(w):
    """Return the settings file of a geometry job. Its name is the digest of its contents."""
    return f"{RESULTS}/{PLAN.measurement_file(w.suite)}"


def checkpoint_files(w):
    """Return the folders that a job waits for: trained runs, or downloaded checkpoints."""
    if isinstance(PLAN.suites[w.suite], EmbeddedSuite):
        return [f"{RESULTS}/checkpoints/{w.suite}/{w.run}"]
    if w.suite in PLAN.published:
        folder = recorded(w).get("download") or PLAN.download(batch(w))
        return [f"{TEMPORARY}/checkpoints/{folder}"]
    # Jobs need not wait for a local checkpoint, because its folder exists before the sweep. If
    # files of a local checkpoint change, its fingerprint changes, too.
    return []


def suite_files(w):
    """Return the paths that a manifest waits for: the suite's listing, and its trained runs."""
    listing = [f"{RESULTS}/listings/{w.suite}.json"] if w.suite in PLAN.listable else []
    return listing + trained(w)


def trained(w):
    """Return the folders of all runs of an embedded suite, once they are trained."""
    return [f"{RESULTS}/{path}" for path in PLAN.trained(w.suite)]


def tokenizer(w):
    """Return the tokenizer of a run on the Hub; other checkpoints contain their tokenizer."""
    if w.suite not in PLAN.published:
        return []
    folder = f"tokenizers/{w.suite}/{w.run}"
    fingerprint = PLAN.tokenizer_fingerprint(w.suite, w.run)
    found = list(Path(HERE, folder).glob(f"{fingerprint}*"))
    if is_main_process() or not found:
        return f"{RESULTS}/{PLAN.tokenizer(w.suite, w.run)}"
    # After a failed download of a tokenizer, a job's plan contains a new name for the tokenizer's
    # folder. With this new name, the job would download the tokenizer again.
    latest = max(found, key=lambda path: path.stat().st_mtime)
    return f"{RESULTS}/{folder}/{latest.name}"


def measured(w):
    """Return the folder that keeps the numbers of a run's checkpoints."""
    return f"{HERE}/measured/{w.suite}/{w.run}"


def downloaded(w, input):
    """Return the folder of downloaded checkpoints, or "" for a suite that is not on the Hub."""
    return input.checkpoints if w.suite in PLAN.published else ""


def plan_file(w):
    """Return the recorded plan of a suite. Its name is the digest of its contents."""
    return plans([w.suite])(w)


class Captions(dict):
    """Captions of all figures. Their repr is a digest, because reports print params of rules."""

    def __repr__(self):
        return digest(dict(self))


wildcard_constraints:
    suite=NAME.strip("^$"),
    run=NAME.strip("^$"),
    revision=REVISION.strip("^$"),
    batch=batches.BATCH,
    fingerprint=attempts.NAME,


onstart:
    disk = DiskBudget(TEMPORARY_HERE, 0)
    # Do not use PLAN here: it would cache the current listings, which a job may replace later.
    disk.clear(Plan(CONFIG, HERE).downloads())


onsuccess:
    check_that_all_jobs_ran()
    if Path(HERE, "summary.txt").is_file():
        # Print the summary with Snakemake's logger, so that it appears after the log of the jobs.
        logger.info(Path(HERE, "summary.txt").read_text(encoding="utf-8"))
