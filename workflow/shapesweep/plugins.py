"""Find plug-ins. Each metric, corpus and figure is a file in `metrics/`, `corpora/` or `figures/`.

The files are found by listing the folder, so no file has to be registered.
"""

import importlib
import pkgutil
from typing import Any, TypeVar

from shapesweep.errors import ShapesweepError

Thing = TypeVar("Thing")


def discover(package: str, kind: type[Thing], attribute: str) -> dict[str, Thing]:
    """Find the objects that the files of a package define.

    A file defines either one object, which is named after the file, or a dict of objects, whose
    names begin with the name of the file.

    Parameters
    ----------
    package : str
        Name of the package. All of its modules are imported, except modules whose names begin with
        an underscore.
    kind : type
    attribute : str
        Name that every file defines: an instance of `kind`, or a dict of instances.

    Returns
    -------
    dict
        Objects by name, in alphabetical order.

    Raises
    ------
    ShapesweepError
        If a file does not define `attribute`, or defines objects of another type or name.
    """
    found: dict[str, Thing] = {}
    folder = importlib.import_module(package).__path__
    names = (info.name for info in pkgutil.iter_modules(folder))
    for name in (name for name in names if not name.startswith("_")):
        module = importlib.import_module(f"{package}.{name}")
        thing = getattr(module, attribute, None)
        several: dict[str, Any] = thing if isinstance(thing, dict) and thing else {name: thing}
        is_named = all(str(key).startswith(name) for key in several)
        if not is_named or not all(isinstance(each, kind) for each in several.values()):
            raise ShapesweepError(
                f"{module.__file__}: must define {attribute}, a {kind.__name__}, or a dict of "
                "several, whose names begin with the name of the file; if the file is not a "
                "plug-in, begin its name with _"
            )
        found |= several
    return dict(sorted(found.items()))
