"""Read the text of the corpora: a file, or the English documentation of Python."""

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

from shapesweep.corpora._sources import STDLIB, fetched_file, unknown_text
from shapesweep.errors import ShapesweepError
from shapesweep.storage.files import pointer_problem
from shapesweep.storage.files import sha256 as file_sha256


def read_text(text: str, folder: str | Path = "", sha256: str = "") -> str:
    """Return a text of the corpora: a file, or the part of `stdlib` that is used for measuring.

    Parameters
    ----------
    text : str
        Value of the configuration's key `corpus.text`.
    folder : path-like
        Folder of the texts that were fetched.
    sha256 : str
        Required SHA-256 digest of a file of the user, in hexadecimal; empty to skip the check. A
        text that was fetched is always checked, as by `text_sha256`.

    Raises
    ------
    ShapesweepError
        If the file is absent, not UTF-8, or has another digest.
    """
    path = text_file(text, folder)
    if path is None:
        return stdlib_text("measuring")
    problem = pointer_problem([path])
    if problem:
        raise ShapesweepError(f"corpus.text: {problem}")
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if fetched_file(text):
        _check_fetched(path, found)
    elif sha256 and found != sha256:
        raise ShapesweepError(f"corpus.text: {path} has changed since the plan was made; run again")
    try:
        return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig").read()
    except UnicodeDecodeError as error:
        raise ShapesweepError(f"corpus.text: {path} is not UTF-8 ({error.reason})") from None


def text_file(text: str, folder: str | Path = "") -> Path | None:
    """Return the path of the file of a text; None for `stdlib`.

    Parameters
    ----------
    text : str
    folder : path-like
        Folder of the texts that were fetched.

    Raises
    ------
    ShapesweepError
        If the file does not exist.
    """
    if text == STDLIB:
        return None
    fetched = fetched_file(text)
    path = Path(folder, fetched) if fetched else Path(text)
    if not path.is_file():
        reason = f"{path} is absent; run snakemake first" if fetched else unknown_text(text)
        raise ShapesweepError(f"corpus.text: {reason}")
    return path


def text_sha256(text: str, folder: str | Path = "") -> str:
    """Return the SHA-256 digest of a text's file, or of the characters of `stdlib` in UTF-8.

    A text that was fetched is compared with the digest that was written when it was verified.

    Raises
    ------
    ShapesweepError
        If the file is absent, or if a fetched text has changed.
    """
    path = text_file(text, folder)
    if path is None:
        return _stdlib_sha256()
    found = file_sha256(path)
    if fetched_file(text):
        _check_fetched(path, found)
    return found


def _check_fetched(path: Path, sha256: str) -> None:
    """Compare the digest of a fetched text with the digest that was stored with it."""
    try:
        verified = path.with_suffix(".sha256").read_text(encoding="utf-8").partition(" ")[0]
    except OSError:
        verified = ""
    if sha256 != verified:
        raise ShapesweepError(
            f"corpus.text: {path} differs from the text that was fetched and verified; remove it, "
            "and run again"
        )


@cache
def _stdlib_sha256() -> str:
    return hashlib.sha256(stdlib_text("measuring").encode()).hexdigest()


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
