# The plan in Snakemake's words: what rules read, write and need, as functions of wildcards. The plan
# itself is Python (workflow/shapesweep/plan/workflow.py). Nothing is written while it is made.
import functools
import sys
from pathlib import Path

from shapesweep.config import files as configuration
from shapesweep.config.suite import NAME, EmbeddedSuite
from shapesweep.corpora import text_file
from shapesweep.curves.tables import OF_EXPLOSIONS
from shapesweep.errors import ShapesweepError
from shapesweep.figures import EXTENSIONS, FIGURES
from shapesweep.hub.disk_budget import DiskBudget
from shapesweep.plan import attempts, batches, costs, definitions
from shapesweep.plan.workflow import BATCH_TABLES, TABLES, Plan
from shapesweep.storage.digests import digest


def reported(function):
    """A function whose expected errors end Snakemake with one line."""

    @functools.wraps(function)
    def call(*arguments, **named):
        try:
            return function(*arguments, **named)
        except ShapesweepError as error:
            # Snakemake drops the message of an exit while it updates its plan.
            print(f"shapesweep: error: {error}", file=sys.stderr)
            sys.exit(1)

    return call


@reported
def read_configuration():
    chosen = configuration.validate(config, files=configuration_files())
    text_file(chosen.corpus.text)
    return chosen


CONFIG = read_configuration()
RESULTS = CONFIG.results


include: "config.smk"


# A module's prefix stands before the paths of rules, and is not known otherwise.
HERE = Path(str(rules.config.output[0])).parent
PLAN = Plan(CONFIG, HERE)
# The folder of temporary files: without a module's prefix, for rules, and with it, for jobs.
TEMPORARY = CONFIG.scratch_folder(HERE) or RESULTS
TEMPORARY_HERE = CONFIG.scratch_folder(HERE) or str(HERE)
set_limits(CONFIG)
refuse_storage()
warn_without_profile()


def listed(suite):
    """Make sure that a suite is listed before its plan is made."""
    # A job on a cluster makes its own plan, in which no checkpoint rule is complete.
    if suite in PLAN.listable and is_main_process():
        checkpoints.listing.get(suite=suite)


def of_suites(function):
    """An input function: paths of the suites that are named, once they are listed."""

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
# Snakemake sees that a file is missing only if a target names it.
files = of_suites(PLAN.files)


@reported
def batch(w):
    """The batch of a job, or a batch of its single checkpoint."""
    listed(w.suite)
    return PLAN.batch(w.suite, w.run, w.get("batch") or w.revision)


@reported
def recorded(w):
    """What the recorded plan has of a job's batch; nothing in the process that makes the plan.

    A job on a cluster makes its own plan, and results that have come meanwhile make it another one.
    """
    if is_main_process():
        return {}
    if w.get("batch"):
        output = f"{w.suite}/{w.run}/{w.batch}/{w.fingerprint}"
    else:
        output = f"budgets/{w.suite}/{w.run}/{w.revision}/{w.fingerprint}.parquet"
    return PLAN.recorded(w.suite, output) or {}


def revisions(w):
    """The checkpoints of a job's batch."""
    return recorded(w).get("revisions") or batch(w).revisions


def model(w):
    """A run's model and its settings, on which the memory of a job depends."""
    return PLAN.model(w.suite, w.run), PLAN.settings(w.suite)


@reported
def disk_bytes(w):
    """Bytes that a batch of the Hub fills while it is measured."""
    return PLAN.disk_bytes(batch(w))


@reported
def text(w):
    """The file that the corpora are cut from. Names of outputs change with its size and time."""
    path = text_file(CONFIG.corpus.text)
    # Snakemake takes braces for wildcards, and there is no way to escape them.
    if path is None or "{" in str(path.absolute()):
        return []
    # A module's prefix stands before paths that are not absolute.
    has_no_prefix = str(HERE) == RESULTS and not Path(RESULTS).is_absolute()
    return [ancient(str(path if has_no_prefix else path.absolute()))]


def measurement_file(w):
    """The settings file of a job that measures, named by its contents."""
    return f"{RESULTS}/{PLAN.measurement_file(w.suite)}"


def checkpoint_files(w):
    """What a job waits for: its checkpoints' training, or their download."""
    if isinstance(PLAN.suites[w.suite], EmbeddedSuite):
        return [f"{RESULTS}/checkpoints/{w.suite}/{w.run}"]
    if w.suite in PLAN.published:
        folder = recorded(w).get("download") or PLAN.download(batch(w))
        return [f"{TEMPORARY}/checkpoints/{folder}"]
    # A local checkpoint is there already; its fingerprint tells when it changes.
    return []


def suite_files(w):
    """What a suite waits for as a whole: its listing, or the training of all its runs."""
    if w.suite in PLAN.published:
        return [f"{RESULTS}/listings/{w.suite}.json"]
    return trained(w)


def trained(w):
    return [f"{RESULTS}/{path}" for path in PLAN.trained(w.suite)]


def tokenizer(w):
    """The tokenizer of a run of the Hub; other checkpoints bring their own."""
    if w.suite not in PLAN.published:
        return []
    place = f"tokenizers/{w.suite}/{w.run}"
    found = list(
        Path(HERE, place).glob(f"{PLAN.tokenizer_fingerprint(w.suite, w.run)}*")
    )
    if is_main_process() or not found:
        return f"{RESULTS}/{PLAN.tokenizer(w.suite, w.run)}"
    # The plan of a job would ask again for what has failed in this run.
    return f"{RESULTS}/{place}/{max(found, key=lambda path: path.stat().st_mtime).name}"


def measured(w):
    """The folder that keeps the numbers of a run's checkpoints."""
    return f"{HERE}/measured/{w.suite}/{w.run}"


def downloaded(w, input):
    return input.checkpoints if w.suite in PLAN.published else ""


def plan_file(w):
    """The recorded plan of a suite, named by its contents."""
    return plans([w.suite])(w)


class Captions(dict):
    """Captions of all figures; reports show parameters, of which these are too long."""

    def __repr__(self):
        return digest(dict(self))


wildcard_constraints:
    suite=NAME.strip("^$"),
    run=NAME.strip("^$"),
    revision=NAME.strip("^$"),
    batch=batches.BATCH,
    fingerprint=attempts.NAME,


onstart:
    disk = DiskBudget(TEMPORARY_HERE, 0)
    # PLAN must not be used yet: a job of this run may make a listing anew.
    disk.clear(Plan(CONFIG, HERE).downloads())


onsuccess:
    if Path(HERE, "summary.txt").is_file():
        # Through Snakemake's logger, so that it comes last.
        logger.info(Path(HERE, "summary.txt").read_text(encoding="utf-8"))
