"""The tables contain all checkpoints of a batch.

An interruption loses the numbers of at most one checkpoint.
"""

import json
import os
import shutil
from unittest.mock import DEFAULT, Mock

import pandas as pd
import pytest

from shapesweep import cli
from shapesweep.activations import extract
from shapesweep.config import files
from shapesweep.config.measurement import as_yaml
from shapesweep.errors import ShapesweepError, UnexpectedError
from shapesweep.geometry import batch, checkpoint, member
from shapesweep.geometry.isolation import Attempt
from shapesweep.geometry.measured import Measured
from shapesweep.manifest import checkpoints
from shapesweep.plan.workflow import BATCH_TABLES
from shapesweep.storage import manifests, schemas, tables

STEPS = (0, 5, 9)
REVISIONS = [f"checkpoint-{step}" for step in STEPS]


class Sweep:
    """A run of three checkpoints, and a batch that contains all three."""

    def __init__(self, folder, settings):
        self.folder, self.settings = folder, settings.measurement("s")
        suite = {"source": "local", "runs": {"r": str(folder / "run")}}
        self.suite = files.validate({"suites": {"s": suite}}).suites["s"]
        self.temporary, self.measured = folder / "temporary", folder / "measured"
        self.manifest = folder / "manifest.parquet"
        self.list_files()

    def list_files(self):
        """Write the manifest again."""
        listed = checkpoints.list_checkpoints("s", self.suite, self.folder)
        manifests.write(checkpoints.describe("s", self.suite, listed, "all"), self.manifest)

    def members(self, revisions=REVISIONS):
        return member.members(self.manifest, "r", revisions, self.settings, measured=self.measured)

    def measure(self, revisions=REVISIONS, out="batch", kept=None):
        """Measure a batch. Return the lines of the log, and the tables."""
        members = self.members(revisions)
        lines = [*batch.measure(members, self.folder / out, self.temporary, self.settings, kept)]
        return lines, self.tables(out)

    def tables(self, out="batch"):
        names = sorted(path.stem for path in (self.folder / out).iterdir())
        assert names == sorted(BATCH_TABLES)
        return {
            name: tables.read(self.folder / out / f"{name}.parquet", getattr(schemas, name.upper()))
            for name in names
        }

    def metadata(self, name, out="batch"):
        return tables.read_metadata(self.folder / out / f"{name}.parquet")

    def assert_failures(self, found, *expected):
        """Check the revision, the reason and the flag `transient` of all failures."""
        failures = found["failures"]
        assert set(failures.suite) <= {"s"} and set(failures.run) <= {"r"}
        columns = failures[["revision", "reason", "transient"]]
        assert [*columns.itertuples(index=False, name=None)] == list(expected)
        assert not failures.measured.any()
        assert self.metadata("failures") == {"transient": int(failures.transient.sum())}

    def command(self, name, **options):
        """Run a command of the package on the batch."""
        path = self.folder / "settings.yaml"
        path.write_text(as_yaml(self.settings), encoding="utf-8")
        options |= {"settings": path, "manifest": self.manifest, "run": "r", "device": "cpu"}
        words = [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]
        assert cli.main([name, *words, "--threads=1", "--revision", *REVISIONS]) == 0

    def kept(self, revision):
        return Measured.read(self.measured / revision, self.settings)


@pytest.fixture
def sweep(tmp_path, make_checkpoint, settings):
    for step in STEPS:
        make_checkpoint(tmp_path / f"run/checkpoint-{step}", seed=step)
    return Sweep(tmp_path, settings.model_copy(update={"corpora": ["text"]}))


def assert_same(first, second):
    for name in BATCH_TABLES:
        pd.testing.assert_frame_equal(first[name], second[name], check_exact=True)


def test_tables_of_a_batch_hold_all_its_checkpoints(sweep):
    lines, found = sweep.measure()
    named = [line.partition(": ")[0] for line in lines]
    assert named == [f"s/r/{name}" for name in REVISIONS for _ in range(2)]
    for name in ("geometry", "replicates", "losses", "samples", "origins"):
        assert list(found[name].revision.unique()) == REVISIONS, name
    sweep.assert_failures(found)
    assert sweep.metadata("samples") == {"vocabularies": dict.fromkeys(REVISIONS, 300)}
    origin = found["origins"].iloc[1]
    assert (origin.corpus, origin.step, origin.device) == ("text", 5, "cpu")
    assert len(origin.corpus_digest) == 64
    for revision in REVISIONS:
        alone = sweep.kept(revision).geometry
        assert len(alone) == (found["geometry"].revision == revision).sum()
    # Shards are removed after they are measured.
    assert not list(sweep.temporary.iterdir())


def test_measured_checkpoints_are_not_measured_again(sweep):
    _, before = sweep.measure()
    folders = [path.stat() for path in sorted(sweep.measured.iterdir())]
    # Modification times of files do not matter.
    for path in (sweep.folder / "run/checkpoint-5").iterdir():
        os.utime(path, ns=(0, 0))
    sweep.list_files()
    lines, after = sweep.measure(out="again")
    assert lines == [f"s/r/{name}: already measured" for name in REVISIONS]
    assert_same(before, after)
    assert [path.stat() for path in sorted(sweep.measured.iterdir())] == folders
    # The numbers of a checkpoint do not depend on the batch to which it belongs.
    lines, _ = sweep.measure(REVISIONS[1:2], out="alone")
    assert lines == ["s/r/checkpoint-5: already measured"]


def test_error_in_the_measurement_of_a_checkpoint_costs_only_this_checkpoint(
    sweep, monkeypatch, capsys
):
    errors = [DEFAULT, KeyError("no such shard"), DEFAULT]
    monkeypatch.setattr(checkpoint, "measure", Mock(wraps=checkpoint.measure, side_effect=errors))
    lines, found = sweep.measure()
    assert lines[3] == "s/r/checkpoint-5: skipped: KeyError: 'no such shard'"
    sweep.assert_failures(found, ("checkpoint-5", "KeyError: 'no such shard'", False))
    assert found["failures"].unexpected.all()
    assert list(found["geometry"].revision.unique()) == ["checkpoint-0", "checkpoint-9"]
    assert "Traceback (most recent call last)" in capsys.readouterr().err


@pytest.mark.parametrize("part", ["extract._extract", "checkpoint.measure"])
def test_job_fails_if_memory_runs_out_and_the_job_will_be_repeated(sweep, monkeypatch, part):
    module, _, name = part.partition(".")
    module = {"extract": extract, "checkpoint": checkpoint}[module]
    errors = Mock(wraps=getattr(module, name), side_effect=[DEFAULT, MemoryError("20 GB")] * 2)
    monkeypatch.setattr(module, name, errors)
    arguments = (sweep.folder / "batch", sweep.temporary, sweep.settings)
    members = sweep.members(["checkpoint-0", "checkpoint-5"])
    with pytest.raises(ShapesweepError, match=r"^out of memory: 20 GB; the job will be repeated"):
        list(batch.measure(members, *arguments, attempt=Attempt(retries=1)))
    members = sweep.members(["checkpoint-5", "checkpoint-9"])
    list(batch.measure(members, *arguments, attempt=Attempt()))
    sweep.assert_failures(sweep.tables(), ("checkpoint-9", "out of memory: 20 GB", True))


def test_crashed_checkpoints_are_failures_and_the_others_are_begun_one_by_one(sweep):
    crashed = {"checkpoint-5": UnexpectedError("the process crashed")}
    begun = []
    attempt = Attempt(crashed, one_by_one=True, begin=begun.append)
    arguments = (sweep.folder / "batch", sweep.temporary, sweep.settings)
    for line in batch.measure(sweep.members(), *arguments, attempt=attempt):
        begun.append(line)
    assert begun[:3] == [
        "s/r/checkpoint-5: skipped: the process crashed",
        "checkpoint-0",
        "s/r/checkpoint-0: extracted text",
    ]
    assert begun[4] == "checkpoint-9"
    found = sweep.tables()
    sweep.assert_failures(found, ("checkpoint-5", "the process crashed", False))
    assert list(found["geometry"].revision.unique()) == ["checkpoint-0", "checkpoint-9"]


def test_changed_checkpoint_is_measured_again(sweep, make_checkpoint):
    sweep.measure()
    make_checkpoint(sweep.folder / "run/checkpoint-5", seed=77)
    sweep.list_files()
    lines, _ = sweep.measure()
    assert lines[:3] == [
        "s/r/checkpoint-0: already measured",
        "s/r/checkpoint-9: already measured",
        "s/r/checkpoint-5: extracted text",
    ]


@pytest.mark.parametrize("module", [extract, checkpoint])
def test_interrupted_job_loses_at_most_one_checkpoint(sweep, monkeypatch, module):
    _, undisturbed = sweep.measure(out="undisturbed")
    shutil.rmtree(sweep.measured)
    real = {extract: extract._extract, checkpoint: checkpoint.measure}[module]
    stopped = Mock(wraps=real, side_effect=[DEFAULT, KeyboardInterrupt])
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, real.__name__, stopped)
        sweep.measure()
    assert not (sweep.folder / "batch").exists()
    assert not list(sweep.temporary.iterdir())
    lines, found = sweep.measure()
    assert lines[0] == "s/r/checkpoint-0: already measured"
    assert len(lines) == 5
    assert_same(found, undisturbed)


def test_failed_checkpoint_does_not_affect_the_others(sweep):
    path = sweep.folder / "run/checkpoint-5/model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    sweep.list_files()
    lines, found = sweep.measure()
    assert "s/r/checkpoint-5: skipped: damaged:model.safetensors" in lines
    sweep.assert_failures(found, (REVISIONS[1], "damaged:model.safetensors", False))
    assert found["failures"].step.tolist() == [5]
    for name in ("geometry", "replicates", "losses", "samples", "origins"):
        assert list(found[name].revision.unique()) == [REVISIONS[0], REVISIONS[2]]
    assert not (sweep.measured / "checkpoint-5").exists()


def test_transient_failures_are_counted(sweep):
    # The files have changed since the manifest was written.
    for step in (0, 9):
        os.utime(sweep.folder / f"run/checkpoint-{step}/config.json", ns=(0, 0))
    _, found = sweep.measure()
    reason = "config.json differs from the manifest: the file has changed"
    sweep.assert_failures(found, (REVISIONS[0], reason, True), (REVISIONS[2], reason, True))
    sweep.list_files()
    _, found = sweep.measure()
    sweep.assert_failures(found)


def test_checkpoint_that_loses_its_weights_or_is_removed_loses_its_numbers(sweep):
    sweep.measure()
    (sweep.folder / "run/checkpoint-5/model.safetensors").unlink()
    shutil.rmtree(sweep.folder / "run/checkpoint-9")
    sweep.list_files()
    _, found = sweep.measure()
    first, second = (REVISIONS[1], "missing_weights"), (REVISIONS[2], "no longer exists")
    sweep.assert_failures(found, (*first, False), (*second, False))
    assert list(found["geometry"].revision.unique()) == REVISIONS[:1]


def test_requested_shards_are_kept_even_if_they_were_measured_before(sweep):
    kept = sweep.folder / "kept"
    for _ in range(2):
        lines, _ = sweep.measure(REVISIONS[:1], kept=kept)
        assert lines[0] == "s/r/checkpoint-0: extracted text"
        assert (kept / "text/layer-0.parquet").is_file()
        shutil.rmtree(kept)
    assert lines[1].startswith("s/r/checkpoint-0: 0 numbers measured")


def test_geometry_command_measures_a_batch(sweep, capsys):
    _, expected = sweep.measure(out="expected")
    empty = dict.fromkeys(("checkpoints", "tokenizer", "keep"), "")
    more = {"temporary": sweep.temporary, "measured": sweep.folder / "own"}
    sweep.command("geometry", batch_tokens=96, out=sweep.folder / "batch", **empty, **more)
    assert capsys.readouterr().out.splitlines()[0] == "s/r/checkpoint-0: extracted text"
    assert_same(sweep.tables(), expected)
    assert not list((sweep.temporary / "activations").iterdir())


def test_activations_command_extracts_a_batch(sweep):
    sweep.command("activations", out=sweep.folder / "shards")
    for item in sweep.members():
        folder = sweep.folder / "shards" / item.checkpoint.revision
        origins = json.loads((folder / "origins.json").read_bytes())
        assert origins["fingerprint"] == item.fingerprint
        assert (folder / "text/layer-0.parquet").is_file()


def test_numbers_replaced_by_another_job_are_not_used(sweep, monkeypatch):
    real = checkpoint.measure

    def measure(*arguments):
        line = real(*arguments)
        # Imitate a job of an earlier sweep that still runs with other settings, and removes the
        # folder.
        shutil.rmtree(sweep.measured / REVISIONS[0], ignore_errors=True)
        return line

    monkeypatch.setattr(checkpoint, "measure", measure)
    with pytest.raises(ShapesweepError, match="checkpoint-0: another job changed this folder"):
        sweep.measure()
    assert not (sweep.folder / "batch").exists()
