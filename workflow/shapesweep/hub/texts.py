"""Fetch the texts of the corpora, and verify them.

A text of the registry is kept in the cache of the Hub's client (`HF_HOME`), and is verified by its
git blob id whenever it is used. A data set is kept in the same cache by the client itself.
"""

import functools
import os
import shlex
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from shapesweep import progress
from shapesweep.corpora import (
    DatasetText,
    NamedText,
    check_text,
    fetched_file,
    named_texts,
    source,
)
from shapesweep.errors import ShapesweepError, near
from shapesweep.hub import client
from shapesweep.hub.errors import is_failure
from shapesweep.storage import atomic
from shapesweep.storage.files import sha256
from shapesweep.storage.tables import first_line

#: Address from which files on GitHub are fetched, and the variable that names a mirror.
GITHUB, MIRROR = "https://github.com", "SHAPESWEEP_GITHUB"
#: Maximum number of characters that are read from a column of a data set.
CHARACTERS = 64_000_000
_IS_TEXT = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)


def fetch(text: str, copy: str | Path | None = None) -> str:
    """Fetch a text, or find it in the cache, and verify it.

    Parameters
    ----------
    text : str
        Value of the configuration's key `corpus.text`.
    copy : path-like, optional
        File to which the text is written atomically. Its SHA-256 digest is written to a file of the
        same name with the suffix `.sha256`, in the format of `sha256sum`.

    Returns
    -------
    str
        Message of one line.

    Raises
    ------
    ShapesweepError
        If the text cannot be fetched, or if it differs from the text that the name or the commit
        pins.
    """
    try:
        found = source(check_text(text))
    except ValueError as error:
        raise ShapesweepError(f"{text}: {error}") from None
    if found is None:
        advice = near(text, named_texts())
        raise ShapesweepError(f"{text}: is neither a named text nor a data set on the Hub{advice}")
    try:
        cached = _named(text, found) if isinstance(found, NamedText) else _dataset(found)
    except client.UnreachableError as error:
        raise ShapesweepError(
            f"corpus.text: cannot fetch {text}: {error}. If this machine has no network, run "
            f"`shapesweep text {shlex.quote(text)}` on a machine that has one, with the same "
            f"HF_HOME ({_home()}), and then run again here"
        ) from None
    except client.RefusedError as error:
        raise ShapesweepError(f"corpus.text: cannot fetch {text}: {error}") from None
    if copy is None:
        return f"{text}: in {cached}"
    out = Path(copy)
    with atomic.file(out) as partial:
        if isinstance(found, DatasetText):
            _write_column(found, cached, partial)
        else:
            shutil.copyfile(cached, partial)
        digest = sha256(partial)
        with atomic.file(out.with_suffix(".sha256")) as beside:
            beside.write_text(f"{digest}  {out.name}\n", encoding="utf-8")
    return f"{text}: {out.stat().st_size / 1e6:,.1f} MB, sha256 {digest}"


def _home() -> str:
    from huggingface_hub import constants

    return constants.HF_HOME


def _named(text: str, found: NamedText) -> Path:
    """Return the path of a text of the registry in the cache."""
    from huggingface_hub import cached_assets_path, constants
    from huggingface_hub.utils.sha import git_hash

    folder = cached_assets_path("shapesweep", "texts", assets_dir=constants.HF_ASSETS_CACHE)
    cached = folder / str(fetched_file(text))
    if cached.is_file() and git_hash(cached.read_bytes()) == found.blob:
        return cached
    mirror = os.environ.get(MIRROR, "").rstrip("/")
    problems = []
    with tempfile.TemporaryDirectory() as temporary:
        arrived = Path(temporary, "text")
        for address in found.urls:
            url = f"{mirror}{address.removeprefix(GITHUB)}" if mirror else address
            try:
                _download(url, arrived)
            except client.RefusedError as error:
                problems.append(str(error))
                continue
            blob = git_hash(arrived.read_bytes())
            if blob == found.blob:
                with atomic.file(cached) as partial:
                    shutil.copyfile(arrived, partial)
                return cached
            problems.append(
                f"{url} is not this text: its git blob id is {blob}, instead of {found.blob}"
            )
    raise client.RefusedError("; ".join(problems))


def _download(url: str, out: Path) -> None:
    """Download a file that is not on the Hub."""
    from huggingface_hub import get_session

    def ask(_: Any) -> int:
        with get_session().stream("GET", url, follow_redirects=True) as response:
            if response.status_code >= 400 and not is_failure(response):
                return response.status_code
            response.raise_for_status()
            size = int(response.headers.get("Content-Length", 0))
            with out.open("wb") as file, progress.bar(size, "downloading", "bytes") as shown:
                for chunk in response.iter_bytes():
                    file.write(chunk)
                    shown.update(len(chunk))
            return response.status_code

    status = client.send(url, ask)
    if status >= 400:
        raise client.RefusedError(f"{url}: the server refuses the request (HTTP {status})")


def _dataset(found: DatasetText) -> Path:
    """Return the path of the file of a data set in the cache, after a check of its digest."""
    from huggingface_hub import HfApi, try_to_load_from_cache

    where = {"repo_id": found.repository, "revision": found.commit, "repo_type": "dataset"}
    cached = try_to_load_from_cache(filename=found.path, **where)
    if isinstance(cached, str) and _has_digest_of_its_name(Path(cached).resolve()):
        return Path(cached)
    listed = client.send(
        found.repository, lambda api: api.get_paths_info(paths=found.path, **where)
    )
    if not listed or not hasattr(listed[0], "blob_id"):
        raise client.RefusedError(f"{found.repository} has no file {found.path} at this commit")
    download = functools.partial(HfApi.hf_hub_download, filename=found.path, **where)
    return client.download_whole(found.repository, client.as_file(listed[0]), download)


def _has_digest_of_its_name(path: Path) -> bool:
    """Whether a file of the cache is whole. The client names a cached file after its digest."""
    from huggingface_hub.utils.sha import git_hash

    found = sha256(path) if len(path.name) == 64 else git_hash(path.read_bytes())
    return path.name == found


def _write_column(found: DatasetText, parquet: Path, out: Path) -> None:
    """Write the texts of a column, separated by empty lines."""
    where, column = f"corpus.text: {found.repository}, {found.path}", found.column
    try:
        with pq.ParquetFile(parquet) as file, out.open("w", encoding="utf-8") as written:
            names = file.schema_arrow.names
            if column not in names:
                raise ShapesweepError(f"{where}: there is no column {column}{near(column, names)}")
            kind = file.schema_arrow.field(column).type
            kind = kind.value_type if pa.types.is_dictionary(kind) else kind
            if not any(is_text(kind) for is_text in _IS_TEXT):
                raise ShapesweepError(f"{where}: the column {column} has {kind} instead of text")
            left = CHARACTERS
            for batch in file.iter_batches(256, columns=[column]):
                for entry in filter(None, batch.column(0).to_pylist()):
                    written.write(f"{entry[:left]}\n\n")
                    left -= len(entry)
                    if left <= 0:
                        return
            if left == CHARACTERS:
                raise ShapesweepError(f"{where}: the column {column} contains no text")
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise ShapesweepError(f"{where}: damaged ({first_line(error)})") from None
