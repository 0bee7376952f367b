"""Plug-ins: every module of a folder is found, and named after its file.

A metric is a file of `metrics/`, a corpus one of `corpora/`, a figure one of
`figures/`. None is listed anywhere else.
"""

import importlib
import pkgutil
from typing import TypeVar

from shapesweep.errors import ShapesweepError

Thing = TypeVar("Thing")


def discover(package: str, kind: type[Thing], attribute: str) -> dict[str, Thing]:
    """Find what the files of a package define.

    Parameters
    ----------
    package : str
        Its files are imported but for those whose name begins with an underscore.
    kind : type
    attribute : str
        What every file defines: an instance of `kind`.

    Returns
    -------
    dict
        By the files' names, in alphabetical order.

    Raises
    ------
    ShapesweepError
        If a file does not define it.
    """
    found = {}
    folder = importlib.import_module(package).__path__
    for name in sorted(info.name for info in pkgutil.iter_modules(folder)):
        if name.startswith("_"):
            continue
        module = importlib.import_module(f"{package}.{name}")
        thing = getattr(module, attribute, None)
        if not isinstance(thing, kind):
            raise ShapesweepError(
                f"{module.__file__}: must define {attribute}, a {kind.__name__}; a file that is "
                "none has a name that begins with an underscore"
            )
        found[name] = thing
    return found
