"""Errors of requests to the Hub: whether another attempt may succeed, and advice for the user."""

import errno
import re
from collections.abc import Iterator
from typing import Any

from shapesweep.errors import CheckpointError, ShapesweepError, TransientError

#: Number of attempts per request.
ATTEMPTS = 8
#: HTTP status codes below 500 for which a request is repeated.
_TRANSIENT = {408, 409, 425, 429}
#: Errors of the local disk. A request that fails with an error of the disk is not repeated.
_OURS = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM}
#: The advice at the end of the message of an `UnreachableError`.
AGAIN = "; run again later"
#: A mirror (`HF_ENDPOINT`) may redirect requests to these addresses of the Hub.
_PUBLIC = ("https://huggingface.co", "https://hf.co")


class UnreachableError(TransientError):
    """Raised if all attempts of a request failed, or if HF_HUB_OFFLINE prevents the request."""


class RefusedError(CheckpointError):
    """Raised if the Hub does not have the requested data, or if the user has no access."""


class NoAccessError(RefusedError, TransientError):
    """Raised if the user has no access. The error is transient; access may be granted later."""


def is_transient(error: BaseException) -> bool:
    """Return whether another attempt may succeed."""
    from huggingface_hub.errors import HFValidationError, OfflineModeIsEnabled

    kinds = OfflineModeIsEnabled | HFValidationError
    if any(isinstance(cause, kinds) for cause in causes(error)):
        return False
    response = _response(error)
    if response is not None:
        return is_failure(response) or not _is_from_hub(response)
    if any(isinstance(cause, OSError) and cause.errno in _OURS for cause in causes(error)):
        return False
    # The client raises errors of many kinds if a connection fails, a transfer by xet fails, or an
    # answer is truncated or lacks a key.
    return isinstance(error, Exception) and not (is_short(error) or isinstance(error, MemoryError))


def is_short(error: BaseException) -> bool:
    """Return whether the client reports that a downloaded file has the wrong size."""
    return isinstance(error, OSError) and "Consistency check failed" in str(error)


def expected_error(about: str, error: BaseException) -> ShapesweepError | None:
    """Return an error with advice for an error of the client; None if the error is unexpected."""
    from huggingface_hub import constants, errors, get_token

    token = "your token has no access" if get_token() else "set HF_TOKEN or run `hf auth login`"
    offline = ": HF_HUB_OFFLINE is set, and the local cache lacks the requested data"
    gated = f" is gated: accept its terms at {constants.ENDPOINT}/{about} ({token})"
    private = f": there is no such repository, or it is private ({token})"
    response = _response(error)
    if response is not None and not (is_failure(response) or _is_from_hub(response)):
        # The URL contains the signature of the link, so the message contains only its host.
        return UnreachableError(
            f"{about}: the storage {response.request.url.host} refused the links of "
            f"{constants.ENDPOINT} in all {ATTEMPTS} attempts ({reason(error)}): their signatures "
            f"have expired, or a clock is wrong{AGAIN}"
        )
    for kind, raised, text in (
        (errors.OfflineModeIsEnabled, UnreachableError, offline),
        (errors.GatedRepoError, NoAccessError, gated),
        (errors.RepositoryNotFoundError, NoAccessError, private),
        (errors.RevisionNotFoundError, RefusedError, ": the revision no longer exists"),
        (errors.RemoteEntryNotFoundError, RefusedError, ": the file no longer exists"),
        (errors.HFValidationError, RefusedError, " is not a valid name of a repository"),
    ):
        if any(isinstance(cause, kind) for cause in causes(error)):
            return raised(f"{about}{text}")
    if is_transient(error):
        failed = f"failed in all {ATTEMPTS} attempts ({reason(error)})"
        server = "the server" if "://" in about else constants.ENDPOINT
        return UnreachableError(f"{about}: {server} {failed}{AGAIN}")
    if response is None:
        return None
    refused = f"{about}: the Hub refuses the request ({reason(error)})"
    if response.status_code in (401, 403):
        return NoAccessError(f"{refused}: {token}")
    return RefusedError(refused)


def reason(error: BaseException) -> str:
    """Describe a failed request in a few words."""
    response = _response(error)
    if response is not None:
        return f"HTTP {response.status_code}"
    name = type(error).__name__
    kinds = ValueError | LookupError | TypeError | AttributeError | RecursionError
    is_malformed = isinstance(error, kinds) and not isinstance(error, OSError)
    return f"a malformed answer: {name}" if is_malformed else name


def _response(error: BaseException) -> Any:
    """Return the response that caused an error; None if there was no response."""
    responses = (getattr(cause, "response", None) for cause in causes(error))
    return next((response for response in responses if response is not None), None)


def is_failure(response: Any) -> bool:
    """Return whether a server failed to answer, and did not refuse the request."""
    return response.status_code in _TRANSIENT or response.status_code >= 500


def _is_from_hub(response: Any) -> bool:
    """Return whether a response comes from the Hub itself, and not from its storage.

    The storage may be on another host, on another port, or under another path.
    """
    from httpx2 import URL
    from huggingface_hub import constants

    url = response.request.url
    for hub in map(URL, (constants.ENDPOINT, *_PUBLIC)):
        # The address of a mirror may contain a path.
        path = re.escape(hub.path.rstrip("/")) + r"(/api/|(/datasets)?/[^/]+(/[^/]+)?/resolve/)"
        if (url.host, url.port) == (hub.host, hub.port) and re.match(path, url.path):
            return True
    return False


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, its cause, the cause of its cause, and so on."""
    while error is not None:
        yield error
        error = error.__cause__
