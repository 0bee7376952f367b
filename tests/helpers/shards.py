"""The shards of a single checkpoint, without a sweep."""

from shapesweep.activations.extract import Source
from shapesweep.activations.extract import extract as extract_sources
from shapesweep.config import files
from shapesweep.manifest import checkpoints

#: The fingerprint of every checkpoint that is extracted here.
FINGERPRINT = "0123456789ab"


def extract(checkpoint, folder, settings, out, measured=None):
    """Extract a checkpoint's activations with the settings of a sweep, and return the log line."""
    source = Source(checkpoint, folder, out, folder, measured or {}, FINGERPRINT)
    ((_, line),) = extract_sources([source], settings.measurement(checkpoint.suite))
    return line


def checkpoint_of(folder):
    """Return the manifest entry of the checkpoint in a folder."""
    suite = files.validate({"suites": {"s": {"source": "local", "runs": {"run": str(folder)}}}})
    listed = checkpoints.list_checkpoints("s", suite.suites["s"], "results")
    return checkpoints.describe("s", suite.suites["s"], listed, "all")[0]
