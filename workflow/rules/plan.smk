# The plan: what the configuration asks for, as names of files, and what each job depends on. No
# rules here; nothing is run or read but the configuration, the names of the checkpoints' folders,
# and their files' sizes and times.
import json
import sys
from pathlib import Path

from shapesweep import config as configuration
from shapesweep import devices
from shapesweep import manifest as manifests
from shapesweep.checkpoint import model_files, tokenizer_files
from shapesweep.corpora import CORPORA
from shapesweep.errors import ShapesweepError
from shapesweep.figures import FIGURES
from shapesweep.metrics import METRICS
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
    LISTED = {
        name: manifests.list_checkpoints(name, suite, CONFIG.results)
        for name, suite in CONFIG.suites.items()
    }
    # Keyed by suite, run and revision, which are also the folders of a checkpoint's results.
    SELECTED = {
        (name, one.run, one.revision): one
        for name, listed in LISTED.items()
        for one in manifests.select(listed, CONFIG.checkpoints)
    }
except ShapesweepError as error:
    sys.exit(f"shapesweep: error: {error}")

RESULTS = CONFIG.results
MERGED = f"{RESULTS}/config.yaml"
MANIFESTS = [f"{RESULTS}/manifests/{name}.parquet" for name in CONFIG.suites]
TABLES = [
    f"{RESULTS}/{t}.parquet" for t in ("geometry", "replicates", "losses", "failures")
]
KEPT = [
    f"{RESULTS}/activations/{'/'.join(key)}"
    for key in SELECTED
    if CONFIG.keep_activations
]
# A job that computes on a GPU holds one of this resource; see profiles/default/config.yaml.
GPUS = devices.count() if CONFIG.device != "cpu" else 0
if GPUS:
    workflow.global_resources.setdefault("gpu", GPUS)


def as_param(value):
    """A value in one line. Of a mapping Snakemake would remember the keys alone, of a list the set."""
    return json.dumps(value, sort_keys=True)


def checkpoint_files(suite, run, revision):
    """What a checkpoint is made of: a trained run's folder, or the files that are there."""
    if isinstance(CONFIG.suites[suite], EmbeddedSuite):
        return [str(checkpoint_folder(RESULTS, suite, run))]
    folder = SELECTED[suite, run, revision].folder
    log = [path for path in [folder / "trainer_state.json"] if path.is_file()]
    return [str(path) for path in model_files(folder) + tokenizer_files(folder) + log]


def checkpoint_state(suite, run, revision):
    """What makes a checkpoint another one: its place in training, its files' sizes and times.

    A file that is mended with an old time (by rsync, say) is seen by its size or time here.
    """
    chosen = SELECTED[suite, run, revision]
    place = manifests.place(CONFIG.suites[suite], chosen)
    if isinstance(CONFIG.suites[suite], EmbeddedSuite):
        return [*place]
    stats = [Path(f).stat() for f in checkpoint_files(suite, run, revision)]
    return [*place, *((stat.st_size, stat.st_mtime_ns) for stat in stats)]


def suite_files(wildcards):
    """The files of all selected checkpoints of a suite, each once."""
    keys = [key for key in SELECTED if key[0] == wildcards.suite]
    return sorted({path for key in keys for path in checkpoint_files(*key)})


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
    }
    return as_param(depends)


def is_forgotten():
    """Whether results lie here of other settings, and the record of that does not.

    Snakemake keeps what its jobs were made with in .snakemake/; without it, it sees no change.
    """
    if any(path.is_file() for path in Path(".snakemake/metadata").rglob("*")):
        return False
    folders = (Path(RESULTS, "geometry", *key) for key in SELECTED)
    folder = next((one for one in folders if one.is_dir()), None)
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


onsuccess:
    if Path(RESULTS, "summary.txt").is_file():
        # Through the same door as all else that is said, so that it comes last.
        logger.info(Path(RESULTS, "summary.txt").read_text(encoding="utf-8"))
