"""One checkpoint's shards, without a sweep around them."""

from shapesweep.activations import extract as activations
from shapesweep.config import files
from shapesweep.manifest import checkpoints

#: Of the contents of every checkpoint that is extracted here.
FINGERPRINT = "0123456789ab"


def extract(checkpoint, folder, settings, out, measured=None):
    """Extract one checkpoint under a configuration; the line that says what was done."""
    source = activations.Source(checkpoint, folder, out, folder, measured or {}, FINGERPRINT)
    ((_, line),) = activations.extract([source], settings.measurement(checkpoint.suite))
    return line


def checkpoint_of(folder):
    """The manifest's entry of a checkpoint in a folder."""
    suite = files.validate({"suites": {"s": {"source": "local", "runs": {"run": str(folder)}}}})
    listed = checkpoints.list_checkpoints("s", suite.suites["s"], "results")
    return checkpoints.describe("s", suite.suites["s"], listed, "all")[0]
