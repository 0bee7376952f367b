"""Send requests to the Hub, and repeat them after transient failures.

No other module calls the Hub. The client is `huggingface_hub`, so `HF_TOKEN`, `HF_HOME`,
`HF_ENDPOINT` and `HF_HUB_OFFLINE` have their usual meaning. On its own, `huggingface_hub` repeats
only some failed requests. This module repeats every request that fails for a transient reason. If a
file arrives damaged, it is downloaded again.
"""

import contextlib
import errno
import fnmatch
import functools
import logging
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from shapesweep.errors import CheckpointError, ShapesweepError, TransientError
from shapesweep.storage.files import File, is_inside, sha256

#: Number of attempts per request, and the longest wait between two attempts, in seconds. Only a
#: wait that the Hub requests may be longer.
ATTEMPTS, LONGEST_WAIT = 8, 60.0
#: Number of attempts to download a file that arrives damaged.
DAMAGED = 3
#: HTTP status codes below 500 for which a request is repeated.
_TRANSIENT = {408, 409, 425, 429}

_LOG = logging.getLogger(__name__)

Answer = TypeVar("Answer")


class UnreachableError(TransientError):
    """Raised if all attempts of a request failed, or if HF_HUB_OFFLINE prevents the request."""


class RefusedError(CheckpointError):
    """Raised if the Hub does not have the requested data, or if the user has no access."""


class NoAccessError(RefusedError, TransientError):
    """Raised if the user has no access. The error is transient; access may be granted later."""


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
    found = _ask(repository, lambda api: api.list_repo_refs(repository))
    return {
        kind: {ref.name: ref.target_commit for ref in getattr(found, kind)}
        for kind in ("branches", "tags")
    }


def tree(repository: str, commit: str) -> list[File]:
    """Return every file of a commit.

    Returns
    -------
    list of File

    Raises
    ------
    RefusedError, UnreachableError
    """
    entries = _ask(
        repository,
        lambda api: list(api.list_repo_tree(repository, revision=commit, recursive=True)),
    )
    return [
        File(entry.path, entry.size, entry.lfs.sha256 if entry.lfs else None, entry.blob_id)
        for entry in entries
        # Skip folders, and paths that point outside the folder of the download.
        if hasattr(entry, "blob_id") and is_inside(entry.path)
    ]


def commits(repository: str, branch: str) -> list[tuple[str, str]]:
    """Return (commit, title) of every commit of a branch, newest first.

    Raises
    ------
    RefusedError, UnreachableError
    """
    found = _ask(repository, lambda api: api.list_repo_commits(repository, revision=branch))
    return [(commit.commit_id, commit.title) for commit in found]


def repositories(pattern: str) -> list[str]:
    """Return the names of all repositories that match a pattern with `*`.

    Raises
    ------
    RefusedError, UnreachableError
    """
    author, _, name = pattern.partition("/")
    search = max(name.split("*"), key=len)
    found = _ask(pattern, lambda api: list(api.list_models(author=author, search=search or None)))
    # In a pattern, `*` also matches slashes, but a valid name contains exactly one slash.
    names = (model.id for model in found if re.fullmatch(r"[\w.-]+/[\w.-]+", model.id))
    return sorted(name for name in names if fnmatch.fnmatchcase(name, pattern))


@dataclass(frozen=True)
class Information:
    """What the Hub states about a repository.

    Attributes
    ----------
    license : str or None
        Identifier of the license, such as `apache-2.0`.
    is_gated : bool
        Whether users must accept terms before they can download files.
    """

    license: str | None
    is_gated: bool


def information(repository: str) -> Information:
    """Return the license of a repository, and whether it is gated.

    The Hub answers without a token, even if the repository is gated.

    Raises
    ------
    RefusedError, UnreachableError
    """
    found = _ask(
        repository, lambda api: api.model_info(repository, expand=["cardData", "gated", "tags"])
    )
    tags = [tag.removeprefix("license:") for tag in found.tags or [] if tag.startswith("license:")]
    stated = getattr(found.card_data, "license", None)
    # A card may contain anything, and the Hub makes tags from valid cards.
    license = stated if isinstance(stated, str) else next(iter(tags), None)
    return Information(license, bool(found.gated))


@contextlib.contextmanager
def counted() -> Iterator[list[str]]:
    """Collect the address of every request to the Hub within the `with` statement."""
    from huggingface_hub import get_session

    addresses: list[str] = []
    session = get_session()
    hooks = session.event_hooks
    count = [lambda request: addresses.append(str(request.url))]
    session.event_hooks = {**hooks, "request": [*hooks["request"], *count]}
    try:
        yield addresses
    finally:
        session.event_hooks = hooks


def read(repository: str, commit: str, path: str) -> bytes:
    """Return the contents of a small file of a commit.

    Raises
    ------
    RefusedError, UnreachableError
    """
    with tempfile.TemporaryDirectory() as folder:
        downloaded = _ask(
            repository,
            lambda api: api.hf_hub_download(repository, path, revision=commit, local_dir=folder),
        )
        return Path(downloaded).read_bytes()


def fetch(repository: str, commit: str, file: File, folder: Path, shown: Any) -> Path:
    """Download a file, and check its size and digest.

    Parameters
    ----------
    repository, commit : str
    file : File
    folder : Path
        The file is written to this folder, at its path in the repository.
    shown : tqdm
        Progress bar that counts the bytes.

    Returns
    -------
    Path
        Path of the file. If the user's cache contains the file, the path is a symbolic link.

    Raises
    ------
    RefusedError
        If the Hub has no such file, or repeatedly sends contents that differ from the Hub's
        listing.
    UnreachableError
    """
    from huggingface_hub import HfApi, try_to_load_from_cache

    target = folder / file.path
    cached = try_to_load_from_cache(repository, file.path, revision=commit)
    if isinstance(cached, str) and is_whole(Path(cached), file):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(Path(cached).resolve())
        shown.update(file.size)
        return target
    before = shown.n
    for attempt in range(DAMAGED):
        # Remove the file of an earlier attempt, because the client would keep it.
        target.unlink(missing_ok=True)
        download = functools.partial(
            HfApi.hf_hub_download,
            repo_id=repository,
            filename=file.path,
            revision=commit,
            local_dir=folder,
            tqdm_class=_counting(shown),
            # A repeated download must not copy the file from the cache, which may be damaged.
            force_download=attempt > 0,
        )
        try:
            _ask(repository, download)
        except OSError as error:
            if not _is_short(error):
                raise
        if is_whole(target, file):
            # Count the bytes of a file only once, even if the file is downloaded repeatedly.
            shown.update(before + file.size - shown.n)
            return target
    target.unlink(missing_ok=True)
    raise RefusedError(
        f"{file.path} arrived damaged: its digest differs from the digest that the Hub lists"
    )


def is_whole(path: Path, file: File) -> bool:
    """Return whether the size and the digest of a file match the listing of the Hub."""
    from huggingface_hub.utils.sha import git_hash

    if not path.is_file() or path.stat().st_size != file.size:
        return False
    if file.sha256:
        return sha256(path) == file.sha256
    return git_hash(path.read_bytes()) == file.blob


def _ask(about: str, call: Callable[[Any], Answer]) -> Answer:
    """Send a request to the Hub, and repeat it after transient failures."""
    import tenacity
    from huggingface_hub import HfApi

    retrying = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(ATTEMPTS),
        wait=_wait,
        retry=tenacity.retry_if_exception(_is_transient),
        before_sleep=_print_retry,
        reraise=True,
    )
    try:
        return retrying(call, HfApi())
    except Exception as error:
        expected = _expected_error(about, error)
        if expected is None:
            raise
        raise expected from None


def _is_transient(error: BaseException) -> bool:
    """Return whether another attempt may succeed."""
    from httpx2 import TransportError
    from huggingface_hub.errors import LocalEntryNotFoundError, OfflineModeIsEnabled

    causes = list(_causes(error))
    if any(isinstance(cause, OfflineModeIsEnabled) for cause in causes):
        return False
    status = _status(error)
    if status is not None:
        return status in _TRANSIENT or status >= 500
    if any(isinstance(cause, OSError) and cause.errno in _OURS for cause in causes):
        return False
    # A truncated response is not valid JSON, so parsing it raises a ValueError. A failed transfer
    # by xet raises a RuntimeError.
    kinds = TransportError | LocalEntryNotFoundError | OSError | ValueError | RuntimeError
    return not _is_short(error) and isinstance(error, kinds)


def _is_short(error: BaseException) -> bool:
    """Return whether the client reports that a downloaded file has the wrong size."""
    return isinstance(error, OSError) and "Consistency check failed" in str(error)


#: Errors of the local disk. A request that fails with an error of the disk is not repeated.
_OURS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM}


def _wait(state: Any) -> float:
    """Return the seconds until the next attempt: the Hub's Retry-After, or twice the last wait."""
    for cause in _causes(state.outcome.exception()):
        requested = getattr(getattr(cause, "response", None), "headers", {}).get("Retry-After", "")
        if requested.isdigit() and float(requested):
            # The Hub limits the number of requests in each period of five minutes, so it never
            # requests a wait of more than five minutes.
            return min(float(requested), 300.0)
    return min(0.25 * 2 ** (state.attempt_number - 1), LONGEST_WAIT)


def _print_retry(state: Any) -> None:
    error = state.outcome.exception()
    status = _status(error)
    reason = f"HTTP {status}" if status else type(error).__name__
    _LOG.warning("calling the Hub again after %s in attempt %d", reason, state.attempt_number)


def _expected_error(about: str, error: BaseException) -> ShapesweepError | None:
    """Return an error with advice for an error of the client; None if the error is unexpected."""
    from huggingface_hub import constants, errors, get_token

    token = "your token has no access" if get_token() else "set HF_TOKEN or run `hf auth login`"
    offline = ": HF_HUB_OFFLINE is set, and the local cache lacks the requested data"
    gated = f" is gated: accept its terms at {constants.ENDPOINT}/{about} ({token})"
    private = f": there is no such repository, or it is private ({token})"
    for kind, raised, text in (
        (errors.OfflineModeIsEnabled, UnreachableError, offline),
        (errors.GatedRepoError, NoAccessError, gated),
        (errors.RepositoryNotFoundError, NoAccessError, private),
        (errors.RevisionNotFoundError, RefusedError, ": the revision no longer exists"),
        (errors.RemoteEntryNotFoundError, RefusedError, ": the file no longer exists"),
        (errors.HFValidationError, RefusedError, " is not a valid name of a repository"),
    ):
        if any(isinstance(cause, kind) for cause in _causes(error)):
            return raised(f"{about}{text}")
    status = _status(error)
    if status in (401, 403):
        return NoAccessError(f"{about}: the Hub refuses the request (HTTP {status}): {token}")
    if _is_transient(error):
        reason = f"HTTP {status}" if status else type(error).__name__
        return UnreachableError(
            f"{about}: {constants.ENDPOINT} failed in all {ATTEMPTS} attempts ({reason}); "
            "run again later"
        )
    return RefusedError(f"{about}: the Hub refuses the request (HTTP {status})") if status else None


def _status(error: BaseException) -> int | None:
    responses = (getattr(cause, "response", None) for cause in _causes(error))
    return next((response.status_code for response in responses if response is not None), None)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _counting(shown: Any) -> type:
    """Return a class of hidden progress bars that pass the client's updates to a visible bar."""
    from tqdm import tqdm

    class Counting(tqdm):
        def __init__(self, *words: Any, **more: Any) -> None:
            super().__init__(*words, **{**more, "disable": True})

        def update(self, n: float | None = 1) -> None:
            shown.update(n)

    return Counting
