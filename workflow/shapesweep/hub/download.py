"""Download checkpoints and tokenizers from the Hub.

The manifest pins the commit, the files and their digests. After a download, the folder contains
exactly the files in the manifest, each of them verified. After a failure, the folder contains only
a `failed.json` with the reason.
"""

import itertools
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from shapesweep import progress
from shapesweep.errors import CheckpointError, TransientError
from shapesweep.hub import client
from shapesweep.hub.tokenizer_sources import TokenizerSource
from shapesweep.storage import atomic, failures
from shapesweep.storage.files import File
from shapesweep.storage.manifests import Checkpoint

#: Maximum number of sources to try for a tokenizer.
PLACES = 4


def checkpoints(
    wanted: Sequence[tuple[Checkpoint, Path]], claim: Callable[[], None], tokenizer: Path
) -> Iterator[str]:
    """Download checkpoints as soon as the disk has room for all of them.

    Parameters
    ----------
    wanted : sequence of (Checkpoint, Path)
        Checkpoints of the manifest, each with its folder. The files of a checkpoint are downloaded
        from its `repository` at its `commit`. The folder is written atomically, and contains the
        files or `failed.json`.
    claim : callable
        Function that waits until the disk has room for all checkpoints.
    tokenizer : Path
        Folder of the tokenizer. If the tokenizer could not be downloaded, no checkpoint is
        downloaded, because checkpoints cannot be measured without a tokenizer.

    Yields
    ------
    str
        A message for each checkpoint.
    """
    failure = None
    try:
        if wanted:
            failures.raise_recorded(tokenizer)
            claim()
    except CheckpointError as error:
        failure = error
    for checkpoint, folder in wanted:
        yield _checkpoint(checkpoint, folder, failure)


def _checkpoint(wanted: Checkpoint, out: Path, failure: CheckpointError | None) -> str:
    """Download a checkpoint, or record why it cannot be downloaded."""
    with atomic.folder(out) as partial:
        try:
            if failure:
                raise failure
            if wanted.repository is None or wanted.commit is None:
                raise CheckpointError("is not on the Hub")
            _fetch(wanted.repository, wanted.commit, wanted.files, partial)
        except CheckpointError as error:
            atomic.empty(partial)
            failures.record(partial, wanted, error)
            return f"{wanted.name}: could not be fetched: {error}"
    return f"{wanted.name}: {wanted.n_bytes / 1e6:,.1f} MB fetched"


def _fetch(repository: str, commit: str, files: Sequence[File], out: Path) -> None:
    """Download files into one folder, without their parent folders in the repository."""
    staging = out / ".hub"
    with progress.bar(sum(file.size for file in files), "downloading", "bytes") as shown:
        for file in files:
            arrived = client.fetch(repository, commit, file, staging, shown)
            arrived.replace(out / PurePosixPath(file.path).name)
    shutil.rmtree(staging, ignore_errors=True)


def tokenizer(
    last: Checkpoint, sources: Iterable[TokenizerSource], out: Path, problem: str | None = None
) -> str:
    """Download the tokenizer of a run from the first source that has it.

    Parameters
    ----------
    last : Checkpoint
        A checkpoint of the run. Messages and `failed.json` name this checkpoint.
    sources : iterable of (str, str, list of File)
        Repository, commit and files of each source, best source first.
    out : Path
        A folder, which is written atomically, and contains the files or `failed.json`.
    problem : str, optional
        Reason why there is no source, if it is known.

    Returns
    -------
    str
        Message of one line.
    """
    failure = CheckpointError(
        problem
        or f"{last.repository} has no tokenizer; set suites.{last.suite}.tokenizer to a repository "
        "that has one"
    )
    with atomic.folder(out) as partial:
        for repository, commit, files in itertools.islice(sources, PLACES):
            try:
                _fetch(repository, commit, files, partial)
                return f"tokenizer of {repository} fetched"
            except CheckpointError as error:
                atomic.empty(partial)
                failure = error
                if isinstance(error, TransientError):
                    break
        failures.record(partial, last, failure)
    return f"the tokenizer could not be fetched: {failure}"
