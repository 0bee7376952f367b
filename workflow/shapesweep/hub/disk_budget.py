"""The disk budget: a limit for the disk space of checkpoints from the Hub during a sweep.

Before the download of a batch begins, the batch claims the disk space that it needs. The claim ends
when the folder of the batch is removed. If the process that used a batch has died, the folder is
removed when another batch needs the space. Downloads run ahead of the measurements while space is
available.
"""

import contextlib
import fcntl
import json
import logging
import math
import os
import re
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from pathlib import Path

from filelock import FileLock

from shapesweep.errors import CheckpointError, TransientError
from shapesweep.storage import atomic

#: Seconds between two attempts to claim space, and between two messages while waiting.
LOOK, MESSAGE = 0.5, 60.0
#: A job stops waiting for space if no claim has changed for this many seconds.
PATIENCE = 6 * 3600.0

#: Regular expression for `<suite>/<run>/<batch>/<fingerprint>`. A matching path cannot point
#: outside the folder of downloads.
_PLACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*(/[A-Za-z0-9][A-Za-z0-9._+-]*){3}")
#: Bytes of a claim, and the time at which the claim expires.
Claim = tuple[int, float]

_LOG = logging.getLogger(__name__)


class DiskBudget:
    """The claims of all batches on one disk.

    Parameters
    ----------
    folder : path-like
        The folder of temporary files; its subfolder `checkpoints/` contains the downloads.
    n_bytes : int
        Limit for the sum of all claims, in bytes.
    """

    def __init__(self, folder: str | Path, n_bytes: int) -> None:
        self.folder, self.n_bytes = Path(folder) / "checkpoints", n_bytes
        self.claims_file = self.folder / ".claims.json"

    @contextlib.contextmanager
    def using(self, batch: str, job: str) -> Iterator[None]:
        """Mark a batch as used by this process until the `with` block ends without an error.

        If the process dies or the `with` block fails, the files of the batch may be removed when
        another batch needs the space.

        Parameters
        ----------
        batch : str
            `<suite>/<run>/<batch>/<fingerprint>`.
        job : str
            Name of the Snakemake rule of the job.
        """
        folder = self.folder / batch
        path = folder.with_name(f".{folder.name}.{job}.used")
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".new")
        with os.fdopen(descriptor):
            # The marker is locked before it gets its final name, so an unlocked marker belongs to a
            # dead process.
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            Path(name).replace(path)
            yield
            path.unlink(missing_ok=True)

    def claim(self, batch: str, n_bytes: int, seconds: float = math.inf) -> None:
        """Wait until there is space for a batch, and claim the space.

        Parameters
        ----------
        batch : str
        n_bytes : int
        seconds : float
            Time in seconds after which no job uses the batch any more. After this time, the files
            of the batch may be removed when another batch needs the space.

        Raises
        ------
        CheckpointError
            If the batch needs more space than the limit allows.
        TransientError
            If no claim has changed for `PATIENCE` seconds.
        """
        limit = f"hub.disk_gb allows {self.n_bytes / 1e9:g} GB"
        if n_bytes > self.n_bytes:
            raise CheckpointError(f"needs {n_bytes / 1e9:.1f} GB, but {limit}")
        reported = changed = time.monotonic()
        before: dict[str, Claim] = {}
        while not self._take(batch, n_bytes, time.time() + seconds):
            now, held = time.monotonic(), self._claims()
            changed, before = (changed, before) if held == before else (now, held)
            reason = f"{limit}, and the space is held by {', '.join(sorted(held))}"
            if now - changed > PATIENCE:
                raise TransientError(f"found no disk space: {reason}")
            if now - reported > MESSAGE:
                reported = now
                _LOG.warning("waiting for disk space: %s", reason)
            time.sleep(LOOK)

    def clear(self, planned: Collection[str] | None) -> None:
        """Remove downloads that earlier sweeps left behind.

        Parameters
        ----------
        planned : collection of str or None
            Batches that this sweep needs; None if the batches are not known yet.
        """
        for batch in self._claims():
            if self._is_dead(batch) or (planned is not None and batch not in planned):
                self._remove(batch)

    def _take(self, batch: str, n_bytes: int, until: float) -> bool:
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.claims_file}.lock"):
            claims = self._claims()
            claims.pop(batch, None)
            for other, (_, end) in list(claims.items()):
                # The claim is obsolete: the batch has no files, and no process uses the batch.
                if not (self.folder / other).exists() and not self._markers(other):
                    del claims[other]
                elif self._is_dead(other) or end < time.time():
                    if self._fits(claims, n_bytes):
                        continue
                    self._remove(other)
                    del claims[other]
            there_is_room = self._fits(claims, n_bytes)
            if there_is_room:
                claims[batch] = n_bytes, until
            with atomic.file(self.claims_file) as partial:
                partial.write_text(json.dumps(claims), encoding="utf-8")
        return there_is_room

    def _fits(self, claims: dict[str, Claim], n_bytes: int) -> bool:
        return sum(n for n, _ in claims.values()) + n_bytes <= self.n_bytes

    def _claims(self) -> dict[str, Claim]:
        try:
            claims = json.loads(self.claims_file.read_bytes())
            # `_remove` deletes the folder of a claim, so the path must not point outside
            # `self.folder`.
            return {
                batch: (int(n), float(end))
                for batch, (n, end) in claims.items()
                if _PLACE.fullmatch(batch)
            }
        # The file of claims is absent, damaged or of an earlier version; new claims replace it.
        except (OSError, ValueError, TypeError, AttributeError, OverflowError):
            return {}

    def _markers(self, batch: str) -> list[Path]:
        folder = self.folder / batch
        # A fingerprint contains no characters that `glob` would interpret.
        return list(folder.parent.glob(f".{folder.name}.*.used"))

    def _is_dead(self, batch: str) -> bool:
        """Return whether all processes that used a batch have died or failed."""
        markers = self._markers(batch)
        return bool(markers) and all(map(_is_left, markers))

    def _remove(self, batch: str) -> None:
        folder = self.folder / batch
        for path in [*atomic.partials(folder), *folder.parent.glob(f"{folder.name}/.*.partial")]:
            shutil.rmtree(path, ignore_errors=True)
            path.with_suffix(".lock").unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        for path in self._markers(batch):
            path.unlink(missing_ok=True)


def _is_left(path: Path) -> bool:
    """Return whether the process that created a marker died without removing the marker."""
    # Network file systems lock only files that are open for writing.
    with contextlib.suppress(OSError), path.open("r+b") as marker:
        fcntl.flock(marker, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # A process that ends normally removes its marker before it releases the lock.
        return os.path.samestat(os.fstat(marker.fileno()), path.stat())
    return False
