"""One checkpoint's shards, without a sweep around them."""

from shapesweep import activations, config, manifest


def extract(row, folder, settings, out, measured=None):
    """Extract one checkpoint; the line that `activations.extract` returns for it."""
    source = activations.Source(row, folder, out, measured or {}, state="as it is")
    (line,) = activations.extract([source], settings)
    return line


def row_of(folder):
    """The manifest's row of a checkpoint in a folder."""
    suite = config.validate({"suites": {"s": {"source": "local", "runs": {"run": str(folder)}}}})
    found = manifest.list_checkpoints("s", suite.suites["s"], "results")
    return manifest.rows("s", suite.suites["s"], found, "all")[0]
