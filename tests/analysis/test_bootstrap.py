"""Bootstrap intervals against the binomial's normal limit and a loop."""

from __future__ import annotations

import math

import numpy as np
import pytest

from model.analysis import bootstrap
from model.analysis.bootstrap import intervals


def test_a_share_has_the_width_that_its_variance_says():
    """800 samples, 30 % of them hits: 1.96 standard errors to either side; the second row is sure."""
    values = np.zeros((2, 800))
    values[0, :240] = 1
    share, sure = intervals(values, 4000, seed=0)
    error = 1.96 * math.sqrt(0.3 * 0.7 / 800)
    assert share["value"] == pytest.approx(0.3)
    assert [share["low"], share["high"]] == pytest.approx([0.3 - error, 0.3 + error], abs=0.1 * error)
    assert sure == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_tiles_of_draws_and_repetitions_change_nothing(monkeypatch):
    values = np.random.default_rng(1).random((3, 40))
    whole = intervals(values, 200, seed=5)
    assert intervals(values, 200, seed=5) == whole
    assert intervals(values, 200, seed=6) != whole
    monkeypatch.setattr(bootstrap, "NUMBERS", 500)
    assert intervals(values, 200, seed=5) == whole


def test_percentiles_of_a_loop_over_draws():
    values = np.random.default_rng(2).random((1, 30))
    generator = np.random.default_rng(3)
    means = [values[0, generator.integers(0, 30, 30)].mean() for _ in range(5000)]
    (found,) = intervals(values, 5000, seed=4)
    assert [found["low"], found["high"]] == pytest.approx(np.percentile(means, [2.5, 97.5]).tolist(), abs=0.01)


@pytest.mark.parametrize("size", [1, 2])
def test_few_samples_are_no_error(size):
    (found,) = intervals(np.ones((1, size)), 50, seed=0)
    assert found == {"value": 1.0, "low": 1.0, "high": 1.0}


@pytest.mark.parametrize("size", [2, 7, 20, 333, 5000])
def test_an_interval_holds_its_value(size):
    """Samples that are equal: their means over draws differ by rounding."""
    values = np.random.default_rng(size).random((40, 1)).repeat(size, axis=1)
    for found in intervals(values, 100, seed=0):
        assert found["low"] <= found["value"] <= found["high"]
