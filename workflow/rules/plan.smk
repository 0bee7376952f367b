# The plan: what the configuration asks for, as names of files. Nothing is run or read here but the
# configuration and the names of the checkpoints' folders.
import json
import sys
from pathlib import Path

from shapesweep import config as configuration
from shapesweep import manifest as manifests
from shapesweep.corpus import text_file
from shapesweep.errors import ShapesweepError
from shapesweep.suite import NAME, EmbeddedSuite, checkpoint_folder

try:
    CONFIG = configuration.validate(
        config, Path(str(workflow.current_basedir), "../../config/suites")
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


def as_param(value):
    """A value in one line. Of a mapping Snakemake would remember the keys alone, of a list the set."""
    return json.dumps(value, sort_keys=True)


wildcard_constraints:
    suite=NAME.strip("^$"),
    run=NAME.strip("^$"),
    revision=NAME.strip("^$"),


onstart:
    configuration.dump(CONFIG, MERGED)


onsuccess:
    if Path(RESULTS, "summary.txt").is_file():
        print(Path(RESULTS, "summary.txt").read_text(encoding="utf-8"))
