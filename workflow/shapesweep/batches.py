"""Batches: which checkpoints of a run go through the jobs together, and what tells that they did.

A process starts, imports and tokenises once a batch, so that small checkpoints cost what they
need. Each is finished by itself: a batch that was stopped goes on with those that are left. Takes
in what the manifest lists; hands on names, folders and marks.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from shapesweep import checkpoint, contracts, costs, whole
from shapesweep.config import Config
from shapesweep.corpora import CORPORA
from shapesweep.costs import Model
from shapesweep.manifest import Listed, budgeted
from shapesweep.metrics import METRICS
from shapesweep.shards import FORMAT_VERSION
from shapesweep.suite import NAME, AnySuite, EmbeddedSuite
from shapesweep.text import text_file

#: What a batch may be called, as a regular expression: its first checkpoint's revision, and how
#: many go with it.
BATCH = NAME.strip("^$") + r"(\+[1-9]\d*)?"
#: Seconds of work, by rough operations on one core, from which on a checkpoint goes by itself: the
#: start of two processes is then a few per cent of it. And checkpoints a batch at most, so that
#: there are batches enough for all cores.
SECONDS, MOST = 1800.0, 8


@dataclass(frozen=True)
class Batch:
    """Checkpoints of one run that go through each job together.

    Attributes
    ----------
    suite, run : str
    members : tuple of Listed
        At least one.
    """

    suite: str
    run: str
    members: tuple[Listed, ...]

    @property
    def name(self) -> str:
        """`checkpoint-8+3`: that checkpoint and the three that follow; alone, its revision."""
        more = len(self.members) - 1
        return f"{self.members[0].revision}+{more}" if more else self.members[0].revision

    @property
    def revisions(self) -> list[str]:
        """Of its members."""
        return [one.revision for one in self.members]


def place(folder: str | Path, revisions: Sequence[str], revision: str) -> Path:
    """Where in a batch's folder a checkpoint lies: of several, each has a folder of its name."""
    return Path(folder) / revision if len(revisions) > 1 else Path(folder)


def cut(
    suite: str, definition: AnySuite, chosen: Sequence[Listed], settings: Config
) -> list[Batch]:
    """The batches of a suite: neighbours in a run, in equal numbers.

    Parameters
    ----------
    suite : str
    definition : EmbeddedSuite, LocalSuite or HubSuite
    chosen : sequence of Listed
        Sound ones.
    settings : shapesweep.config.Config

    Returns
    -------
    list of Batch
        By run and step. A checkpoint whose weights or shards are asked for by themselves (for its
        budget, to be kept) is a batch of its own.
    """
    alone = {id(one) for one in budgeted(chosen, settings.budget.checkpoints.get(suite))}
    made = []
    for run in dict.fromkeys(one.run for one in chosen):
        mine = [one for one in chosen if one.run == run]
        together = [one for one in mine if id(one) not in alone]
        made += [Batch(suite, run, (one,)) for one in mine if id(one) in alone]
        if together:
            # All of a run have one shape.
            most = _most(Model.of(together[0], definition), settings)
            size = math.ceil(len(together) / math.ceil(len(together) / most))
            parts = (together[i : i + size] for i in range(0, len(together), size))
            made += [Batch(suite, run, tuple(part)) for part in parts]
    return made


def _most(model: Model, settings: Config) -> int:
    """How many checkpoints of a model a batch holds at most."""
    if settings.keep_activations:
        return 1
    if settings.checkpoints_per_job != "auto":
        most = settings.checkpoints_per_job
    else:
        seconds = costs.operations(model, settings) / costs.CORE
        most = min(MOST, max(1, int(SECONDS / max(seconds, 1e-9))))
    # As many batches as are downloaded at a time, one that waits and one that is measured.
    room = settings.hub.disk_gb * 1e9 / (settings.hub.downloads + 2)
    return max(1, min(most, int(room / max(costs.footprint(model, settings), 1))))


def state(definition: AnySuite, one: Listed, settings: Config) -> str:
    """All that a checkpoint's shards depend on, but its files' contents, as a digest.

    A file that is mended with an old time (by rsync, say) is seen by its size or time.

    Parameters
    ----------
    definition : EmbeddedSuite, LocalSuite or HubSuite
    one : Listed
    settings : shapesweep.config.Config
    """
    text = text_file(settings.corpus.text)
    depends = {
        "place": [one.seed, one.step, one.tokens],
        "files": _files(definition, one),
        "corpora": {name: CORPORA[name].version for name in settings.corpora},
        "corpus": settings.corpus.model_dump(),
        "text": _looks([text] if text else []),
        "groups": settings.geometry.groups,
        "format_version": FORMAT_VERSION,
        "tables_version": contracts.VERSION,
    }
    return _digest(depends)


def _files(definition: AnySuite, one: Listed) -> object:
    """What makes a checkpoint another one: pins, its training's recipe, or its files' looks."""
    if isinstance(definition, EmbeddedSuite):
        return [definition.model_dump(exclude={"runs"}), definition.runs[one.run].model_dump()]
    if one.published:
        return [one.published.commit, *(file.sha256 or file.blob for file in one.published.files)]
    files = checkpoint.model_files(one.folder) + checkpoint.tokenizer_files(one.folder)
    return _looks(files)


def _looks(files: Sequence[str | Path]) -> list[tuple[int, int]]:
    """Sizes and times of the files that are there."""
    stats = [path.stat() for path in map(Path, files) if path.is_file()]
    return [(stat.st_size, stat.st_mtime_ns) for stat in stats]


def key(states: Mapping[str, str], settings: Config) -> str:
    """What a batch's numbers depend on: its checkpoints' states, and what is measured of each.

    Parameters
    ----------
    states : mapping of str to str
        By revision.
    settings : shapesweep.config.Config
    """
    versions = {name: metric.version for name, metric in METRICS.items()}
    return _digest([dict(states), settings.geometry.model_dump(), versions])


def write_mark(path: str | Path, key: str, revisions: Sequence[str]) -> None:
    """Write, whole or not at all, that all checkpoints of a batch are measured."""
    with whole.file(path) as partial:
        told = json.dumps({"key": key, "revisions": list(revisions)})
        partial.write_text(told, encoding="utf-8")


def is_true(mark: str | Path, key: str) -> bool:
    """Whether a mark says that just this has been measured; not whether it is still there."""
    try:
        return json.loads(Path(mark).read_bytes())["key"] == key
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _digest(of: object) -> str:
    return hashlib.sha256(json.dumps(of, sort_keys=True, default=str).encode()).hexdigest()
