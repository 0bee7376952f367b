"""Each number of a shard has a count of points, a standard error and replicates."""

import numpy as np
import pytest
import torch

from helpers.shards import checkpoint_of, extract
from shapesweep import neighbors
from shapesweep.errors import ShapesweepError
from shapesweep.estimators import dimension, jackknife, spectrum
from shapesweep.geometry import checkpoint
from shapesweep.geometry.checkpoint import PARTIAL
from shapesweep.geometry.measure import measure_layer
from shapesweep.metrics import METRICS, NeighborMetric
from shapesweep.metrics.leading_share import GROUPS
from shapesweep.storage import schemas
from shapesweep.storage.selections import SENSITIVITY, WITHOUT
from shapesweep.storage.shards import Shard, number_contexts

#: Suffixes for the names of metrics with several scales.
SCALE = {
    name: " {}" for name, m in METRICS.items() if isinstance(m, NeighborMetric) and len(m.k) > 1
}
NAMES = [
    name + SCALE.get(name, "").format(k)
    for name, m in METRICS.items()
    for k in getattr(m, "k", [None])
]

#: Metrics that are only measured for all tokens.
OF_ALL = [name for name, metric in METRICS.items() if metric.of_all]
DECIMATED = ["id_twonn_half", "id_twonn_quarter"]

METADATA = {
    "suite": "s", "run": "r", "seed": 0, "revision": "main", "step": 0, "tokens": 0,
    "architecture": "LlamaForCausalLM", "n_layers": 2, "corpus": "text", "pooling": "tokens",
    "layer": 1, "layer_kind": "block", "document_length": 20, "n_documents": 32,
    "n_prefix": 1, "n_suffix": 0, "causal": True,
}  # fmt: skip


def make_shard(n_documents=32, length=20, n_features=6, seed=0, first=50, **metadata):
    """Return a shard of random walks. As in untrained models, most neighbours share a document."""
    rng = np.random.default_rng(seed)
    walk = rng.standard_normal((n_documents, length, n_features)).cumsum(axis=1) * 0.2
    states = walk + rng.standard_normal((n_documents, 1, n_features)) * 2
    states[:, 0] = first
    # The documents share only their first token.
    tokens = 1 + np.arange(n_documents * length).reshape(n_documents, length)
    tokens[:, 0] = 0
    return Shard(
        {**METADATA, "n_documents": n_documents, "document_length": length, **metadata},
        **columns(tokens),
        activation=states.reshape(-1, n_features).astype(np.float32),
    )


def columns(tokens):
    """Return all columns of a shard except the activations.

    `tokens` contains the tokens by document and position.
    """
    document, position = np.indices(tokens.shape, dtype=np.int32)
    numbers = {"document": document, "position": position, "token": tokens.astype(np.int32)}
    numbers["context"] = np.stack(number_contexts(list(tokens), causal=True)).astype(np.int32)
    return {name: values.ravel() for name, values in numbers.items()}


def rows_kept(shard, rows):
    """Return a shard with only the given rows, in the given order."""
    parts = (shard.document, shard.position, shard.token, shard.context, shard.activation)
    return Shard(shard.metadata, *(part[rows] for part in parts))


def rows_of(shard, n_points=400, n_groups=8, before=None):
    """Return rows by selection and metric. Metric names end with the scale if there are several."""
    layer = checkpoint.layer_of(shard, n_groups)
    before = before and checkpoint.layer_of(before, n_groups)
    numbers = measure_layer(layer, n_points, before=before, partial=PARTIAL)
    found = {}
    for row, replicates in checkpoint.rows_of(shard, layer, numbers):
        name = row["metric"] + SCALE.get(row["metric"], "").format(row["k"])
        found[row["selection"], name] = row, replicates
    return found


def test_every_selection_and_metric_has_a_row_that_fits_the_schema():
    found = rows_of(make_shard(), before=make_shard())
    whole = {(s, m) for s in ("all", "no_first", "no_massive") for m in NAMES}
    whole -= {(s, m) for s in ("no_first", "no_massive") for m in OF_ALL}
    whole |= {(s, "anisotropy") for s in WITHOUT}
    # Documents of 20 tokens are truncated to 8 tokens, and to no other length.
    cut = {("length_8", m) for m in ("anisotropy", "massive_share")}
    assert set(found) == whole | cut | {
        (s, m) for s in SENSITIVITY for m in ("anisotropy", "id_twonn")
    }
    for row, replicates in found.values():
        assert set(row) == set(schemas.OF_CHECKPOINT["geometry"].names)
        assert len(replicates) == 8
        assert all(
            set(replicate) == set(schemas.OF_CHECKPOINT["replicates"].names)
            for replicate in replicates
        )
        values = [replicate["value"] for replicate in replicates]
        np.testing.assert_allclose(row["stderr"], jackknife.stderr(values))
        assert (row["model_stderr"] is None) == (not row["metric"].startswith("id_gride"))


def test_values_match_the_estimators():
    shard = make_shard()
    found = rows_of(shard, n_points=10_000)
    kept = shard.position > 0
    cloud = shard.activation[kept].astype(float)
    # `measure_layer` computes all eigenvalues. `spectrum.anisotropy` computes only the leading
    # eigenvalue.
    assert found["no_first", "anisotropy"][0]["value"] == pytest.approx(
        spectrum.anisotropy(cloud), rel=1e-12
    )
    lengths, indices = neighbors.nearest_neighbors(cloud, 2)
    row = found["no_first", "id_twonn"][0]
    assert row["value"] == pytest.approx(dimension.id_twonn(lengths), rel=1e-12)
    assert row["radius"] == pytest.approx(lengths[:, 1].mean(), rel=1e-12)
    same = shard.document[kept][indices[:, 0]] == shard.document[kept]
    assert found["no_first", "same_document_nn"][0]["value"] == same.mean()
    assert same.mean() > 0.5


def test_shares_of_neighbours_with_the_same_document_token_or_position():
    shard = make_shard()
    shard.token[:] = shard.position // 4
    shard = rows_kept(shard, slice(None))
    kept = shard.position > 0
    _, indices = neighbors.nearest_neighbors(shard.activation[kept], 1)
    found = rows_of(shard, n_points=10_000)
    for label in ("document", "token", "position"):
        values = getattr(shard, label)[kept]
        expected = (values[indices[:, 0]] == values).mean()
        assert found["no_first", f"same_{label}_nn"][0]["value"] == expected


# test_sample.py checks the replicates of decimated samples against a direct computation.
@pytest.mark.parametrize("metric", [n for n in NAMES if n not in DECIMATED])
def test_replicates_are_the_numbers_without_a_group(metric):
    # No token is massive, so leaving out a group does not change the set of massive tokens.
    shard, before = make_shard(first=1), make_shard(seed=1, first=1)
    selection = "all" if metric in OF_ALL else "no_first"
    _, replicates = rows_of(shard, n_points=10_000, before=before)[selection, metric]
    keep = jackknife.assign_groups(shard.document, 8) != 3
    fewer, before = (rows_kept(whole, keep) for whole in (shard, before))
    expected = rows_of(fewer, n_points=10_000, before=before)[selection, metric][0]["value"]
    # Replicates of spectra use the leading axes of the full sample. In this test, the leading axes
    # are all six axes, so only the last digits differ. Apart from spectra and `id_corrint`, all
    # replicates are exact. Replicates of `id_corrint` count pairs within the radii of the full
    # sample, which changes the values by at most 2 %.
    tolerance = 0.02 if metric.startswith("id_corrint") else 1e-9
    assert replicates[3]["value"] == pytest.approx(expected, rel=tolerance, nan_ok=True)
    assert replicates[3]["group"] == 3


def test_truncated_documents_match_a_causal_model_on_shorter_documents(
    tmp_path, make_checkpoint, build_corpora, tokenizers
):
    model = make_checkpoint(tmp_path / "model")
    (text, *_) = build_corpora(tokenizers["decoder"])
    whole = np.stack(text.documents)
    with torch.inference_mode():
        states, beginnings = (
            model(torch.from_numpy(ids), output_hidden_states=True).hidden_states[2].numpy()
            for ids in (whole, whole[:, :8])
        )
    n_documents, length = whole.shape
    metadata = METADATA | {"n_documents": n_documents, "document_length": length}
    numbers = columns(whole) | {"activation": states.reshape(-1, states.shape[-1])}
    shard = Shard(metadata, **numbers)
    row = rows_of(shard, n_points=100, n_groups=4)["length_8", "anisotropy"][0]
    expected = spectrum.anisotropy(beginnings.reshape(-1, beginnings.shape[-1]))
    # In float32, forward passes on inputs of different lengths give slightly different results.
    assert row["value"] == pytest.approx(expected, rel=1e-5)
    assert row["document_length"] == 8
    encoder = Shard({**metadata, "causal": False}, **numbers)
    assert not any(name.startswith("length") for name in encoder.selections)


def test_selections_without_massive_tokens():
    shard = make_shard(first=1)
    for row, norm in ((5, 4), (27, 400)):
        shard.activation[row] *= norm / shard.norms[row] * np.median(shard.norms)
    # A shard computes its norms only once, so the changed activations need a new shard.
    shard = rows_kept(shard, slice(None))
    found = rows_of(shard)
    dropped = {s: row["n_dropped"] for (s, m), (row, _) in found.items()}
    assert dropped == {
        "all": 0, "no_first": 32, "no_massive": 33, "no_massive_3": 34, "no_massive_10": 33,
        "no_other_massive": 1, "no_bulk": 607, "length_8": 32 * 12,
    }  # fmt: skip
    measured, predicted = (found["all", m][0]["value"] for m in ("anisotropy", "massive_share"))
    # One token has 400 times the median norm. This token causes nearly all of the variance.
    assert measured > 0.99
    assert predicted == pytest.approx(measured, abs=0.01)
    assert found["no_massive", "massive_share"][0]["value"] == 0
    assert found["no_massive", "anisotropy"][0]["value"] < 0.4


def test_massive_share_is_the_variance_between_the_two_means():
    shard = make_shard()
    found = rows_of(shard)
    x, massive = shard.activation.astype(float), shard.massive()
    assert massive.sum() == 32
    means = np.where(massive[:, None], x[massive].mean(0), x[~massive].mean(0)) - x.mean(0)
    expected = (means**2).sum() / ((x - x.mean(0)) ** 2).sum()
    assert found["all", "massive_share"][0]["value"] == pytest.approx(expected, rel=1e-12)


def test_leading_shares_are_the_shares_of_the_variance_along_the_first_axis():
    shard = make_shard()
    shard.activation[27] *= 100
    shard.activation[45] *= 100
    shard = rows_kept(shard, slice(None))
    row, replicates = rows_of(shard)["all", "leading_share_massive"]
    x, first = shard.activation.astype(float), shard.position == 0
    other = shard.massive() & ~first
    assert other.sum() == 2

    def shares(keep):
        centred = x[keep] - x[keep].mean(axis=0)
        along = centred @ np.linalg.svd(centred)[2][0]
        return [(along[mask[keep]] ** 2).sum() / (along @ along) for mask in (first, other)]

    everything = np.ones(len(x), dtype=bool)
    assert row["value"] == pytest.approx(shares(everything)[1], rel=1e-9)
    found = {group: rows_of(shard)["all", f"leading_share_{group}"][0]["value"] for group in GROUPS}
    assert found["first"] == pytest.approx(shares(everything)[0], rel=1e-9)
    assert sum(found.values()) == pytest.approx(1)
    groups = jackknife.assign_groups(shard.document, 8)
    expected = [shares(groups != group)[1] for group in range(8)]
    np.testing.assert_allclose([r["value"] for r in replicates], expected, rtol=1e-6)


def test_number_that_rests_on_one_document_is_flagged():
    shard = make_shard(first=1)
    shard.activation[27] *= 1000
    row, replicates = rows_of(rows_kept(shard, slice(None)), n_groups=8)["all", "anisotropy"]
    assert row["flag"] == "one_group"
    # The massive token is in document 1.
    assert row["without_group"] == replicates[1]["value"] < 0.5 < row["value"]


def test_equal_first_tokens_count_as_a_single_point():
    found = rows_of(make_shard(), n_points=10_000)
    for selection, metric, *expected in (
        ("all", "id_twonn", 32 * 19 + 1, 31, 0),
        ("no_first", "id_twonn", 32 * 19, 0, 32),
        ("all", "anisotropy", 32 * 20, 0, 0),
    ):
        row = found[selection, metric][0]
        assert [row["n_points"], row["n_duplicates"], row["n_dropped"]] == expected


@pytest.mark.parametrize(("causal", "n_contexts"), [(True, 32 * 19 + 1 - 9), (False, 32 * 20)])
def test_equal_prefixes_are_duplicates_only_in_a_causal_model(causal, n_contexts):
    tokens = make_shard().token.reshape(32, 20).astype(np.int64)
    tokens[1, :10] = tokens[0, :10]
    contexts = np.concatenate(number_contexts(list(tokens), causal))
    assert len(np.unique(contexts)) == n_contexts


def test_n_is_the_same_for_every_selection_and_a_shortfall_is_flagged():
    found = rows_of(make_shard(), n_points=300)
    points = {row["n_points"] for (_, metric), (row, _) in found.items() if row["k"]}
    assert points == {300, 150, 75}
    assert not any("shortfall" in row["flag"] for row, _ in found.values())
    found = rows_of(make_shard(), n_points=5000)
    assert "shortfall" in found["all", "id_twonn"][0]["flag"]
    assert found["all", "anisotropy"][0]["flag"] == ""


def test_neighbours_at_the_resolution_of_float32_are_flagged():
    shard = make_shard()
    assert "rounding" not in rows_of(shard)["no_first", "id_twonn"][0]["flag"]
    # Every second token equals its predecessor, except in the last digits.
    shard.activation[3::2] = shard.activation[2:-1:2] * np.float32(1 + 3e-7)
    found = rows_of(shard)
    assert "rounding" in found["no_first", "id_twonn"][0]["flag"]
    assert found["no_first", "anisotropy"][0]["flag"] == ""


def test_states_of_bfloat16_are_flagged_in_a_shard_of_float32():
    shard = make_shard()
    shard.activation[:] += 20
    assert "rounding" not in rows_of(shard)["no_first", "id_twonn"][0]["flag"]
    shard.activation[:] = torch.from_numpy(shard.activation).bfloat16().float().numpy()
    assert "rounding" in rows_of(shard)["no_first", "id_twonn"][0]["flag"]


def test_id_that_is_too_high_for_the_number_of_points_is_flagged():
    # By Eckmann and Ruelle (1992), N points can show an ID of at most 2 log10 N, which is 5.2 for
    # 400 points.
    shard = make_shard(n_features=30, first=1)
    shard.activation[:] = np.random.default_rng(0).standard_normal(shard.activation.shape)
    found = rows_of(rows_kept(shard, slice(None)))
    for metric in ("id_mle", "id_twonn"):
        row = found["no_first", metric][0]
        assert row["value"] > 5.2
        assert "undersampled" in row["flag"].split(",")


def test_spectrum_of_fewer_points_than_features_is_flagged():
    shard = make_shard(n_documents=4, length=5, n_features=40)
    found = rows_of(shard, n_groups=4)
    assert found["all", "participation_ratio"][0]["flag"] == "undersampled"
    assert found["all", "anisotropy"][0]["flag"] == ""


def test_special_tokens_on_both_sides_are_dropped():
    row = rows_of(make_shard(n_suffix=1))["no_first", "anisotropy"][0]
    assert row["n_dropped"] == 64


def test_numbers_of_a_collapsed_cloud_are_undefined():
    shard = make_shard()
    shard.activation[:] = 1
    found = rows_of(shard)
    assert np.isnan(found["all", "anisotropy"][0]["value"])
    assert found["all", "id_twonn"][0]["flag"] == "shortfall,undefined"
    # If a cloud has no variance, only the metrics in the following set are defined.
    finite = {m for (s, m), (row, _) in found.items() if s == "all" and np.isfinite(row["value"])}
    assert finite == {
        "activation_top1", "activation_top2", "activation_top3", "anisotropy_uncentred",
        "matrix_entropy", "max_norm", "mean_cosine", "median_norm",
    }  # fmt: skip


def test_order_of_rows_does_not_change_spectra():
    shard = make_shard()
    order = np.random.default_rng(1).permutation(len(shard.token))
    mixed = rows_kept(shard, order)
    first, second = (rows_of(s)["all", "anisotropy"][0]["value"] for s in (shard, mixed))
    assert first == pytest.approx(second, rel=1e-12)


def test_damaged_shard_is_never_measured(tmp_path, make_checkpoint, settings):
    make_checkpoint(tmp_path / "model")
    extract(checkpoint_of(tmp_path / "model"), tmp_path / "model", settings, tmp_path / "out")
    path = tmp_path / "out/text/layer-1.parquet"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ShapesweepError, match=r"layer-1\.parquet: not a complete shard"):
        checkpoint.measure(tmp_path / "out", tmp_path / "geometry", settings.measurement("s"))
    assert not (tmp_path / "geometry").exists()
