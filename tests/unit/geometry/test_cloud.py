"""`shapesweep measure` reads a point cloud from a file, and prints metrics or an error."""

import json
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
import safetensors.torch

import shapesweep
from helpers.measuring import measure
from shapesweep import cli
from shapesweep.geometry import cloud_file
from shapesweep.metrics import ALL_METRICS


@pytest.fixture
def points():
    rng = np.random.default_rng(0)
    return (rng.standard_normal((600, 3)) @ rng.standard_normal((3, 12))).astype(np.float32)


def error_of(capsys, *arguments):
    """Return the error message, which must be a single line, and the standard output."""
    assert cli.main(["measure", *map(str, arguments)]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    return captured.err, captured.out


def test_json_has_every_number_with_its_error_and_scale(points, tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.concatenate([points, points[:50]]))
    (found,) = measure(capsys, tmp_path / "a.npy")
    head = {"file": str(tmp_path / "a.npy"), "n_points": 650, "n_features": 12}
    assert found.items() >= (head | {"n_duplicates": 50}).items()
    about_more = {"linearity", "same_document_nn", "same_token_nn", "same_position_nn"}
    assert set(found["metrics"]) == set(ALL_METRICS) - about_more
    distances, _ = shapesweep.nearest_neighbors(points, 64)
    twonn = found["metrics"]["id_twonn"]
    assert twonn["value"] == pytest.approx(shapesweep.id_twonn(distances), rel=1e-9)
    assert twonn["scale"] == pytest.approx(distances[:, 1].mean(), rel=1e-9)
    assert 0 < twonn["stderr"] < 0.5
    gride = found["metrics"]["id_gride"]
    expected = [shapesweep.id_gride(distances, n) for n in (1, 2, 4, 8, 16, 32)]
    np.testing.assert_allclose([g["value"] for g in gride], [v for v, _ in expected], rtol=1e-9)
    np.testing.assert_allclose([g["model_stderr"] for g in gride], [e for _, e in expected])
    # The metric `alpha_req` needs a hundred eigenvalues. This cloud has only 12 features, so the
    # value of `alpha_req` is null and has a flag.
    assert found["metrics"]["alpha_req"]["value"] is None
    assert found["metrics"]["alpha_req"]["flags"] == ["undefined"]


def test_every_format_gives_the_same_numbers(points, tmp_path, capsys):
    np.save(tmp_path / "a.npy", points)
    np.save(tmp_path / "b.npy", points.astype(np.float64))
    safetensors.numpy.save_file({"x": points, "bias": points[0]}, tmp_path / "a.safetensors")
    pd.DataFrame(points).rename(columns=str).to_parquet(tmp_path / "a.parquet")
    lists = pa.FixedSizeListArray.from_arrays(pa.array(points.ravel()), 12)
    pq.write_table(pa.table({"v": lists}), tmp_path / "b.parquet")
    found = measure(capsys, *sorted(tmp_path.iterdir()), "--metrics", "id_mle,anisotropy")
    assert len(found) == 5
    for cloud in found:
        assert list(cloud["metrics"]) == ["id_mle", "anisotropy"]
        for name, number in cloud["metrics"].items():
            expected = found[0]["metrics"][name]["value"]
            assert number["value"] == pytest.approx(expected, rel=1e-6)


def test_documents_give_the_controls(tmp_path, capsys):
    rng = np.random.default_rng(0)
    centres = rng.uniform(size=(80, 5))
    points = np.repeat(centres, 10, axis=0) + 1e-3 * rng.standard_normal((800, 5))
    frame = pd.DataFrame(points).rename(columns=str).assign(document=np.repeat(np.arange(80), 10))
    frame.to_parquet(tmp_path / "a.parquet")
    (found,) = measure(capsys, tmp_path / "a.parquet", "--metrics", "id_twonn,same_document_nn")
    assert found["n_features"] == 5
    assert set(found["metrics"]) == {"id_twonn", "same_document_nn"}
    subsamples = found["subsamples"]
    assert set(subsamples) == {"one_per_document", "few_documents"}
    # Subsamples are controls of IDs, so other metrics are not measured on them.
    assert [list(numbers) for numbers in subsamples.values()] == [["id_twonn"]] * 2
    assert {numbers["id_twonn"]["n_points"] for numbers in subsamples.values()} == {80}
    # A draw of one point per document has the ID of the centres.
    expected = shapesweep.id_twonn(shapesweep.nearest_neighbors(centres, 2)[0])
    assert subsamples["one_per_document"]["id_twonn"]["value"] == pytest.approx(expected, rel=0.1)
    cli.main(["measure", str(tmp_path / "a.parquet"), "--metrics", "id_twonn"])
    assert "one_per_document (mean of several draws)" in capsys.readouterr().out


def test_shard_is_a_cloud_with_documents_selections_and_local_ids(
    tmp_path, make_checkpoint, settings, capsys
):
    from helpers.shards import checkpoint_of, extract

    make_checkpoint(tmp_path / "model")
    extract(checkpoint_of(tmp_path / "model"), tmp_path / "model", settings, tmp_path / "out")
    shard = tmp_path / "out/text/layer-2.parquet"
    out = tmp_path / "local.parquet"
    (found,) = measure(capsys, shard, "--selection", "no_first", "--local", out, "--k", 10)
    assert found["n_points"] == 16 * 23
    assert "same_document_nn" in found["metrics"]
    local = pd.read_parquet(out)
    assert list(local.columns) == ["row", "document", "position", "token", "local_id"]
    assert (local.position > 0).all()
    harmonic = 1 / (1 / local.local_id).mean()
    assert harmonic == pytest.approx(found["metrics"]["id_mle"]["value"], rel=1e-9)
    assert found["metrics"]["id_mle"]["k"] == 10


def test_seed_determines_the_sampled_points(points, tmp_path, capsys):
    np.save(tmp_path / "a.npy", points)
    drawn = [
        measure(capsys, tmp_path / "a.npy", "--n-points", 200, "--seed", seed)[0]["metrics"]
        for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1]
    assert drawn[0]["id_twonn"]["value"] != drawn[2]["id_twonn"]["value"]
    assert drawn[0]["id_twonn"]["n_points"] == 200
    assert drawn[0]["anisotropy"] == drawn[2]["anisotropy"]


def test_table_is_readable(points, tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.concatenate([points, points[:7]]))
    assert cli.main(["measure", str(tmp_path / "a.npy")]) == 0
    table = capsys.readouterr().out
    assert "607 points, 7 of them repeated, 12 features" in table
    assert max(map(len, table.splitlines())) <= 132
    (line,) = (line for line in table.splitlines() if line.split()[:1] == ["anisotropy"])
    assert "±" in line
    assert "undefined: not defined for this cloud" in table


def in_row_7(points, value):
    return np.where(np.arange(len(points))[:, None] == 7, value, points)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda x: in_row_7(x, np.nan),
            "row 7 contains NaN (rows with NaN or infinite values: 1 of 600)",
        ),
        (lambda x: in_row_7(x, np.inf), "row 7 contains infinite values"),
        (lambda x: x * 1e200, "values overflow when squared"),
        (lambda x: x[:1], "has shape (1, 12); a cloud needs at least two points"),
        (lambda x: x[:0], "has shape (0, 12); a cloud needs at least two points"),
        (lambda x: x[:, :0], "has shape (600, 0); a cloud needs at least two points"),
        (lambda x: np.ones_like(x), "all 600 points are equal"),
        (lambda x: x[0], "has 1 axes (12,)"),
        (lambda x: x[None], "has 3 axes (1, 600, 12)"),
        (lambda x: x.astype(str), "contains <U32, not numbers"),
        (lambda x: x.astype(complex), "contains complex128, not numbers"),
        (lambda x: np.array([{}, {}]), "not an array of numbers"),
    ],
)
def test_invalid_array_gives_one_line_and_status_2(points, spoil, message, tmp_path, capsys):
    path = tmp_path / "a.npy"
    np.save(path, spoil(points.astype(float)), allow_pickle=True)
    error, out = error_of(capsys, path)
    assert error.startswith(f"shapesweep: error: {path}: ")
    assert message in error
    assert out == ""


def npy_with_shape(shape):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': " + shape + b", }\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npy", b"text", "not an array of numbers"),
        ("a.npy", b"", "not an array of numbers"),
        ("a.npy", npy_with_shape(b"(3,"), "not an array of numbers"),
        ("a.npy", npy_with_shape(b"(999999999999999999999999, 4)"), "not an array of numbers"),
        ("", None, "is a folder"),
        ("a.parquet", b"text", "damaged or not Parquet"),
        ("a.safetensors", b"text", "not safetensors"),
        ("a.csv", b"1,2", "not one of .npy, .safetensors, .parquet"),
    ],
)
def test_file_that_is_no_cloud_gives_one_line_and_status_2(
    name, content, message, tmp_path, capsys
):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert message in error_of(capsys, tmp_path / name)[0]


def test_error_in_one_file_does_not_affect_the_others(points, tmp_path, capsys):
    np.save(tmp_path / "a.npy", points)
    damaged = tmp_path / "pages.parquet"
    pd.DataFrame(points).rename(columns=str).to_parquet(damaged, compression="snappy")
    content = bytearray(damaged.read_bytes())
    content[20:4000] = bytes(3980)
    damaged.write_bytes(content)
    for path, message in (("absent.npy", "there is no such file"), (damaged, "")):
        error, out = error_of(capsys, "--json", path, tmp_path / "a.npy")
        assert f"{path}: {message}" in error
        assert json.loads(out)["n_points"] == 600


def test_safetensors_with_several_tensors_need_the_name_of_one(points, tmp_path, capsys):
    path = tmp_path / "a.safetensors"
    safetensors.numpy.save_file({"x": points, "y": points}, path)
    error = "2 of its 2 tensors have two axes"
    assert re.search(rf"{error}.*--tensor: x, y", error_of(capsys, path)[0])
    assert cloud_file.read(path, tensor="y").points.shape == (600, 12)
    assert "there is no tensor 'z'" in error_of(capsys, path, "--tensor", "z")[0]


def three(**columns):
    return pa.table({**columns, "x": [1.0, 2.0, 3.0], "y": [0.0, 1.0, 4.0]})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            pa.table({"a": ["x", "y"], "b": [1.0, 2.0]}),
            "columns of numbers; found other columns: a",
        ),
        (pa.table({"v": pa.array(["a", "b", "a"]).dictionary_encode()}), "found other columns: v"),
        (pa.table({"v": [[1.0, 2.0], [1.0]]}), "the lists of 'v' have different lengths"),
        (pa.table({"a": [1.0, None, 2.0]}), "row 1 contains NaN"),
        (pa.table({"v": pa.array([], pa.list_(pa.float64()))}), "has shape (0, 0)"),
        (three(document=["a", None, "b"]), "the column 'document' must contain"),
        (three(document=[[1], [2], [3]]), "the column 'document' must contain"),
        (pa.Table.from_arrays([pa.array([1.0, 2.0])] * 2, names=["a", "a"]), "Multiple matches"),
        (three().replace_schema_metadata({"shapesweep": "{}"}), "its metadata has no causal"),
    ],
)
def test_parquet_that_is_no_cloud_gives_one_line_and_status_2(content, message, tmp_path, capsys):
    pq.write_table(content, tmp_path / "a.parquet")
    assert message in error_of(capsys, tmp_path / "a.parquet")[0]


def test_selection_of_a_file_that_is_no_shard_is_refused(tmp_path, capsys):
    pq.write_table(three(), tmp_path / "a.parquet")
    error, _ = error_of(capsys, tmp_path / "a.parquet", "--selection", "no_first")
    assert "only shards of a sweep have the selection" in error


def test_archive_of_arrays_is_refused(points, tmp_path, capsys):
    with (tmp_path / "a.npy").open("wb") as file:
        np.savez(file, points)
    assert "not an array of numbers" in error_of(capsys, tmp_path / "a.npy")[0]


def test_scale_does_not_change_numbers_even_if_float32_squares_overflow(points, tmp_path, capsys):
    massive = points.astype(np.float64)
    massive[::100] *= 100
    found = []
    for scale in (1, 1e30, 1e-30):
        np.save(tmp_path / "a.npy", (massive * scale).astype(np.float32))
        names = "massive_share,id_twonn,anisotropy"
        found += measure(capsys, tmp_path / "a.npy", "--metrics", names)
    for other in found[1:]:
        for name, number in other["metrics"].items():
            assert number["value"] == pytest.approx(found[0]["metrics"][name]["value"], rel=1e-4)
            assert number["flags"] == found[0]["metrics"][name]["flags"]


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("a.npz", 'numpy.save("a.npy", numpy.load("a.npz")[NAME])'),
        ("a.csv", 'numpy.save("a.npy", numpy.loadtxt("a.csv", delimiter=","))'),
        ("a.pt", 'numpy.save("a.npy", torch.load("a.pt").detach().float().numpy())'),
        ("a.h5", 'numpy.save("a.npy", array)'),
    ],
)
def test_error_of_another_format_states_how_to_convert_the_file(name, how, tmp_path, capsys):
    (tmp_path / name).write_bytes(b"")
    assert how in error_of(capsys, tmp_path / name)[0]


def test_single_document_gives_no_document_controls(points, tmp_path, capsys):
    pd.DataFrame(points).rename(columns=str).assign(document="x").to_parquet(tmp_path / "a.parquet")
    (found,) = measure(capsys, tmp_path / "a.parquet")
    assert "same_document_nn" not in found["metrics"]
    assert found["metrics"]["id_twonn"]["stderr"] > 0


def test_small_cloud_uses_all_available_neighbours(points, tmp_path, capsys):
    np.save(tmp_path / "a.npy", points[:10])
    (found,) = measure(capsys, tmp_path / "a.npy")
    assert found["metrics"]["id_mle"]["k"] == 9
    assert found["metrics"]["id_gride"][-1]["flags"] == ["undefined"]
    np.save(tmp_path / "a.npy", points[:2])
    (found,) = measure(capsys, tmp_path / "a.npy")
    assert found["metrics"]["anisotropy"]["value"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        ("id_twon", "there is no metric 'id_twon'"),
        ("linearity", "linearity is computed from two layers"),
        ("same_document_nn", "computed from documents, but the file does not contain them"),
    ],
)
def test_error_names_metrics_that_are_unavailable(points, metrics, message, tmp_path, capsys):
    np.save(tmp_path / "a.npy", points)
    assert message in error_of(capsys, tmp_path / "a.npy", "--metrics", metrics)[0]
