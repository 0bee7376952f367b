"""The download: one checkpoint of the Hub on this disk, for as long as it takes to measure it.

Takes in what the manifest pins (commit, files, sha256); hands on a folder with exactly these
files, every byte checked, or with the reason why it has none. All folders that are on the
disk at a time share one budget.
"""

import json
import logging
import math
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock

from shapesweep import failures, hub, progress, whole
from shapesweep.errors import CheckpointError, TransientError
from shapesweep.files import File
from shapesweep.publication import Place

#: Seconds between two looks at the budget, and between two words about waiting.
LOOK, WORD = 0.5, 60.0
#: Seconds of waiting in which nothing has left the disk, until a checkpoint is given up for now.
PATIENCE = 6 * 3600.0

#: How many places are asked for a tokenizer.
PLACES = 4

#: Bytes, and the time at which it ends if nobody has ended it before.
Claim = tuple[int, float]

_LOG = logging.getLogger(__name__)


def checkpoint(
    row: dict[str, Any],
    files: list[File],
    out: Path,
    fits: Callable[[], None],
    tokenizer: Path | None = None,
) -> str:
    """Fetch a checkpoint.

    Parameters
    ----------
    row : dict
        Of the manifest: `repository` and `commit` are fetched.
    files : list of File
    out : Path
        A folder, made whole or not at all: the files by their names, or `failed.json`.
    fits : callable
        Called before anything is fetched: returns when the budget has room.
    tokenizer : Path, optional
        Its folder: without a tokenizer nothing is fetched, for nothing could be measured.

    Returns
    -------
    str
        What was done, in one line.
    """
    name = f"{row['suite']}/{row['run']}/{row['revision']}"
    with whole.folder(out) as partial:
        try:
            if tokenizer:
                failures.raise_recorded(tokenizer)
            fits()
            _fetch(row["repository"], row["commit"], files, partial)
        except CheckpointError as error:
            whole.empty(partial)
            failures.record(partial, row, error)
            return f"{name}: could not be fetched: {error}"
    return f"{name}: {sum(file.size for file in files) / 1e6:,.1f} MB fetched"


class Once:
    """A claim for several checkpoints: the first makes it, and the others are told the same.

    Parameters
    ----------
    claim : callable
        Returns when there is room.
    """

    def __init__(self, claim: Callable[[], None]) -> None:
        self._claim, self._made = claim, False
        self._failure: CheckpointError | None = None

    def __call__(self) -> None:
        """Return when there is room, or raise what the first was told."""
        if not self._made:
            self._made = True
            try:
                self._claim()
            except CheckpointError as error:
                self._failure = error
        if self._failure:
            raise self._failure


def _fetch(repository: str, commit: str, files: list[File], out: Path) -> None:
    """Fetch files into a folder, by their names alone: theirs in the repository may be deeper."""
    staging = out / ".hub"
    with progress.bar(sum(file.size for file in files), "downloading", "bytes") as shown:
        for file in files:
            arrived = hub.fetch(repository, commit, file, staging, shown)
            arrived.replace(out / PurePosixPath(file.path).name)
    shutil.rmtree(staging, ignore_errors=True)


class Budget:
    """What checkpoints and their shards may fill at once.

    Every checkpoint claims the most that it will need, before its download begins; the claim
    ends when nothing of it is left on the disk. So downloads run ahead of the measuring as far
    as there is room, and no farther.

    Parameters
    ----------
    folder : path-like
        In which downloads and shards lie.
    n_bytes : int
    keep_activations : bool
        Whether shards stay: then they are results, and no part of a claim.
    """

    def __init__(self, folder: str | Path, n_bytes: int, keep_activations: bool = False) -> None:
        self.folder, self.n_bytes = Path(folder), n_bytes
        self.kinds = ("checkpoints",) if keep_activations else ("checkpoints", "activations")
        self.ledger = self.folder / "checkpoints" / ".claims.json"

    def claim(self, place: str, n_bytes: int, seconds: float = math.inf) -> None:
        """Wait until there is room for a checkpoint, and take it.

        Parameters
        ----------
        place : str
            `<suite>/<run>/<batch>`.
        n_bytes : int
        seconds : float
            After which nobody works on it any more: what is left then is removed when another
            needs the room.

        Raises
        ------
        CheckpointError
            If there will never be.
        TransientError
            If nothing has left the disk for hours.
        """
        if n_bytes > self.n_bytes:
            raise CheckpointError(f"needs {n_bytes / 1e9:.1f} GB, {self._said()}")
        spoken = moved = time.monotonic()
        before: dict[str, Claim] = {}
        while not self._take(place, n_bytes, time.time() + seconds):
            now, held = time.monotonic(), self._claims()
            moved, before = (moved, before) if held == before else (now, held)
            if now - moved > PATIENCE:
                raise TransientError(f"found no room: {self._said()}, and {self._held()}")
            if now - spoken > WORD:
                spoken = now
                _LOG.warning("waiting for room: %s, and %s", self._said(), self._held())
            time.sleep(LOOK)

    def settle(self, place: str) -> None:
        """Say that what was claimed for is on the disk: it holds the room from now on."""
        shutil.rmtree(self._stub(place), ignore_errors=True)

    def clear(self, needed: Iterable[str]) -> None:
        """Remove what an earlier run was stopped over: it would hold room that nobody frees.

        Parameters
        ----------
        needed : iterable of str
            Folders that this run reads.
        """
        keep = {Path(path) for path in needed}
        for place in self._claims():
            self._remove(place, keep)

    def _remove(self, place: str, keep: Collection[Path] = ()) -> None:
        shutil.rmtree(self._stub(place), ignore_errors=True)
        for kind in self.kinds:
            made = self.folder / kind / place
            for path in [*whole.partials(made), *([] if made in keep else [made])]:
                shutil.rmtree(path, ignore_errors=True)

    def _take(self, place: str, n_bytes: int, until: float) -> bool:
        self.ledger.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.ledger}.lock"):
            claims = {one: claim for one, claim in self._claims().items() if self._is_there(one)}
            claims.pop(place, None)
            for one in [one for one, (_, end) in claims.items() if end < time.time()]:
                if self._fits(claims, n_bytes):
                    break
                self._remove(one)
                del claims[one]
            there_is_room = self._fits(claims, n_bytes)
            if there_is_room:
                claims[place] = n_bytes, until
                self._stub(place).mkdir(parents=True, exist_ok=True)
            with whole.file(self.ledger) as partial:
                partial.write_text(json.dumps(claims), encoding="utf-8")
        return there_is_room

    def _fits(self, claims: dict[str, Claim], n_bytes: int) -> bool:
        return sum(n for n, _ in claims.values()) + n_bytes <= self.n_bytes

    def _claims(self) -> dict[str, Claim]:
        try:
            said = json.loads(self.ledger.read_bytes())
            return {place: (int(n), float(end)) for place, (n, end) in said.items()}
        # What an earlier version has written ends here: its claims are made again.
        except (OSError, ValueError, TypeError, AttributeError):
            return {}

    def _stub(self, place: str) -> Path:
        """What stands for a download until it is settled."""
        folder = self.folder / "checkpoints" / place
        return folder.with_name(f".{folder.name}.claim")

    def _is_there(self, place: str) -> bool:
        """Whether anything of a checkpoint is on the disk, from its download to its last shard."""
        # In this order: the stub goes when the download is there, and that when its shards are.
        stands = self._stub(place).exists()
        return stands or any((self.folder / kind / place).exists() for kind in self.kinds)

    def _said(self) -> str:
        return f"hub.disk_gb allows {self.n_bytes / 1e9:g}"

    def _held(self) -> str:
        return f"it is held by {', '.join(sorted(self._claims()))}"


def tokenizer(row: dict[str, Any], places: Sequence[Place], out: Path) -> str:
    """Fetch a run's tokenizer from the first place that still has it.

    Parameters
    ----------
    row : dict
        Of the manifest, of one checkpoint of the run.
    places : sequence of (str, str, list of File)
        Repository, commit and files.
    out : Path
        A folder, made whole or not at all: the files, or `failed.json`.

    Returns
    -------
    str
        What was done, in one line.
    """
    failure = CheckpointError(
        f"{row['repository']} has no tokenizer; name the repository that has it "
        f"(suites.{row['suite']}.tokenizer)"
    )
    with whole.folder(out) as partial:
        for repository, commit, files in places[:PLACES]:
            try:
                _fetch(repository, commit, files, partial)
                return f"tokenizer of {repository} fetched"
            except CheckpointError as error:
                whole.empty(partial)
                failure = error
                if isinstance(error, TransientError):
                    break
        failures.record(partial, row, failure)
    return f"the tokenizer could not be fetched: {failure}"
