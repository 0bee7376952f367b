"""The jackknife: equal to the textbook where there is one, and honest coverage."""

import numpy as np
import pytest
from scipy import stats

from shapesweep.estimators import jackknife


def test_stderr_of_a_mean_is_the_textbooks():
    values = np.random.default_rng(0).standard_normal(16)
    without = [np.delete(values, g).mean() for g in range(16)]
    assert jackknife.stderr(without) == pytest.approx(values.std(ddof=1) / 4)


def test_a_missing_replicate_is_no_small_error():
    assert np.isnan(jackknife.stderr([1.0, np.nan, 2.0]))
    assert np.isnan(jackknife.stderr([1.0]))


def test_half_width_is_students():
    assert jackknife.half_width(1.0, 16) == pytest.approx(stats.t.ppf(0.975, 15))


def test_the_interval_covers_under_dependence_within_documents():
    # 400 seeds, 16 documents whose tokens share a mean: 95 % nominal; the binomial standard
    # deviation is 1.1 %, so four of them either way.
    covered = 0
    documents = np.repeat(np.arange(16), 20)
    groups = jackknife.assign_groups(documents)
    for seed in range(400):
        rng = np.random.default_rng(seed)
        tokens = rng.standard_normal(16)[documents] + rng.standard_normal(320)
        without = [tokens[groups != g].mean() for g in range(16)]
        half = jackknife.half_width(jackknife.stderr(without), 16)
        covered += abs(tokens.mean()) < half
    assert abs(covered / 400 - 0.95) < 0.044
