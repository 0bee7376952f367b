"""The text of the corpora: a file, or the English documentation of Python."""

import ast
import hashlib
import io
import os
import sysconfig
import warnings
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from pydoc_data.topics import topics

from shapesweep.errors import ShapesweepError


def read_text(name: str, sha256: str = "") -> str:
    """Return the text of the corpora: a file, or the part of `stdlib` that is used for measuring.

    Parameters
    ----------
    name : str
    sha256 : str
        Required SHA-256 digest of the file, in hexadecimal; empty to skip the check.

    Raises
    ------
    ShapesweepError
        If the file is absent, not UTF-8, or has another digest.
    """
    path = text_file(name)
    if path is None:
        return stdlib_text("measuring")
    content = path.read_bytes()
    if sha256 and hashlib.sha256(content).hexdigest() != sha256:
        raise ShapesweepError(f"corpus.text: {name} has changed since the plan was made; run again")
    try:
        return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8").read()
    except UnicodeDecodeError as error:
        raise ShapesweepError(f"corpus.text: {name} is not UTF-8 ({error.reason})") from None


def text_file(name: str) -> Path | None:
    """Return the path of the file that `corpus.text` names; None for `stdlib`.

    Raises
    ------
    ShapesweepError
        If the file does not exist.
    """
    if name == "stdlib":
        return None
    if not Path(name).is_file():
        raise ShapesweepError(f"corpus.text: there is no file {name}")
    return Path(name)


@cache
def stdlib_text(part: str) -> str:
    """Return the docstrings of Python's standard library, and the topics of pydoc.

    Parameters
    ----------
    part : {'training', 'measuring'}
        Each source file and each topic belongs to one part; about 90 % of the files and topics
        belong to `training`.

    Returns
    -------
    str
        The text, which depends on the Python version. The metadata of every shard contains a
        digest of the documents that are cut from the text.
    """
    return "\n\n".join(_stdlib_pieces(part == "measuring"))


def _stdlib_pieces(held_out: bool) -> Iterator[str]:
    def wanted(name: str) -> bool:
        return (hashlib.sha256(name.encode()).digest()[0] % 10 == 0) == held_out

    library = Path(sysconfig.get_path("stdlib"))
    # Leave out modules that some Python distributions lack, or that were removed in newer versions.
    absent = {"site-packages", "dist-packages", "test", "tests", "idlelib", "idle_test"}
    absent |= {"lib2to3", "turtledemo", "ensurepip", "distutils", "pydoc_data", "__pycache__"}
    paths = []
    for folder, folders, files in os.walk(library):
        folders[:] = [name for name in folders if name not in absent]
        paths += [Path(folder, name) for name in files if name.endswith(".py")]
    for path in sorted(paths):
        name = path.relative_to(library).as_posix()
        if not wanted(name):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError):
            continue
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        nodes = (node for node in ast.walk(tree) if isinstance(node, kinds))
        yield from filter(None, map(ast.get_docstring, nodes))
    yield from (topics[name] for name in sorted(topics) if wanted(f"topic {name}"))
