"""The checkpoints of a job: their rows of the manifest, and their folders."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from shapesweep.config.measurement import Measurement
from shapesweep.geometry.measured import Measured, read_budget
from shapesweep.plan import fingerprints
from shapesweep.storage import manifests
from shapesweep.storage.manifests import Checkpoint


@dataclass(frozen=True)
class Member:
    """A checkpoint of a job.

    Attributes
    ----------
    checkpoint : Checkpoint
    folder : Path
        Folder of its files.
    tokenizer : Path
        Folder of its tokenizer.
    kept_folder : Path or None
        Folder of its kept numbers (`Measured`).
    settings : Measurement
    """

    checkpoint: Checkpoint
    folder: Path
    tokenizer: Path
    kept_folder: Path | None
    settings: Measurement

    @cached_property
    def known(self) -> Measured:
        """Its kept numbers."""
        return Measured.read(self.kept_folder, self.settings) if self.kept_folder else Measured()

    @cached_property
    def fingerprint(self) -> str:
        """Fingerprint of its contents."""
        return fingerprints.contents(self.checkpoint, self.tokenizer, self.settings)

    @property
    def is_measured(self) -> bool:
        """Whether all its numbers are kept, from its current contents."""
        return self.checkpoint.selected and self.known.is_finished(self.fingerprint)

    def budget_fingerprint(self, rise: float) -> str:
        """Fingerprint of the contents that its dimension budget depends on."""
        return fingerprints.budget_contents(self.checkpoint, self.tokenizer, self.settings, rise)

    def budget(self, rise: float) -> list[dict[str, Any]] | None:
        """The rows of its dimension budget, if they are kept, from its current contents."""
        if not (self.kept_folder and self.checkpoint.selected):
            return None
        return read_budget(self.kept_folder, self.budget_fingerprint(rise))


def members(
    manifest: str | Path,
    run: str,
    revisions: Sequence[str],
    settings: Measurement,
    downloads: str | Path = "",
    tokenizer: str | Path = "",
    measured: str | Path = "",
) -> list[Member]:
    """The checkpoints of a job.

    Parameters
    ----------
    manifest : path-like
        Manifest of their suite.

    run : str
    revisions : sequence of str
    settings : Measurement
    downloads : path-like
        Folder of downloads, for checkpoints from the Hub.
    tokenizer : path-like
        Folder of the run's tokenizer; empty if each checkpoint has one.
    measured : path-like
        Folder with kept numbers of the run's checkpoints; empty to keep none.

    Returns
    -------
    list of Member
        One for each revision. A checkpoint that is not in the manifest is not selected, and its
        status says so.

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
        in_batch = Path(downloads) / revision if len(revisions) > 1 else Path(downloads)
        folder = in_batch if downloads else Path(checkpoint.folder or ".")
        kept = Path(measured) / revision if measured else None
        found.append(
            Member(checkpoint, folder, Path(tokenizer) if tokenizer else folder, kept, settings)
        )
    return found
