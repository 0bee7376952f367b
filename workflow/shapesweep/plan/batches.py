"""Batches: the checkpoints of a run that one job measures.

Starting a process, importing and tokenizing happen once per batch. Checkpoints are measured one by
one, so a job that is stopped loses at most one of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from shapesweep.config.hub_suite import HubSuite
from shapesweep.config.suite import NAME, AnySuite
from shapesweep.config.sweep import Config
from shapesweep.manifest.selection import Listed, budgeted
from shapesweep.plan import costs, fingerprints

#: Regular expression of the name of a batch: the first revision, and the number that follow.
BATCH = NAME.strip("^$") + r"(\+[1-9]\d*)?"
#: Limit for the estimated seconds of a job on one core; the start of the process is a small part of
#: it. A job measures at most `MOST` checkpoints, so that there are enough jobs for all cores.
SECONDS, MOST = 1800.0, 8


@dataclass(frozen=True)
class Batch:
    """Checkpoints of a run that one job measures.

    Attributes
    ----------
    suite, run : str
    definition : EmbeddedSuite, LocalSuite or HubSuite
    settings : shapesweep.config.Config
    members : tuple of Listed
        Not empty.
    """

    suite: str
    run: str
    definition: AnySuite
    settings: Config
    members: tuple[Listed, ...]

    @property
    def name(self) -> str:
        """For example `checkpoint-8+3`: that checkpoint and the next three."""
        more = len(self.members) - 1
        return f"{self.members[0].revision}+{more}" if more else self.members[0].revision

    @property
    def revisions(self) -> list[str]:
        """Revisions of its members."""
        return [checkpoint.revision for checkpoint in self.members]

    @cached_property
    def fingerprint(self) -> str:
        """Fingerprint of all that its tables depend on."""
        settings = self.settings.measurement(self.suite)
        return fingerprints.measuring(self.definition, self.members, settings)

    @property
    def models(self) -> list[costs.Model]:
        """Models of its members, for estimates of costs."""
        return [costs.Model.of(checkpoint, self.definition) for checkpoint in self.members]


def cut(
    suite: str, definition: AnySuite, chosen: Sequence[Listed], settings: Config
) -> list[Batch]:
    """The batches of a suite.

    Batches are cut from the first checkpoint of a run, so that they stay the same when later
    checkpoints are added.

    Parameters
    ----------
    suite : str
    definition : EmbeddedSuite, LocalSuite or HubSuite
    chosen : sequence of Listed
        Sound checkpoints.
    settings : shapesweep.config.Config

    Returns
    -------
    list of Batch
        By run and step. A checkpoint with a budget, or whose shards are kept, is a separate batch.
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
    """Maximum number of checkpoints of a batch."""
    if settings.keep_activations:
        return 1
    if settings.checkpoints_per_job != "auto":
        most = settings.checkpoints_per_job
    else:
        seconds = costs.operations(model, settings) / costs.CORE_SPEED
        most = min(MOST, max(1, int(SECONDS / max(seconds, 1e-9))))
    if not is_published:
        return most
    # Disk space for the parallel downloads, one batch that waits and one that is measured.
    room = settings.hub.disk_gb * 1e9 / (settings.hub.downloads + 2)
    return max(1, min(most, int(room / max(costs.footprint(model, settings), 1))))
