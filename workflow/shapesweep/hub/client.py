"""Send requests to the Hub, and repeat them after transient failures.

All requests are sent by the function `send`. The client is `huggingface_hub`, so `HF_TOKEN`,
`HF_HOME`, `HF_ENDPOINT` and `HF_HUB_OFFLINE` have their usual meaning. On its own,
`huggingface_hub` repeats only some failed requests. This module repeats every request that fails
for a transient reason. If a file arrives damaged, it is downloaded again.

The Hub redirects downloads to a storage, with signed links that expire. If the storage refuses a
link, the Hub is asked for a new link. Only the Hub itself can refuse access to a repository.
"""

import fnmatch
import functools
import logging
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import Field, TypeAdapter
from tqdm import tqdm

from shapesweep.hub.errors import (
    ATTEMPTS,
    RefusedError,
    UnreachableError,
    causes,
    expected_error,
    is_short,
    is_transient,
    reason,
)
from shapesweep.storage.files import File, is_inside, sha256

#: Longest wait between two attempts, in seconds. Only a wait that the Hub requests may be longer.
LONGEST_WAIT = 60.0
#: Number of seconds without data after which a request fails, if the client sets no limit itself.
SILENCE = 30.0
#: Number of attempts to download a file that arrives damaged.
DOWNLOADS = 3

_LOG = logging.getLogger(__name__)

Answer = TypeVar("Answer")
#: Answers are validated before they are written to a listing, which is validated when it is read.
_Name = Annotated[str, Field(min_length=1)]
_REFS = TypeAdapter(dict[str, dict[_Name, _Name]])
_FILES = TypeAdapter(list[File])
_COMMITS = TypeAdapter(list[tuple[_Name, str]])


def refs(repository: str) -> dict[str, dict[str, str]]:
    """Return the branches and tags of a repository.

    Returns
    -------
    dict
        The keys are `branches` and `tags`; each value maps names to commits.

    Raises
    ------
    RefusedError, UnreachableError
    """

    def ask(api: Any) -> dict[str, dict[str, str]]:
        found = api.list_repo_refs(repository)
        kinds = {"branches": found.branches, "tags": found.tags}
        return _REFS.validate_python(
            {kind: {ref.name: ref.target_commit for ref in each} for kind, each in kinds.items()}
        )

    return send(repository, ask)


def tree(repository: str, commit: str) -> list[File]:
    """Return every file of a commit.

    Returns
    -------
    list of File

    Raises
    ------
    RefusedError, UnreachableError
    """

    def ask(api: Any) -> list[File]:
        files = [
            as_file(entry)
            for entry in api.list_repo_tree(repository, revision=commit, recursive=True)
            # Skip folders.
            if hasattr(entry, "blob_id")
        ]
        return _FILES.validate_python([vars(file) for file in files])

    # Skip paths that point outside the folder of the download.
    return [file for file in send(repository, ask) if is_inside(file.path)]


def commits(repository: str, branch: str) -> list[tuple[str, str]]:
    """Return (commit, title) of every commit of a branch, newest first.

    Raises
    ------
    RefusedError, UnreachableError
    """

    def ask(api: Any) -> list[tuple[str, str]]:
        found = api.list_repo_commits(repository, revision=branch)
        return _COMMITS.validate_python([(commit.commit_id, commit.title) for commit in found])

    return send(repository, ask)


def repositories(pattern: str) -> list[str]:
    """Return the names of all repositories that match a pattern with `*`.

    Raises
    ------
    RefusedError, UnreachableError
    """
    author, _, name = pattern.partition("/")
    search = max(name.split("*"), key=len)

    def ask(api: Any) -> list[str]:
        found = [model.id for model in api.list_models(author=author, search=search or None)]
        # In a pattern, `*` also matches slashes, but a valid name contains exactly one slash.
        return [name for name in found if re.fullmatch(r"[\w.-]+/[\w.-]+", name)]

    return sorted(name for name in send(pattern, ask) if fnmatch.fnmatchcase(name, pattern))


def raise_if_down(error: UnreachableError) -> None:
    """Raise an error about one repository if the Hub does not answer a light request, either.

    Raises
    ------
    UnreachableError
        The given error.
    """
    from huggingface_hub import constants, get_session
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    def ask(_: Any) -> list[Any]:
        url, headers = f"{constants.ENDPOINT}/api/models", build_hf_headers()
        response = get_session().get(url, params={"limit": 1}, headers=headers)
        hf_raise_for_status(response)
        return TypeAdapter(list[Any]).validate_python(response.json())

    try:
        send("the Hub", ask)
    except RefusedError:
        return  # A refusal is an answer.
    except UnreachableError:
        raise error from None


def read(repository: str, commit: str, file: File) -> bytes:
    """Return the contents of a small file, after a check of its size and digest.

    Raises
    ------
    RefusedError, UnreachableError
        As `fetch` does.
    """
    with tempfile.TemporaryDirectory() as folder, tqdm(disable=True) as shown:
        return fetch(repository, commit, file, Path(folder), shown).read_bytes()


def fetch(repository: str, commit: str, file: File, folder: Path | None, shown: Any) -> Path:
    """Download a file, and check its size and digest.

    Parameters
    ----------
    repository, commit : str
    file : File
    folder : Path or None
        The file is written to this folder, at its path in the repository. Without a folder, the
        file is kept in the user's cache.
    shown : tqdm
        Progress bar that counts the bytes.

    Returns
    -------
    Path
        Path of the file. If the user's cache contains the file already, a path in `folder` is a
        symbolic link.

    Raises
    ------
    RefusedError
        If the Hub has no such file, or repeatedly sends contents that differ from the Hub's
        listing.
    UnreachableError
    """
    from huggingface_hub import HfApi, try_to_load_from_cache

    target, before = folder and folder / file.path, shown.n
    cached = try_to_load_from_cache(repository, file.path, revision=commit)
    if isinstance(cached, str) and is_whole(Path(cached), file):
        shown.update(file.size)
        if target is None:
            return Path(cached)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(Path(cached).resolve())
        return target
    if target is not None:
        # Remove a file that is already there, because the client would keep it.
        target.unlink(missing_ok=True)
    download = functools.partial(
        HfApi.hf_hub_download,
        repo_id=repository,
        filename=file.path,
        revision=commit,
        local_dir=folder,
        tqdm_class=_counting(shown),
    )
    arrived = download_whole(repository, file, download)
    # Count the bytes of a file only once, even if the file is downloaded repeatedly.
    shown.update(before + file.size - shown.n)
    return arrived


def download_whole(repository: str, file: File, download: Callable[..., str]) -> Path:
    """Download a file, and again if its size or digest differs from the listing of the Hub.

    Parameters
    ----------
    repository : str
    file : File
    download : callable
        Function that takes a `huggingface_hub.HfApi` and the keyword `force_download`, downloads
        the file, and returns its path.

    Raises
    ------
    RefusedError
        If the file always arrives damaged; then it is removed.
    UnreachableError
    """
    for attempt in range(DOWNLOADS):
        try:
            # A repeated download must not copy the file from the cache, which may be damaged.
            again = functools.partial(download, force_download=attempt > 0)
            arrived = Path(send(repository, again))
        except OSError as error:
            if not is_short(error):
                raise
            continue
        if is_whole(arrived, file):
            return arrived
        arrived.unlink()
    raise RefusedError(
        f"{repository}: {file.path} arrived damaged: its digest differs from the digest that the "
        "Hub lists"
    )


def as_file(entry: Any) -> File:
    """Convert an entry of the client's listing to a `File`."""
    return File(entry.path, entry.size, entry.lfs.sha256 if entry.lfs else None, entry.blob_id)


def is_whole(path: Path, file: File) -> bool:
    """Return whether the size and the digest of a file match the listing of the Hub."""
    from huggingface_hub.utils.sha import git_hash

    if not path.is_file() or path.stat().st_size != file.size:
        return False
    if file.sha256:
        return sha256(path) == file.sha256
    return git_hash(path.read_bytes()) == file.blob


def send(about: str, call: Callable[[Any], Answer]) -> Answer:
    """Send a request, and repeat it after transient failures.

    Parameters
    ----------
    about : str
        Repository or address, for error messages.
    call : callable
        Function that takes a `huggingface_hub.HfApi`, sends the request, and returns the answer.

    Raises
    ------
    RefusedError, UnreachableError
    """
    import tenacity
    from huggingface_hub import HfApi, get_session

    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=_wait,
        retry=tenacity.retry_if_exception(is_transient),
        before_sleep=_print_retry,
        reraise=True,
    )

    def attempt() -> Answer:
        # The client opens a new session after some failures.
        hooks = get_session().event_hooks["request"]
        if _limit not in hooks:
            hooks.append(_limit)
        return call(HfApi())

    try:
        return retrying(attempt)
    except Exception as error:
        expected = expected_error(about, error)
        if expected is None:
            raise
        raise expected from None


def _limit(request: Any) -> None:
    """Limit the time that a request waits, so that a silent server does not block a job."""
    limits = request.extensions["timeout"]
    request.extensions["timeout"] = {
        kind: SILENCE if seconds is None else seconds for kind, seconds in limits.items()
    }


def _wait(state: Any) -> float:
    """Return the seconds until the next attempt: the Hub's Retry-After, or twice the last wait."""
    for cause in causes(state.outcome.exception()):
        requested = getattr(getattr(cause, "response", None), "headers", {}).get("Retry-After", "")
        if requested.isdigit() and float(requested):
            # The Hub limits the number of requests in each period of five minutes, so it never
            # requests a wait of more than five minutes.
            return min(float(requested), 300.0)
    return min(0.25 * 2 ** (state.attempt_number - 1), LONGEST_WAIT)


def _print_retry(state: Any) -> None:
    failure = reason(state.outcome.exception())
    _LOG.warning("calling the Hub again after %s in attempt %d", failure, state.attempt_number)


def _counting(shown: Any) -> type:
    """Return a class of hidden progress bars that pass the client's updates to a visible bar."""

    class Counting(tqdm):
        def __init__(self, *words: Any, **more: Any) -> None:
            super().__init__(*words, **{**more, "disable": True})

        def update(self, n: float | None = 1) -> None:
            shown.update(n)

    return Counting
