"""Rises and falls have the stated level, power and intervals."""

import numpy as np
import pytest

from shapesweep.estimators import course

#: Steps like Pythia's, transformed to the logarithmic axis on which curves are described.
POSITIONS = np.log1p([0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512])
LONG = np.log1p(np.unique(np.geomspace(1, 1e5, 24).round()))
N_CURVES = 400
#: Among 400 curves without a rise, the share with a rise exceeds this maximum by chance once in
#: 1,000 times if the level of 2.5 % holds.
MAX_SHARE = 0.0525


def kinds(values, x, **known):
    return [move.kind for move in course.describe(values, x, **known).moves]


def share(truth, x, kind, **known):
    """Return the share of noisy curves that contain a move of a kind."""
    rng = np.random.default_rng(5)
    curves = truth + rng.standard_normal((N_CURVES, len(truth)))
    return np.mean([kind in kinds(curve, x, **known) for curve in curves])


@pytest.mark.parametrize("x", [POSITIONS, LONG], ids=["few", "many"])
@pytest.mark.parametrize("known", [{}, {"known_noise": 1.0, "freedom": 40}])
def test_false_rises_are_not_more_frequent_than_the_level(x, known):
    for truth in (0 * x, -x, -(x**2), -10.0 * (x > x[len(x) // 2]), -0.3 * x):
        assert share(truth, x, "rise", **known) <= MAX_SHARE
        assert share(-truth, x, "fall", **known) <= MAX_SHARE


@pytest.mark.parametrize("x", [POSITIONS, LONG], ids=["few", "many"])
@pytest.mark.parametrize("shape", ["independent", "unequal", "skewed", "smooth", "random walk"])
def test_noise_of_documents_counts_for_every_difference(x, shape):
    rng = np.random.default_rng(6)
    apart = np.abs(x[:, None] - x)
    smooth = np.linalg.cholesky(np.exp(-0.5 * apart**2) + 1e-9 * np.eye(len(x)))
    # If neighbours share the noise of documents, the noise that the curve shows is too low. The
    # noise of training is negligible here.
    known = {} if shape in {"smooth", "random walk"} else {"known_noise": 1e-3, "freedom": 40}
    found = 0
    for _ in range(N_CURVES):
        groups = rng.standard_normal((16, len(x)))
        if shape == "unequal":
            groups *= np.linspace(0.3, 1.5, len(x))
        if shape == "skewed":
            groups = rng.exponential(size=groups.shape) - 1
        if shape == "random walk":
            groups = groups.cumsum(axis=1)
        if shape == "smooth":
            groups = groups @ smooth.T
        without = (groups.sum(axis=0) - groups) / 15
        found += bool(kinds(groups.mean(axis=0), x, replicates=without, **known))
    assert found / N_CURVES <= MAX_SHARE


def test_moves_larger_than_the_resolution_are_always_found():
    rng = np.random.default_rng(10)
    for _ in range(100):
        values = rng.standard_normal(11).cumsum()
        found = course.describe(values, POSITIONS)
        rises = max(values[j] - values[i] for i in range(11) for j in range(i + 1, 11))
        if rises > found.resolution:
            assert "rise" in [move.kind for move in found.moves]
        for move in found.moves:
            assert move.size > 0
    # A small bump on a falling curve is not found, and the resolution says why.
    bump = course.describe(
        np.array([9.8, 9.7, 9.6, 8.8, 8.4, 7.3, 4.5, 4.8, 5.0, 4.8, 4.2]), POSITIONS
    )
    assert [move.kind for move in bump.moves] == ["fall"]
    assert bump.resolution > 0.5


def test_moves_of_a_course_are_found_unless_noise_hides_them():
    bump = np.exp(-0.5 * ((LONG - LONG[12]) / 1.5) ** 2)
    rng = np.random.default_rng(7)
    curves = rng.standard_normal((100, len(LONG)))
    found = [kinds(8 * bump + curve, LONG) for curve in curves]
    assert np.mean([kind == ["rise", "fall"] for kind in found]) > 0.95
    assert np.mean([not kinds(bump + curve, LONG) for curve in curves]) > 0.9
    turned = 14 * bump + 4 * np.maximum(LONG[8] - LONG, 0)
    found = [kinds(turned + curve, LONG) for curve in curves]
    assert np.mean([kind == ["fall", "rise", "fall"] for kind in found]) > 0.95


def test_intervals_cover_the_true_size():
    truth = 8 * np.exp(-0.5 * ((LONG - LONG[12]) / 1.5) ** 2)
    rng = np.random.default_rng(8)
    covered = []
    for _ in range(200):
        found = course.describe(truth + rng.standard_normal(len(LONG)), LONG).moves
        if [move.kind for move in found] == ["rise", "fall"]:
            sizes = [np.ptp(truth[: 12 + 1]), np.ptp(truth[12:])]
            covered.append(
                all(move.low <= size <= move.high for move, size in zip(found, sizes, strict=True))
            )
            assert found[0].stop == found[1].start
            assert all(move.low <= move.size <= move.high for move in found)
    # The nominal coverage is 0.975. For 190 curves, a coverage below 0.93 occurs by chance once in
    # 1,000 times.
    assert len(covered) > 180
    assert np.mean(covered) > 0.93


def test_curves_without_noise_are_described_exactly():
    assert kinds(np.zeros(5), np.arange(5.0)) == []
    assert kinds(np.arange(5.0), np.arange(5.0)) == ["rise"]
    tent = np.array([0.0, 1, 2, 3, 2, 1, 0])
    found = course.describe(tent, np.arange(7.0))
    # The residual of the turning point is left out, so the noise is zero.
    assert found.noise == 0
    assert [(move.kind, move.start, move.stop, move.size) for move in found.moves] == [
        ("rise", 0, 3, 3.0),
        ("fall", 3, 6, 3.0),
    ]


def test_single_high_checkpoint_is_no_rise_and_fall():
    lone = np.zeros(11)
    lone[5] = 3
    assert share(lone, POSITIONS, "rise") < 0.1


def test_result_depends_neither_on_the_unit_nor_on_the_sign():
    values = np.random.default_rng(9).standard_normal(24) + 4 * np.sin(LONG)
    first = course.describe(values, LONG).moves
    assert first
    scaled = course.describe(-1000 * values - 5, LONG).moves
    mirrored = {"rise": "fall", "fall": "rise"}
    assert [(m.start, m.stop, mirrored[m.kind]) for m in first] == [
        (m.start, m.stop, m.kind) for m in scaled
    ]
    np.testing.assert_allclose([m.low * 1000 for m in first], [m.low for m in scaled])


def test_noise_of_a_line_is_zero():
    assert course.noise(3 * POSITIONS + 1, POSITIONS) == pytest.approx(0, abs=1e-12)
    # Without the largest quarter of the squares, independent noise is underestimated by half.
    positions = np.arange(400.0)
    curves = 0.5 * np.random.default_rng(3).standard_normal((50, 400))
    found = course.noise(np.sin(positions / 40) + curves, positions)
    assert found.mean() == pytest.approx(0.5 * 0.59, abs=0.02)


def test_thinning_keeps_both_ends_and_an_even_spacing():
    positions = np.log1p(np.r_[0, 2 ** np.arange(10), 1000 * np.arange(1, 144)])
    kept = course.thinned(positions, 24)
    assert (kept[0], kept[-1]) == (0, len(positions) - 1)
    assert len(kept) <= 24
    # The checkpoints are dense at the end. After thinning, the distance between any two of the last
    # six exceeds half of the distance between 25 evenly spaced checkpoints.
    assert np.diff(positions[kept[-6:]]).min() > 0.5 * (positions[-1] - positions[0]) / 24
    assert course.thinned(POSITIONS, 24).tolist() == list(range(11))
