"""Bootstrap intervals, compared with the normal limit of the binomial distribution and with a loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import bootstrap as scipy_bootstrap

from model.analysis import bootstrap
from model.analysis.bootstrap import intervals


def test_the_width_of_a_share_follows_from_its_variance():
    """800 samples, 30 % of them hits: 1.96 standard errors to either side; the second row is constant."""
    values = np.zeros((2, 800))
    values[0, :240] = 1
    share, constant = intervals(values, 4000, seed=0)
    error = 1.96 * math.sqrt(0.3 * 0.7 / 800)
    assert share["value"] == pytest.approx(0.3)
    assert [share["low"], share["high"]] == pytest.approx([0.3 - error, 0.3 + error], abs=0.1 * error)
    assert constant == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_a_seed_gives_the_same_intervals_in_tiles_of_any_size(monkeypatch):
    values = np.random.default_rng(1).random((3, 40))
    expected = intervals(values, 200, seed=5)
    assert intervals(values, 200, seed=5) == expected
    assert intervals(values, 200, seed=6) != expected
    monkeypatch.setattr(bootstrap, "NUMBERS", 500)
    assert intervals(values, 200, seed=5) == expected


def test_percentiles_of_a_loop_over_draws():
    values = np.random.default_rng(2).random((1, 30))
    generator = np.random.default_rng(3)
    means = [values[0, generator.integers(0, 30, 30)].mean() for _ in range(5000)]
    (interval,) = intervals(values, 5000, seed=4)
    assert [interval["low"], interval["high"]] == pytest.approx(np.percentile(means, [2.5, 97.5]).tolist(), abs=0.01)


@pytest.mark.parametrize("size", [1, 2])
def test_one_or_two_samples_have_an_interval(size):
    (interval,) = intervals(np.ones((1, size)), 50, seed=0)
    assert interval == {"value": 1.0, "low": 1.0, "high": 1.0}


@pytest.mark.parametrize("size", [2, 7, 20, 333, 5000])
def test_an_interval_holds_its_value(size):
    """All samples are equal, so that the means of resamples differ only by rounding."""
    values = np.random.default_rng(size).random((40, 1)).repeat(size, axis=1)
    for interval in intervals(values, 100, seed=0):
        assert interval["low"] <= interval["value"] <= interval["high"]


@pytest.mark.parametrize("samples", [2, 57, 400])
def test_the_interval_is_that_of_scipy(samples):
    values = np.random.default_rng(7).random((3, samples))
    expected = scipy_bootstrap(
        (values,), np.mean, axis=-1, n_resamples=300, method="percentile", rng=np.random.default_rng(8)
    ).confidence_interval
    figures = intervals(values, 300, seed=8)
    np.testing.assert_allclose([figure["low"] for figure in figures], expected.low, rtol=1e-12)
    np.testing.assert_allclose([figure["high"] for figure in figures], expected.high, rtol=1e-12)
