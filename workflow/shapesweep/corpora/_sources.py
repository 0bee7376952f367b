"""Texts that are fetched: texts of the registry, and columns of data sets on the Hub.

Both are pinned: a text of the registry by the id of its git blob, and a data set by its commit. The
same name therefore always means the same text.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path

import yaml
from pydantic import Field

from shapesweep.errors import near
from shapesweep.storage.files import is_inside
from shapesweep.validation import Strict, any_path

#: Folder of the named texts. Each text is defined in a file with the name of the text.
REGISTRY = Path(str(resources.files("shapesweep") / "texts"))
#: The text that needs no file: the documentation of Python.
STDLIB = "stdlib"
_DATASET = re.compile(
    r"hf://datasets/(?P<repository>[A-Za-z0-9][\w.-]*(?:/[A-Za-z0-9][\w.-]*)?)"
    r"@(?P<commit>[0-9a-f]{40})"
    r"/(?P<path>[^#@]+\.parquet)#(?P<column>[^#]+)"
)
_DATASET_FORM = "hf://datasets/<repository>@<commit>/<path>.parquet#<column>"


class NamedText(Strict):
    """A published text that configurations refer to by its name."""

    title: str = Field(description="description of the text")
    urls: list[str] = Field(min_length=1, description="addresses of the file, best address first")
    blob: str = Field(
        pattern="^[0-9a-f]{40}$", description="id of the file in git, which identifies its contents"
    )
    language: str = Field(description="language of the text")
    license: str = Field(description="license of the text")


@dataclass(frozen=True)
class DatasetText:
    """A column of a Parquet file in a data set on the Hub, at a commit."""

    repository: str
    commit: str
    path: str
    column: str


@cache
def named_texts() -> dict[str, NamedText]:
    """Return the named texts of the registry."""
    return {
        path.stem: NamedText.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        for path in sorted(REGISTRY.glob("*.yaml"))
    }


def source(text: str) -> NamedText | DatasetText | None:
    """Return the source of a text that must be fetched; None for `stdlib` and for a file.

    Parameters
    ----------
    text : str
        Value of the configuration's key `corpus.text`.
    """
    match = _DATASET.fullmatch(text)
    return DatasetText(**match.groupdict()) if match else named_texts().get(text)


def check_text(text: str) -> str:
    """Check a text in a definition, except whether a file exists, and expand a path.

    Raises
    ------
    ValueError
        If the text is neither a name, nor a path, nor a column of a data set at a commit.
    """
    match = _DATASET.fullmatch(text)
    if "://" in text and not (match and is_inside(match["path"])):
        unpinned = text.startswith("hf://datasets/") and not re.search(r"@[0-9a-f]{40}/", text)
        why = "; the commit must have 40 hexadecimal digits, so that the text cannot change"
        raise ValueError(f"write {_DATASET_FORM}{why if unpinned else ''}")
    return text if text in {STDLIB, *named_texts()} or match else any_path(text)


def unknown_text(text: str) -> str:
    """Return the error message for a text that is neither a name nor an existing file."""
    advice = "" if "/" in text or "." in text else near(text, [STDLIB, *named_texts()])
    return f"there is no file {text}{advice}"


def fetched_file(text: str) -> str | None:
    """Return the name of the file of a fetched text; None for `stdlib` and for a file.

    The name contains a digest of what pins the text, so another version of a text has another name.
    """
    found = source(text)
    if found is None:
        return None
    if isinstance(found, NamedText):
        return f"{text}-{found.blob[:12]}.txt"
    stem = re.sub(r"[^A-Za-z0-9._-]", "-", Path(found.path).stem).lstrip("._-")[:60]
    return f"{stem or 'text'}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.txt"


def pinned_by(text: str) -> str | None:
    """Return what identifies a fetched text in plans; None for `stdlib` and for a file."""
    found = source(text)
    return found.blob if isinstance(found, NamedText) else text if found else None


def language(text: str) -> str | None:
    """Return the language of a text; None if it is not known."""
    found = source(text)
    if isinstance(found, NamedText):
        return found.language
    return "English" if text == STDLIB else None
