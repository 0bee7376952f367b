"""The precision of the values in a file determines the noise floor and the flag `rounding`."""

import numpy as np
import pytest
import safetensors.torch
import torch

from helpers.measuring import measure


def test_precision_of_the_file_sets_the_noise_floor(tmp_path, capsys):
    rng = np.random.default_rng(0)
    low = rng.standard_normal((500, 20)) @ rng.standard_normal((20, 120))
    np.save(tmp_path / "a.npy", low.astype(np.float16))
    tensor = {"x": torch.from_numpy(low).bfloat16()}
    safetensors.torch.save_file(tensor, tmp_path / "b.safetensors")
    for found in measure(capsys, tmp_path / "a.npy", tmp_path / "b.safetensors"):
        assert found["metrics"]["alpha_req"]["flags"] == ["undefined"]
        assert found["metrics"]["participation_ratio"]["value"] < 20


def plane_of(n, n_features, d=3):
    rng = np.random.default_rng(0)
    return rng.standard_normal((n, d)) @ rng.standard_normal((d, n_features))


def rounding_of(capsys, tmp_path, points):
    """Return the value of `id_twonn`, and whether it is flagged."""
    np.save(tmp_path / "a.npy", points)
    number = measure(capsys, tmp_path / "a.npy", "--metrics", "id_twonn")[0]["metrics"]["id_twonn"]
    return number["value"], "rounding" in number["flags"]


def test_rounding_flag_depends_on_the_values_and_not_on_the_dtype(tmp_path, capsys):
    plane = plane_of(1000, 32)
    cone = plane + 50 * np.random.default_rng(1).standard_normal(32)
    repeated = plane.astype(np.float32)
    # Repeats that differ in the last bit, for example from another batch.
    repeated[:100] = repeated[100:200] * np.float32(1 + 2**-23)
    whole = np.clip(np.rint(4 * plane), -128, 127)
    rounded = {
        "bfloat16": torch.from_numpy(cone).bfloat16().float().numpy(),
        "repeated": repeated,
        "int8": whole.astype(np.int8),
        "scale and offset": (0.037 * whole + 1.37).astype(np.float32),
        "standardised": (whole - whole.mean(0)) / whole.std(0),
        "normalised rows": whole / np.linalg.norm(whole, axis=1, keepdims=True),
        "decimals": plane.round(1),
    }
    for name, points in rounded.items():
        for stored in (points, points.astype(np.float64)):
            assert rounding_of(capsys, tmp_path, stored)[1], name
    fine = {
        "float32": plane.astype(np.float32),
        "cone": cone.astype(np.float32),
        "large offset": plane + 1e6,
        "int16": np.rint(2000 * plane).astype(np.int16),
        "decimals": plane.round(4),
        "categories": np.hstack([plane, 50 * np.eye(4)[np.arange(1000) % 4]]),
    }
    for name, points in fine.items():
        for stored in (points, points.astype(np.float64)):
            value, flagged = rounding_of(capsys, tmp_path, stored)
            assert not flagged, name
            # Three standard errors of TwoNN, d/√N.
            assert value == pytest.approx(3, abs=3 * 3 / np.sqrt(1000)), name


@pytest.mark.parametrize(("d", "n_features"), [(1, 8), (3, 3), (3, 64), (8, 64)])
@pytest.mark.parametrize("kind", ["grid", "floats"])
def test_id_is_right_unless_rounding_is_flagged(d, n_features, kind, tmp_path, capsys):
    plane = plane_of(1000, n_features, d)
    expected, flagged = rounding_of(capsys, tmp_path, plane)
    assert not flagged
    flags = []
    for power in range(-24, 1, 2):
        if kind == "grid":
            points = np.rint(plane * 2.0**-power) * (0.3 * 2.0**power)
        else:
            fractions, exponents = np.frexp(plane)
            points = np.ldexp(np.rint(fractions * 2.0**-power) * 2.0**power, exponents)
        value, flagged = rounding_of(capsys, tmp_path, points)
        flags.append(flagged)
        # Rounding changes the value by less than the standard error.
        assert flagged or value == pytest.approx(expected, rel=1 / np.sqrt(1000)), power
    # Coarser values are flagged if finer values are.
    assert flags == sorted(flags)
    assert flags[-1]
    assert not flags[0]


def test_states_of_bfloat16_are_distinct_points(tmp_path, capsys):
    # On the grid of bfloat16, points can differ in a single value.
    points = torch.from_numpy(plane_of(500, 8)).bfloat16().float().numpy()
    points[1] = points[0]
    points[1, 0] *= 1 + 2**-7
    np.save(tmp_path / "a.npy", np.concatenate([points, points[:20]]))
    (found,) = measure(capsys, tmp_path / "a.npy", "--metrics", "id_twonn")
    assert found["n_duplicates"] == 20
    assert found["metrics"]["id_twonn"]["n_points"] == 500
