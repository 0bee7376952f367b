"""Batches of checkpoints. One job measures the checkpoints of a batch, which belong to one run.

A job starts one process, and imports libraries and tokenizes the text only once. Checkpoints are
measured one by one, so a job that is stopped loses the work on at most one checkpoint.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from shapesweep.config.hub_suite import HubSuite
from shapesweep.config.suite import REVISION, AnySuite
from shapesweep.config.sweep import Config
from shapesweep.manifest.selection import Listed, budgeted
from shapesweep.plan import costs, fingerprints

#: Regular expression for the name of a batch: the first revision, and the number of further
#: checkpoints.
BATCH = REVISION.strip("^$") + r"(\+[1-9]\d*)?"
#: Maximum estimated time of a job on one core, in seconds; much longer than a process needs to
#: start. A job measures at most `MOST` checkpoints, so that there are enough jobs for all cores.
SECONDS, MOST = 1800.0, 8


@dataclass(frozen=True)
class Batch:
    """Checkpoints of a run that one job measures.

    Attributes
    ----------
    suite, run : str
    definition : EmbeddedSuite, LocalSuite or HubSuite
    settings : shapesweep.config.sweep.Config
    members : tuple of Listed
        At least one checkpoint.
    """

    suite: str
    run: str
    definition: AnySuite
    settings: Config
    members: tuple[Listed, ...]

    @property
    def name(self) -> str:
        """Name of the batch; `checkpoint-8+3` is `checkpoint-8` and the next three checkpoints."""
        more = len(self.members) - 1
        return f"{self.members[0].revision}+{more}" if more else self.members[0].revision

    @property
    def revisions(self) -> list[str]:
        """The revisions of the checkpoints in the batch."""
        return [checkpoint.revision for checkpoint in self.members]

    @cached_property
    def fingerprint(self) -> str:
        """The fingerprint of everything that the tables of the batch depend on."""
        settings = self.settings.measurement(self.suite)
        return fingerprints.measuring(self.definition, self.members, settings)

    @property
    def models(self) -> list[costs.Model]:
        """The models of the checkpoints in the batch, for estimates of costs."""
        return [costs.Model.of(checkpoint, self.definition) for checkpoint in self.members]


def cut(
    suite: str, definition: AnySuite, chosen: Sequence[Listed], settings: Config
) -> list[Batch]:
    """Split the chosen checkpoints of a suite into batches.

    Batches are formed from the first checkpoint of a run onwards, so that full batches do not
    change when later checkpoints are added.

    Parameters
    ----------
    suite : str
    definition : EmbeddedSuite, LocalSuite or HubSuite
    chosen : sequence of Listed
        Checkpoints without flags.
    settings : shapesweep.config.sweep.Config

    Returns
    -------
    list of Batch
        Batches by run and step. A checkpoint forms a separate batch if it has a dimension budget,
        or if its shards are kept.
    """
    rule = settings.budget.checkpoints.get(suite)
    alone = {checkpoint.key for checkpoint in budgeted(chosen, rule)}
    parts: list[list[Listed]] = []
    for run in dict.fromkeys(checkpoint.run for checkpoint in chosen):
        mine = [checkpoint for checkpoint in chosen if checkpoint.run == run]
        together = [checkpoint for checkpoint in mine if checkpoint.key not in alone]
        parts += [[checkpoint] for checkpoint in mine if checkpoint.key in alone]
        if together:
            # All checkpoints of a run have the same shape.
            model = costs.Model.of(together[0], definition)
            most = _most(model, settings, isinstance(definition, HubSuite))
            parts += [together[i : i + most] for i in range(0, len(together), most)]
    return [Batch(suite, part[0].run, definition, settings, tuple(part)) for part in parts]


def _most(model: costs.Model, settings: Config, is_published: bool) -> int:
    """Return the maximum number of checkpoints in a batch."""
    if settings.keep_activations:
        return 1
    if settings.checkpoints_per_job != "auto":
        most = settings.checkpoints_per_job
    else:
        seconds = costs.operations(model, settings) / costs.CORE_SPEED
        most = min(MOST, max(1, int(SECONDS / max(seconds, 1e-9))))
    if not is_published:
        return most
    # The disk must hold the parallel downloads, a downloaded batch that waits, and a batch that is
    # being measured.
    room = settings.hub.disk_gb * 1e9 / (settings.hub.downloads + 2)
    return max(1, min(most, int(room / max(costs.footprint(model, settings), 1))))
