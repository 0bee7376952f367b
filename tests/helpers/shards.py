"""One checkpoint's shards, without a sweep around them."""

from shapesweep import activations


def extract(row, folder, settings, out, measured=None):
    """What `activations.extract` says of one checkpoint."""
    source = activations.Source(row, folder, out, measured or {}, state="as it is")
    (said,) = activations.extract([source], settings)
    return said
