"""The geometry of a checkpoint: what is measured anew, and what is kept from the last time."""

import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from helpers.shards import extract, row_of
from shapesweep import contracts, failures, geometry, tables
from shapesweep.errors import CheckpointError, ShapesweepError
from shapesweep.metrics import METRICS
from shapesweep.shards import ORIGINS, SELECTIONS

#: Numbers of a selection with every metric, one for each of its scales.
N_NUMBERS = sum(len(getattr(metric, "k", [None])) for metric in METRICS.values())
#: Numbers of a corpus: five shards, three selections with every metric (but that the first has no
#: layer before it), two with those of both microscopes, and one of documents cut to 8 tokens.
PER_CORPUS = 5 * (3 * N_NUMBERS + 2 * 2 + 3) - 3


@pytest.fixture
def extracted(tmp_path, make_checkpoint, settings):
    """Shards of a checkpoint, and where their geometry goes."""
    make_checkpoint(tmp_path / "model")
    row = row_of(tmp_path / "model")

    def made(**more):
        chosen = settings.model_copy(update=more)
        out = tmp_path / "shards"
        known = geometry.Measured.read(tmp_path / "geometry", chosen.geometry).complete()
        extract(row, tmp_path / "model", chosen, out, known)
        return out, tmp_path / "geometry", chosen.geometry

    return made


def read_all(folder):
    schemas = {"geometry": contracts.GEOMETRY, "replicates": contracts.REPLICATES}
    schemas |= {"losses": contracts.LOSSES}
    return {name: tables.read(folder / f"{name}.parquet", s) for name, s in schemas.items()}


def assert_same(one, two):
    for name, table in one.items():
        pd.testing.assert_frame_equal(table.reset_index(drop=True), two[name], check_exact=True)


def test_another_corpus_is_measured_and_the_others_kept(extracted):
    at_once = extracted()
    assert geometry.measure(*at_once) == f"{3 * PER_CORPUS} numbers measured, 0 kept"
    whole = read_all(at_once[1])
    shutil.rmtree(at_once[1])

    assert geometry.measure(*extracted(corpora=["text", "shuffled"])).startswith(
        f"{2 * PER_CORPUS} numbers"
    )
    assert geometry.measure(*extracted()) == f"{PER_CORPUS} numbers measured, {2 * PER_CORPUS} kept"
    assert_same(read_all(at_once[1]), whole)
    # A corpus that is wanted no more is gone.
    assert (
        geometry.measure(*extracted(corpora=["random"])) == f"0 numbers measured, {PER_CORPUS} kept"
    )
    assert set(read_all(at_once[1])["losses"].corpus) == {"random"}


def test_a_metrics_new_version_is_measured_and_the_others_kept(extracted, monkeypatch):
    geometry.measure(*extracted())
    old = METRICS["mean_cosine"]
    changed = dataclasses.replace(old, version=2, compute=lambda cloud: 2 * old.compute(cloud))
    monkeypatch.setitem(METRICS, "mean_cosine", changed)
    before = read_all(extracted()[1])["geometry"]
    assert geometry.measure(*extracted()) == f"45 numbers measured, {3 * PER_CORPUS - 45} kept"
    after = read_all(extracted()[1])["geometry"]
    is_new = after.metric == "mean_cosine"
    assert set(after.metric_version[is_new]) == {2}
    np.testing.assert_allclose(after.value[is_new], 2 * before.value[is_new])
    assert after[~is_new].equals(before[~is_new])


def test_other_settings_or_other_weights_keep_nothing(
    extracted, settings, tmp_path, make_checkpoint
):
    geometry.measure(*extracted())
    fewer = settings.geometry.model_copy(update={"n_points": 100})
    assert geometry.Measured.read(tmp_path / "geometry", settings.geometry).complete()
    assert not geometry.Measured.read(tmp_path / "geometry", fewer).complete()
    assert (
        geometry.measure(*extracted(geometry=fewer)) == f"{3 * PER_CORPUS} numbers measured, 0 kept"
    )


def test_what_is_measured_from_these_shards_is_left_alone(extracted):
    # A sweep that was stopped between two checkpoints of a batch goes through both again.
    shards, folder, chosen = extracted()
    origins = shards / ORIGINS
    told = json.loads(origins.read_text(encoding="utf-8"))
    origins.write_text(json.dumps({**told, "state": "as it is"}), encoding="utf-8")
    geometry.measure(shards, folder, chosen)
    before = (folder / "geometry.parquet").stat()
    assert geometry.measure(shards, folder, chosen) == f"0 numbers measured, {3 * PER_CORPUS} kept"
    after = (folder / "geometry.parquet").stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_shards_that_were_kept_from_another_state_are_refused(extracted):
    shards, folder, chosen = extracted()
    with pytest.raises(ShapesweepError, match="kept from other files, text or settings"):
        geometry.measure(shards, folder, chosen, expected="another")
    assert not folder.exists()


def test_a_damaged_table_is_measured_anew(extracted):
    _, folder, _ = extracted()
    geometry.measure(*extracted())
    path = folder / "replicates.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    assert geometry.measure(*extracted()) == f"{3 * PER_CORPUS} numbers measured, 0 kept"


def test_a_checkpoint_that_breaks_has_no_numbers_any_more(extracted):
    shards, folder, chosen = extracted()
    geometry.measure(shards, folder, chosen)
    shutil.rmtree(shards)
    shards.mkdir()
    row = {"suite": "s", "run": "run", "revision": "main", "step": None}
    failures.record(shards, row, CheckpointError("gone"))
    assert geometry.measure(shards, folder, chosen) == "not measured: gone"
    assert not len(read_all(folder)["geometry"])


def test_a_tables_metadata_says_what_it_is_made_from(extracted):
    geometry.measure(*extracted())
    made = tables.read_metadata(extracted()[1] / "geometry.parquet")
    assert made["settings"] == {"n_points": 128, "groups": 4, "selections": list(SELECTIONS)}
    assert set(made["origins"]) == {"text", "random", "shuffled"}
    assert len(made["origins"]["text"]["from"]["corpus_digest"]) == 64
    assert made["origins"]["text"]["by"]["torch"].startswith("2.")
