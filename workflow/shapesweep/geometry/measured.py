"""Read and write the saved numbers of checkpoints, in one folder for each checkpoint.

A job reuses saved numbers that come from the same inputs, and measures only the missing numbers.
The folders are not part of the plan. If a folder is removed, its checkpoint is measured again.
"""

import contextlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd

from shapesweep.config.measurement import Measurement
from shapesweep.errors import ShapesweepError
from shapesweep.metrics import METRICS
from shapesweep.plan import fingerprints
from shapesweep.storage import atomic, schemas, tables

#: Columns by which the rows of every table are sorted.
_ORDER = ["corpus", "stack", "layer", "layer_kind", "selection", "metric", "k", "group"]


@dataclass(frozen=True)
class Measured:
    """The saved numbers of a checkpoint.

    Attributes
    ----------
    origins : dict
        Origin of the shards of each corpus. `from` contains the inputs; `by` contains the device
        and the versions.
    geometry, replicates, losses, samples : pandas.DataFrame
    vocabulary : int or None
        Number of entries of the model's vocabulary.
    fingerprint : str
        Fingerprint of the checkpoint (`fingerprints.contents`); empty if there are no numbers.
    metrics : dict of int
        Versions of the metrics that were measured on every corpus, by the metric's name. A metric
        may have no number, if a corpus does not allow it.
    """

    origins: dict[str, Any] = field(default_factory=dict)
    geometry: pd.DataFrame = field(default_factory=lambda: _empty("geometry"))
    replicates: pd.DataFrame = field(default_factory=lambda: _empty("replicates"))
    losses: pd.DataFrame = field(default_factory=lambda: _empty("losses"))
    samples: pd.DataFrame = field(default_factory=lambda: _empty("samples"))
    vocabulary: int | None = None
    fingerprint: str = ""
    metrics: dict[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: str | Path, settings: Measurement) -> "Measured":
        """Read the numbers from a folder.

        The result is empty if the folder is absent or damaged, or was written with other settings.
        """
        folder = Path(folder)
        # If a table is absent, damaged or of an older version, everything is measured again.
        with contextlib.suppress(ShapesweepError, KeyError):
            metadata = tables.read_metadata(folder / "geometry.parquet")
            if metadata.get("settings") == fingerprints.numbers(settings):
                frames = {
                    name: tables.read(folder / f"{name}.parquet", schema)
                    for name, schema in schemas.OF_CHECKPOINT.items()
                }
                # Drop numbers of metrics that no longer exist or whose version has changed.
                current = {name: metric.version for name, metric in METRICS.items()}
                for name in ("geometry", "replicates"):
                    today = frames[name].metric.map(current) == frames[name].metric_version
                    frames[name] = frames[name][today]
                more = {key: metadata[key] for key in ("origins", "vocabulary", "fingerprint")}
                known = metadata["metrics"].items()
                metrics = {name: version for name, version in known if current.get(name) == version}
                return cls(**more, **frames, metrics=metrics)
        return cls()

    def write(self, folder: str | Path, settings: Measurement) -> None:
        """Write the numbers to a folder atomically."""
        metadata = {
            "settings": fingerprints.numbers(settings),
            "origins": self.origins,
            "vocabulary": self.vocabulary,
            "fingerprint": self.fingerprint,
            "metrics": self.metrics,
        }
        with atomic.folder(folder) as partial:
            for name, schema in schemas.OF_CHECKPOINT.items():
                frame = getattr(self, name)
                tables.write(frame, schema, partial / f"{name}.parquet", metadata)

    def complete(self) -> dict[str, Any]:
        """Return the origins of the corpora for which every metric is saved in its current version.

        Shards with these origins need not be extracted again.
        """
        return self.origins if self.metrics.keys() >= METRICS.keys() else {}

    def is_finished(self, fingerprint: str) -> bool:
        """Whether all numbers of a checkpoint with this fingerprint are saved."""
        return self.fingerprint == fingerprint and bool(self.complete() or not self.origins)

    def from_origins(self, origins: dict[str, Any]) -> "Measured":
        """Return the saved numbers that are valid for shards of these origins."""
        same = {
            name: origin
            for name, origin in self.origins.items()
            if name in origins and origin["from"] == origins[name]["from"]
        }
        frames = {
            name: table[table.corpus.isin(list(same))]
            for name, table in vars(self).items()
            if name in ("geometry", "replicates", "losses")
        }
        return Measured(same, **frames, metrics=self.metrics)

    def joined(self, fresh: "Measured") -> "Measured":
        """Return the saved and the new numbers together, with rows in the usual order."""
        frames = {}
        for name in ("geometry", "replicates", "losses"):
            parts = [getattr(self, name), getattr(fresh, name)]
            table = pd.concat([part for part in parts if len(part)] or parts[:1])
            keys = [key for key in _ORDER if key in table]
            frames[name] = table.sort_values(keys, kind="stable", na_position="first")
        return replace(fresh, origins={**fresh.origins, **self.origins}, **frames)


def _empty(name: str) -> pd.DataFrame:
    return pd.DataFrame(columns=schemas.OF_CHECKPOINT[name].names)
