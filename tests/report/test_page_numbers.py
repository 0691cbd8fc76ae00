"""How numbers are written on a run's page."""

from __future__ import annotations

import math

import pytest

from model.report.page_numbers import count, duration, number, rank, share, share_with_interval


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (share, 0.34949, "0.349"),
        (share, None, "–"),
        (share, math.nan, "–"),
        (number, 12.0, "12"),
        (number, 1234567, "1,234,567"),
        (number, -2.5, "-2.500"),
        (number, 1234.5, "1234"),
        (number, None, "–"),
        (rank, 3.0, "3"),
        (rank, 1200.5, "1,200.5"),
        (rank, None, "–"),
        (duration, 205.4, "205 s"),
        (duration, 840.0, "14 min"),
        (duration, 5400.0, "90 min"),
        (duration, 9000.0, "2.5 h"),
        (count, 739905, "739,905"),
        (count, 151277313, "151.3 million"),
        (share_with_interval, {"value": 0.5, "low": 0.41, "high": 0.59}, "0.500|0.410–0.590"),
        (share_with_interval, {"value": 0.5, "low": None, "high": None}, "0.500"),
        (share_with_interval, None, "–"),
    ],
)
def test_numbers(write, value, text):
    assert write(value) == text
