"""If a checkpoint is measured again, only new or changed numbers are computed."""

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest

from helpers.shards import FINGERPRINT, checkpoint_of, extract
from shapesweep.geometry import checkpoint
from shapesweep.geometry.measured import Measured
from shapesweep.metrics import METRICS
from shapesweep.storage import schemas, tables
from shapesweep.storage.selections import SELECTIONS

#: How many numbers a layer has in a selection for which every metric is measured. A metric with
#: several scales has a number for each scale.
N_NUMBERS = sum(len(getattr(metric, "k", [None])) for metric in METRICS.values())
#: How many numbers a corpus has if five layers are measured. In each layer, every metric is
#: measured for three selections, except for three shares, which are only measured for all tokens.
#: In these selections, the first layer has no linearity. For three more selections, only two
#: metrics are measured. One of these three selections truncates documents to 8 tokens. For two more
#: selections, only the anisotropy is measured.
PER_CORPUS = 5 * (3 * N_NUMBERS - 2 * 3 + 2 * 2 + 2 + 2) - 3
ALL_MEASURED = f"{3 * PER_CORPUS} numbers measured, 0 kept"


@pytest.fixture
def extracted(tmp_path, make_checkpoint, settings):
    """A function that extracts a checkpoint, and returns the arguments for `measure`."""
    make_checkpoint(tmp_path / "model")
    described = checkpoint_of(tmp_path / "model")

    def extracted(**more):
        chosen = settings.model_copy(update=more)
        out = tmp_path / "shards"
        known = Measured.read(tmp_path / "geometry", chosen.measurement("s")).complete()
        extract(described, tmp_path / "model", chosen, out, known)
        return out, tmp_path / "geometry", chosen.measurement("s")

    return extracted


def read_all(folder):
    by_name = schemas.OF_CHECKPOINT
    return {name: tables.read(folder / f"{name}.parquet", s) for name, s in by_name.items()}


def assert_same(first, second):
    for name, table in first.items():
        pd.testing.assert_frame_equal(table.reset_index(drop=True), second[name], check_exact=True)


def test_new_corpus_is_measured_and_the_others_are_kept(extracted):
    at_once = extracted()
    assert checkpoint.measure(*at_once) == ALL_MEASURED
    whole = read_all(at_once[1])
    shutil.rmtree(at_once[1])

    line = checkpoint.measure(*extracted(corpora=["text", "shuffled"]))
    assert line == f"{2 * PER_CORPUS} numbers measured, 0 kept"
    line = checkpoint.measure(*extracted())
    assert line == f"{PER_CORPUS} numbers measured, {2 * PER_CORPUS} kept"
    assert_same(read_all(at_once[1]), whole)
    # A corpus that is no longer requested is removed.
    line = checkpoint.measure(*extracted(corpora=["random"]))
    assert line == f"0 numbers measured, {PER_CORPUS} kept"
    assert set(read_all(at_once[1])["losses"].corpus) == {"random"}


def test_new_version_of_a_metric_is_measured_and_the_others_are_kept(extracted, monkeypatch):
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


def test_other_settings_or_other_weights_keep_no_numbers(
    extracted, settings, tmp_path, make_checkpoint
):
    checkpoint.measure(*extracted())
    geometry = settings.geometry.model_copy(update={"n_points": 100})
    fewer = settings.model_copy(update={"geometry": geometry})
    folder, chosen = tmp_path / "geometry", fewer.measurement("s")
    assert Measured.read(folder, settings.measurement("s")).complete()
    assert not Measured.read(folder, chosen).complete()
    assert checkpoint.measure(*extracted(geometry=geometry)) == ALL_MEASURED
    make_checkpoint(tmp_path / "model", seed=1)
    known = Measured.read(folder, chosen).complete()
    assert known
    other = checkpoint_of(tmp_path / "model")
    extract(other, tmp_path / "model", fewer, tmp_path / "other", known)
    assert checkpoint.measure(tmp_path / "other", folder, chosen) == ALL_MEASURED


def test_checkpoint_is_finished_until_it_or_a_metric_changes(extracted, monkeypatch):
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


def test_unmeasured_checkpoint_is_not_finished():
    assert not Measured().is_finished(FINGERPRINT)
    assert not Measured().complete()
    assert not len(Measured().geometry)


def test_measured_numbers_survive_a_round_trip(extracted, tmp_path):
    checkpoint.measure(*extracted())
    _, folder, chosen = extracted()
    written = Measured.read(folder, chosen)
    written.write(tmp_path / "copy", chosen)
    read = Measured.read(tmp_path / "copy", chosen)
    assert (read.origins, read.fingerprint, read.vocabulary) == (written.origins, FINGERPRINT, 300)
    assert_same(read_all(folder), read_all(tmp_path / "copy"))


@pytest.mark.parametrize("name", ["geometry", "replicates", "losses", "samples"])
def test_damaged_table_is_measured_again(extracted, name):
    _, folder, chosen = extracted()
    checkpoint.measure(*extracted())
    path = folder / f"{name}.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    assert not Measured.read(folder, chosen).is_finished(FINGERPRINT)
    assert checkpoint.measure(*extracted()) == ALL_MEASURED


def test_metadata_of_a_table_has_its_settings_and_origins(extracted):
    checkpoint.measure(*extracted())
    metadata = tables.read_metadata(extracted()[1] / "geometry.parquet")
    assert metadata["settings"] == {"n_points": 128, "groups": 4, "selections": list(SELECTIONS)}
    assert metadata["fingerprint"] == FINGERPRINT
    assert set(metadata["origins"]) == {"text", "random", "shuffled"}
    assert len(metadata["origins"]["text"]["from"]["corpus_digest"]) == 64
    assert metadata["origins"]["text"]["by"]["torch"].startswith("2.")
