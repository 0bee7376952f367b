"""The geometry of a checkpoint: what is measured anew, and what is kept from the last time."""

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest

from helpers.shards import FINGERPRINT, checkpoint_of, extract
from shapesweep.geometry import checkpoint
from shapesweep.geometry.kept import Measured
from shapesweep.metrics import METRICS
from shapesweep.storage import schemas as contracts
from shapesweep.storage import tables
from shapesweep.storage.selections import SELECTIONS

#: Numbers of a selection with every metric, one for each of its scales.
N_NUMBERS = sum(len(getattr(metric, "k", [None])) for metric in METRICS.values())
#: Numbers of a corpus: five shards, three selections with every metric (but that the first has no
#: layer before it), two selections with two metrics each, and documents cut to 8 tokens with two.
PER_CORPUS = 5 * (3 * N_NUMBERS + 2 * 2 + 2) - 3


@pytest.fixture
def extracted(tmp_path, make_checkpoint, settings):
    """A function that extracts a checkpoint; the arguments of `geometry.measure`."""
    make_checkpoint(tmp_path / "model")
    one = checkpoint_of(tmp_path / "model")

    def extracted(**more):
        chosen = settings.model_copy(update=more)
        out = tmp_path / "shards"
        known = Measured.read(tmp_path / "geometry", chosen.measurement("s")).complete()
        extract(one, tmp_path / "model", chosen, out, known)
        return out, tmp_path / "geometry", chosen.measurement("s")

    return extracted


def read_all(folder):
    schemas = {"geometry": contracts.GEOMETRY, "replicates": contracts.REPLICATES}
    schemas |= {"losses": contracts.LOSSES, "samples": contracts.SAMPLES}
    return {name: tables.read(folder / f"{name}.parquet", s) for name, s in schemas.items()}


def assert_same(one, two):
    for name, table in one.items():
        pd.testing.assert_frame_equal(table.reset_index(drop=True), two[name], check_exact=True)


def test_another_corpus_is_measured_and_the_others_kept(extracted):
    at_once = extracted()
    assert checkpoint.measure(*at_once) == f"{3 * PER_CORPUS} numbers measured, 0 kept"
    whole = read_all(at_once[1])
    shutil.rmtree(at_once[1])

    assert checkpoint.measure(*extracted(corpora=["text", "shuffled"])).startswith(
        f"{2 * PER_CORPUS} numbers"
    )
    assert (
        checkpoint.measure(*extracted()) == f"{PER_CORPUS} numbers measured, {2 * PER_CORPUS} kept"
    )
    assert_same(read_all(at_once[1]), whole)
    # A corpus that is wanted no more is gone.
    assert (
        checkpoint.measure(*extracted(corpora=["random"]))
        == f"0 numbers measured, {PER_CORPUS} kept"
    )
    assert set(read_all(at_once[1])["losses"].corpus) == {"random"}


def test_a_metrics_new_version_is_measured_and_the_others_kept(extracted, monkeypatch):
    checkpoint.measure(*extracted())
    old = METRICS["mean_cosine"]
    changed = dataclasses.replace(old, version=2, compute=lambda cloud: 2 * old.compute(cloud))
    monkeypatch.setitem(METRICS, "mean_cosine", changed)
    before = read_all(extracted()[1])["geometry"]
    assert checkpoint.measure(*extracted()) == f"45 numbers measured, {3 * PER_CORPUS - 45} kept"
    after = read_all(extracted()[1])["geometry"]
    is_new = after.metric == "mean_cosine"
    assert set(after.metric_version[is_new]) == {2}
    np.testing.assert_allclose(after.value[is_new], 2 * before.value[is_new])
    assert after[~is_new].equals(before[~is_new])


def test_other_settings_or_other_weights_keep_nothing(
    extracted, settings, tmp_path, make_checkpoint
):
    checkpoint.measure(*extracted())
    fewer = settings.model_copy(
        update={"geometry": settings.geometry.model_copy(update={"n_points": 100})}
    )
    assert Measured.read(tmp_path / "geometry", settings.measurement("s")).complete()
    assert not Measured.read(tmp_path / "geometry", fewer.measurement("s")).complete()
    assert (
        checkpoint.measure(*extracted(geometry=fewer.geometry))
        == f"{3 * PER_CORPUS} numbers measured, 0 kept"
    )
    make_checkpoint(tmp_path / "model", seed=1)
    other = checkpoint_of(tmp_path / "model")
    shards, folder, chosen = tmp_path / "other", tmp_path / "geometry", fewer.measurement("s")
    known = Measured.read(folder, chosen).complete()
    assert known
    extract(other, tmp_path / "model", fewer, shards, known)
    assert (
        checkpoint.measure(shards, folder, chosen) == f"{3 * PER_CORPUS} numbers measured, 0 kept"
    )


def test_a_checkpoint_is_finished_until_it_or_a_metric_changes(extracted, monkeypatch):
    _, folder, chosen = extracted()
    assert not Measured.read(folder, chosen).is_finished(FINGERPRINT)
    checkpoint.measure(*extracted())
    assert Measured.read(folder, chosen).is_finished(FINGERPRINT)
    assert not Measured.read(folder, chosen).is_finished("of other contents")
    old = METRICS["mean_cosine"]
    monkeypatch.setitem(METRICS, "mean_cosine", dataclasses.replace(old, version=2))
    assert not Measured.read(folder, chosen).is_finished(FINGERPRINT)
    checkpoint.measure(*extracted())
    assert Measured.read(folder, chosen).is_finished(FINGERPRINT)


def test_nothing_is_finished_of_what_is_not_known():
    assert not Measured().is_finished(FINGERPRINT)
    assert not Measured().complete()
    assert not len(Measured().geometry)


def test_what_is_written_is_read_back(extracted, tmp_path):
    checkpoint.measure(*extracted())
    _, folder, chosen = extracted()
    one = Measured.read(folder, chosen)
    one.write(tmp_path / "copy", chosen)
    two = Measured.read(tmp_path / "copy", chosen)
    assert (two.origins, two.fingerprint, two.vocabulary) == (one.origins, FINGERPRINT, 300)
    assert_same(read_all(folder), read_all(tmp_path / "copy"))


@pytest.mark.parametrize("name", ["geometry", "replicates", "losses", "samples"])
def test_a_damaged_table_is_measured_anew(extracted, name):
    _, folder, chosen = extracted()
    checkpoint.measure(*extracted())
    path = folder / f"{name}.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    assert not Measured.read(folder, chosen).is_finished(FINGERPRINT)
    assert checkpoint.measure(*extracted()) == f"{3 * PER_CORPUS} numbers measured, 0 kept"


def test_a_tables_metadata_says_what_it_is_made_from(extracted):
    checkpoint.measure(*extracted())
    metadata = tables.read_metadata(extracted()[1] / "geometry.parquet")
    assert metadata["settings"] == {"n_points": 128, "groups": 4, "selections": list(SELECTIONS)}
    assert metadata["fingerprint"] == FINGERPRINT
    assert set(metadata["origins"]) == {"text", "random", "shuffled"}
    assert len(metadata["origins"]["text"]["from"]["corpus_digest"]) == 64
    assert metadata["origins"]["text"]["by"]["torch"].startswith("2.")
