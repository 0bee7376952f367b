"""The jackknife agrees with textbook formulas, and its intervals have the stated coverage."""

import numpy as np
import pytest
from scipy import stats

from shapesweep.estimators import jackknife


def test_stderr_of_a_mean_matches_the_textbook():
    values = np.random.default_rng(0).standard_normal(16)
    without = [np.delete(values, g).mean() for g in range(16)]
    assert jackknife.stderr(without) == pytest.approx(values.std(ddof=1) / 4)


def test_missing_replicate_gives_nan():
    assert np.isnan(jackknife.stderr([1.0, np.nan, 2.0]))
    assert np.isnan(jackknife.stderr([1.0]))


def test_half_width_uses_students_t():
    assert jackknife.half_width(1.0, 16) == pytest.approx(stats.t.ppf(0.975, 15))


def test_interval_covers_with_dependence_within_documents():
    # For each of 400 seeds, the tokens of a document share a mean. The nominal coverage is 95 %.
    # The coverage over 400 seeds has a binomial standard deviation of 1.1 %. The tolerance is four
    # standard deviations.
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
