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

    A file defines either one object, which gets the name of the file, or a dict from names to
    objects. Each name in the dict must begin with the name of the file.

    Parameters
    ----------
    package : str
        Name of the package. Modules whose names begin with an underscore are not imported.
    kind : type
    attribute : str
        Name of the variable that every file defines. The variable's value is an instance of `kind`,
        or a dict of instances.

    Returns
    -------
    dict
        Objects by name, in alphabetical order.

    Raises
    ------
    ShapesweepError
        If a file does not define `attribute`, or defines objects of a wrong type or with wrong
        names.
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
                f"{module.__file__}: must define {attribute} as a {kind.__name__}, or as a dict of "
                f"{kind.__name__} objects whose keys begin with {name!r}, the name of the file; if "
                "the file is not a plug-in, rename it so that its name starts with _"
            )
        found |= several
    return dict(sorted(found.items()))
