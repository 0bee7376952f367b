"""Look up the checkpoints of a job in the manifest, and find their folders."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from shapesweep.activations.extract import Source
from shapesweep.checkpoint.files import tokenizer_files
from shapesweep.config.measurement import Measurement
from shapesweep.errors import ShapesweepError
from shapesweep.geometry.measured import Measured
from shapesweep.plan import fingerprints
from shapesweep.storage import manifests, schemas, tables
from shapesweep.storage.manifests import Checkpoint


@dataclass(frozen=True)
class Member:
    """A checkpoint of a job.

    Attributes
    ----------
    checkpoint : Checkpoint
    folder : Path
        Folder of the checkpoint's files.
    tokenizer : Path
        Folder of the checkpoint's tokenizer.
    kept_folder : Path or None
        Folder of the checkpoint's saved numbers (`Measured`).
    settings : Measurement
    """

    checkpoint: Checkpoint
    folder: Path
    tokenizer: Path
    kept_folder: Path | None
    settings: Measurement

    @cached_property
    def known(self) -> Measured:
        """The saved numbers of the checkpoint."""
        return Measured.read(self.kept_folder, self.settings) if self.kept_folder else Measured()

    @cached_property
    def fingerprint(self) -> str:
        """Fingerprint of the checkpoint's contents."""
        return fingerprints.contents(self.checkpoint, self.tokenizer, self.settings)

    @property
    def is_measured(self) -> bool:
        """Whether all numbers of the checkpoint's current contents are saved."""
        return self.checkpoint.selected and self.known.is_finished(self.fingerprint)

    def source(self, out: Path, known: dict[str, Any] | None = None) -> Source:
        """Return the checkpoint as a `Source`; corpora whose origin is in `known` are left out."""
        return Source(
            self.checkpoint, self.folder, out, self.tokenizer, known or {}, self.fingerprint
        )

    def budget(self, rise: float) -> list[dict[str, Any]] | None:
        """Return the rows of the dimension budget, if they are saved for the current contents."""
        if not (self._budget_file and self.checkpoint.selected):
            return None
        fingerprint = self._budget_fingerprint(rise)
        # If the table is absent, damaged or of an older version, the budget is measured again.
        with contextlib.suppress(ShapesweepError):
            if tables.read_metadata(self._budget_file).get("fingerprint") == fingerprint:
                return tables.read_arrow(self._budget_file, schemas.BUDGETS).to_pylist()
        return None

    def keep_budget(self, rise: float, rows: list[dict[str, Any]]) -> None:
        """Save the rows of the dimension budget, if there is a folder for saved numbers."""
        if self._budget_file:
            metadata = {"fingerprint": self._budget_fingerprint(rise)}
            tables.write(rows, schemas.BUDGETS, self._budget_file, metadata)

    def _budget_fingerprint(self, rise: float) -> str:
        return fingerprints.budget_contents(self.checkpoint, self.tokenizer, self.settings, rise)

    @property
    def _budget_file(self) -> Path | None:
        """File of the dimension budget.

        The file lies outside the folder of saved numbers, because another job measures the budget.
        """
        # No revision is named `.budgets`, because names of revisions do not begin with a dot.
        kept = self.kept_folder
        return kept.parent / ".budgets" / f"{kept.name}.parquet" if kept else None


def members(
    manifest: str | Path,
    run: str,
    revisions: Sequence[str],
    settings: Measurement,
    downloads: str | Path = "",
    tokenizer: str | Path = "",
    measured: str | Path = "",
) -> list[Member]:
    """Return the checkpoints of a job.

    Parameters
    ----------
    manifest : path-like
        Manifest of the checkpoints' suite.
    run : str
    revisions : sequence of str
    settings : Measurement
    downloads : path-like
        Folder of downloads, for checkpoints from the Hub.
    tokenizer : path-like
        Folder of the run's tokenizer; an empty string if each checkpoint has its own tokenizer.
    measured : path-like
        Folder with saved numbers of the run's checkpoints; an empty string to save no numbers.

    Returns
    -------
    list of Member
        One `Member` for each revision. If the manifest does not list a checkpoint, the checkpoint
        is not selected, and its status states the reason.

    Raises
    ------
    ShapesweepError
        If the manifest is absent or damaged.
    """
    listed = manifests.read(manifest)
    known = {checkpoint.revision: checkpoint for checkpoint in listed if checkpoint.run == run}
    suite = listed[0].suite if listed else Path(manifest).stem
    found = []
    for revision in revisions:
        absent = Checkpoint(suite, run, revision, selected=False, status=("no longer exists",))
        checkpoint = known.get(revision, absent)
        folder = Path(downloads or checkpoint.folder or ".")
        if downloads and len(revisions) > 1:
            folder /= revision
        kept = Path(measured) / revision if measured else None
        own = _tokenizer_folder(folder, checkpoint.base)
        found.append(Member(checkpoint, folder, Path(tokenizer or own), kept, settings))
    return found


def _tokenizer_folder(folder: Path, base: Path | None) -> Path:
    """Return the folder of a local checkpoint's tokenizer: its own folder, or that of its base."""
    return folder if base is None or tokenizer_files(folder) else base
