"""The plan of a sweep: its jobs, the files that they read and write, and their resources.

The plan is computed from the configuration, the results folder and listings. Planning writes
nothing. The plan reads the contents of listings and of recorded failures. Of all other files, it
reads only names, sizes and times. Snakemake uses the plan through `workflow/rules/plan.smk`.
"""

import functools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from shapesweep.config.hub_suite import HubSuite
from shapesweep.config.measurement import Measurement, as_yaml
from shapesweep.config.suite import AnySuite, EmbeddedSuite, LocalSuite
from shapesweep.config.sweep import Config
from shapesweep.errors import ShapesweepError
from shapesweep.manifest import history, logs
from shapesweep.manifest.checkpoints import list_checkpoints
from shapesweep.manifest.selection import Listed, budgeted, select
from shapesweep.plan import attempts, batches, costs, fingerprints
from shapesweep.plan.batches import Batch
from shapesweep.plan.definitions import FOR_PEOPLE
from shapesweep.storage import failures
from shapesweep.storage.digests import digest

#: Tables of every batch, and tables of the whole sweep.
BATCH_TABLES = ("geometry", "replicates", "losses", "samples", "origins", "failures")
TABLES = (
    *("geometry", "replicates", "losses", "budgets", "origins", "failures"),
    *("history", "continuity", "copies", "manifest"),
)


class Plan:
    """The plan of a sweep, and of `snakemake spikes`.

    Paths are relative to the results folder.

    Parameters
    ----------
    config : shapesweep.config.sweep.Config
    results : path-like
        Folder of earlier results.
    """

    def __init__(self, config: Config, results: str | Path) -> None:
        self.config, self.spikes = config, config.for_spikes
        self.results = Path(results)
        self.suites: dict[str, AnySuite] = {**self.spikes.suites, **config.suites}
        # Files that a sweep writes must not change its plan. Results of the following methods are
        # therefore cached.
        of_suite = (self.listed, self.selected, self.batches, self.budgeted, self.record)
        for method in (*of_suite, self._batches_by_name, self.model, self._attempt, self._budget):
            setattr(self, method.__name__, functools.cache(method))

    def settings(self, suite: str) -> Config:
        """Return the configuration that applies to a suite: `config` or `spikes`."""
        return self.config if suite in self.config.suites else self.spikes

    @property
    def published(self) -> list[str]:
        """The suites on the Hub."""
        return [name for name, suite in self.suites.items() if isinstance(suite, HubSuite)]

    @property
    def listable(self) -> list[str]:
        """The suites whose checkpoints or base models are not known until a job has listed them."""
        return self.published + [
            name
            for name, suite in self.suites.items()
            if (isinstance(suite, EmbeddedSuite) and suite.onset)
            or (isinstance(suite, LocalSuite) and suite.bases_on_hub)
        ]

    def listed(self, suite: str) -> list[Listed]:
        """Return all checkpoints of a suite; those of a suite on the Hub come from its listing.

        Raises
        ------
        ShapesweepError
            If the suite has no checkpoints.
        """
        return list_checkpoints(suite, self.suites[suite], self.results)

    def selected(self, suite: str) -> dict[tuple[str, str], Listed]:
        """Return the chosen checkpoints without flags, by run and revision."""
        try:
            chosen = select(self.listed(suite), self.settings(suite).checkpoints)
        except ShapesweepError as error:
            raise ShapesweepError(f"suites.{suite}: {error}") from None
        return {checkpoint.key: checkpoint for checkpoint in chosen if not checkpoint.flags}

    def batches(self, suite: str) -> list[Batch]:
        """Return the batches of a suite."""
        selected = [*self.selected(suite).values()]
        return batches.cut(suite, self.suites[suite], selected, self.settings(suite))

    def _batches_by_name(self, suite: str) -> dict[tuple[str, str], Batch]:
        return {(batch.run, batch.name): batch for batch in self.batches(suite)}

    def batch(self, suite: str, run: str, name: str) -> Batch:
        """Return the batch with this name, which may be the revision of a single checkpoint.

        A job on a cluster computes its own plan, and the run may have grown since the sweep was
        planned. If the job's plan does not contain the batch, the returned batch contains the same
        number of checkpoints of the run, and therefore has the same costs. `recorded` returns the
        batch of the plan that started the job.
        """
        found = self._batches_by_name(suite)
        if (run, name) in found:
            return found[run, name]
        first, _, more = name.partition("+")
        mine = [checkpoint for key, checkpoint in self.selected(suite).items() if key[0] == run]
        start = next((k for k, checkpoint in enumerate(mine) if checkpoint.revision == first), 0)
        members = tuple(mine[start : start + 1 + int(more or 0)])
        return Batch(suite, run, self.suites[suite], self.settings(suite), members)

    def recorded(self, suite: str, output: str) -> dict[str, Any] | None:
        """Return a batch from the recorded plan that started a job.

        Parameters
        ----------
        suite : str
        output : str
            The `folder` or `download` of the batch, or a path from `budgets_of`.

        Returns
        -------
        dict or None
            A dict with the keys `folder`, `download`, `budgets`, `run` and `revisions`; None if no
            recorded plan contains the batch.
        """
        for path in Path(self.results, "plans", suite).glob("*.json"):
            for batch in failures.read_json(path)["batches"]:
                if output in (batch["folder"], batch["download"], *batch["budgets"]):
                    return batch
        return None

    def model(self, suite: str, run: str) -> costs.Model:
        """Return the model of all checkpoints of a run, for estimates of costs."""
        checkpoints = self.selected(suite).values()
        member = next(checkpoint for checkpoint in checkpoints if checkpoint.run == run)
        return costs.Model.of(member, self.suites[suite])

    def _attempt(self, folder: str, fingerprint: str, ending: str = "") -> str:
        return attempts.name(self.results / folder, fingerprint, ending)

    def folder(self, batch: Batch) -> str:
        """Return `<suite>/<run>/<batch>/<fingerprint>`, the folder of the outputs of a batch."""
        folder = f"{batch.suite}/{batch.run}/{batch.name}"
        attempt = self._attempt(f"geometry/{folder}", batch.fingerprint, "/failures.parquet")
        return f"{folder}/{attempt}"

    def download(self, batch: Batch) -> str:
        """Return `<suite>/<run>/<batch>/<fingerprint>`, the folder of the download of a batch.

        The fingerprint depends on the downloaded files, and on the outputs that are computed from
        them. Checkpoints that are already measured are not downloaded, so a folder from an earlier
        sweep may lack files.
        """
        files = fingerprints.downloading(batch.definition, batch.members)
        fingerprint = digest(files, self.folder(batch), self.budgets_of(batch))
        return f"{batch.suite}/{batch.run}/{batch.name}/{fingerprint}"

    def tables(self, suites: Iterable[str]) -> list[str]:
        """Return the tables of all batches of the given suites."""
        every = [batch for suite in suites for batch in self.batches(suite)]
        return [table for batch in every for table in self._tables_of(batch)]

    def _tables_of(self, batch: Batch) -> list[str]:
        return [f"geometry/{self.folder(batch)}/{name}.parquet" for name in BATCH_TABLES]

    def shards(self, suites: Iterable[str]) -> list[str]:
        """Return the folders of the kept shards of the given suites."""
        every = [batch for suite in suites for batch in self.batches(suite)]
        return [f"activations/{self.folder(batch)}" for batch in every]

    def budgeted(self, suite: str) -> dict[tuple[str, str], Listed]:
        """Return the checkpoints that need a dimension budget, by run and revision.

        Raises
        ------
        ShapesweepError
            If the configuration requests budgets, and no checkpoint matches.
        """
        rule = self.settings(suite).budget.checkpoints.get(suite)
        measured = self.selected(suite).values()
        chosen = budgeted(measured, rule)
        if rule is not None and measured and not chosen:
            reason = f"chooses none of {len(measured)} measured checkpoints"
            raise ShapesweepError(f"budget.checkpoints.{suite}: {reason}")
        return {checkpoint.key: checkpoint for checkpoint in chosen}

    def budgets(self, suites: Iterable[str]) -> list[str]:
        """Return the tables of all dimension budgets of the given suites."""
        return [self._budget(suite, *key) for suite in suites for key in self.budgeted(suite)]

    def budgets_of(self, batch: Batch) -> list[str]:
        """Return the tables of the dimension budgets of a batch's checkpoints."""
        keys = [(batch.run, revision) for revision in batch.revisions]
        return [self._budget(batch.suite, *k) for k in keys if k in self.budgeted(batch.suite)]

    def _budget(self, suite: str, run: str, revision: str) -> str:
        settings, checkpoint = self.settings(suite), self.budgeted(suite)[run, revision]
        fingerprint = fingerprints.budgeting(
            self.suites[suite], checkpoint, settings.measurement(suite), settings.budget.rise
        )
        folder = f"budgets/{suite}/{run}/{revision}"
        return f"{folder}/{self._attempt(folder, fingerprint, '.parquet')}.parquet"

    def tokenizer(self, suite: str, run: str) -> str:
        """Return the folder of the tokenizer of a run on the Hub."""
        folder = f"tokenizers/{suite}/{run}"
        return f"{folder}/{self._attempt(folder, self.tokenizer_fingerprint(suite, run))}"

    def tokenizer_fingerprint(self, suite: str, run: str) -> str:
        """Return the digest of the files of a run's tokenizer."""
        listed = self.listed(suite)
        return digest(next(checkpoint.tokenizer for checkpoint in listed if checkpoint.run == run))

    def trained(self, suite: str) -> list[str]:
        """Return the output folders of the runs of an embedded suite."""
        definition = self.suites[suite]
        runs = definition.runs if isinstance(definition, EmbeddedSuite) else ()
        return [f"checkpoints/{suite}/{run}" for run in runs]

    def measurement_file(self, suite: str) -> str:
        """Return the path of the settings file for jobs that measure a suite."""
        return _settings_file(self.settings(suite).measurement(suite))

    def budget_file(self, suite: str) -> str:
        """Return the path of the settings file for jobs that measure dimension budgets."""
        return _settings_file(self.settings(suite).measurement(suite).for_budget)

    def settings_text(self, fingerprint: str) -> str:
        """Return the contents of a settings file.

        Raises
        ------
        ShapesweepError
            If no job of this plan reads a settings file with this fingerprint.
        """
        for suite in self.suites:
            measurement = self.settings(suite).measurement(suite)
            for text in (as_yaml(measurement), as_yaml(measurement.for_budget)):
                if digest(text) == fingerprint:
                    return text
        raise ShapesweepError(f"settings/{fingerprint}.yaml: belongs to another configuration")

    def record(self, suite: str) -> str:
        """Return the plan of a suite as JSON, for the rules `manifest`, `history` and `join`."""
        definition, settings = self.suites[suite], self.settings(suite)
        listed = [
            (*c.key, c.step, c.flags, fingerprints.weights(definition, c))
            for c in self.listed(suite)
        ]
        record = {
            "suite": suite,
            "definition": definition.model_dump(mode="json", exclude=FOR_PEOPLE),
            **settings.model_dump(mode="json", include={"checkpoints"}),
            "texts": fingerprints.texts(settings.measurement(suite)),
            "batches": [
                {
                    "folder": self.folder(batch),
                    "download": self.download(batch) if suite in self.published else None,
                    "budgets": self.budgets_of(batch),
                    "run": batch.run,
                    "revisions": batch.revisions,
                }
                for batch in self.batches(suite)
            ],
            "budgets": self.budgets([suite]),
            # Digests of all checkpoints of the manifest, and of the logs.
            "listed": digest(listed),
            "logs": digest(logs.VERSION, history.states(suite, definition)),
        }
        return json.dumps(record, indent=1)

    def record_text(self, suite: str, fingerprint: str) -> str:
        """Return the contents of the file of a recorded plan.

        Raises
        ------
        ShapesweepError
            If the plan of the suite does not have this fingerprint.
        """
        text = self.record(suite)
        if digest(text) != fingerprint:
            raise ShapesweepError(f"plans/{suite}/{fingerprint}.json: belongs to another plan")
        return text

    def record_file(self, suite: str) -> str:
        """Return the path of the recorded plan of a suite. Its name is the plan's fingerprint."""
        return f"plans/{suite}/{digest(self.record(suite))}.json"

    def files(self, suites: Iterable[str]) -> list[str]:
        """Return all files of the given suites from which the joined tables are built."""
        names = list(suites)
        return [
            *self.tables(names),
            *self.budgets(names),
            *(self.record_file(name) for name in names),
            *(f"manifests/{name}.parquet" for name in names),
            *(f"history/{name}.parquet" for name in names),
        ]

    def geometry_minutes(self, batch: Batch) -> int:
        """Return the time limit of a job that measures a batch, in minutes."""
        model, settings = self.model(batch.suite, batch.run), self.settings(batch.suite)
        return costs.minutes(len(batch.members) * costs.operations(model, settings))

    def budget_minutes(self, suite: str, run: str) -> int:
        """Return the time limit of a job that measures a dimension budget, in minutes."""
        operations = costs.budget_operations(self.model(suite, run), self.settings(suite))
        return costs.minutes(operations)

    def disk_bytes(self, batch: Batch) -> int:
        """Return the bytes of disk space that a batch from the Hub needs while it is measured.

        Raises
        ------
        ShapesweepError
            If the batch needs more disk space than the configuration allows.
        """
        settings = self.settings(batch.suite)
        needed = sum(costs.footprint(model, settings) for model in batch.models)
        if needed > settings.hub.disk_gb * 1e9:
            raise ShapesweepError(
                f"hub.disk_gb: {batch.suite}/{batch.run}/{batch.name} needs "
                f"{needed / 1e9:.3g} GB, but the limit is {settings.hub.disk_gb:g} GB"
            )
        return max(10**6, needed)

    def claim_seconds(self, batch: Batch) -> float:
        """Return the seconds for which a batch may claim disk space; infinite without `scratch`."""
        if self.config.scratch is None:
            return float("inf")
        return costs.longest(batch.models, self.settings(batch.suite))

    def downloads(self) -> list[str] | None:
        """Return the folders of the downloads that are still needed; None if not known yet."""
        needed = []
        try:
            for batch in (batch for suite in self.published for batch in self.batches(suite)):
                outputs = [*self._tables_of(batch), *self.budgets_of(batch)]
                if not all((self.results / path).is_file() for path in outputs):
                    needed.append(self.download(batch))
        except ShapesweepError:
            return None
        return needed


def _settings_file(settings: Measurement) -> str:
    """Return the path of a settings file, whose name is the digest of its contents."""
    return f"settings/{digest(as_yaml(settings))}.yaml"
