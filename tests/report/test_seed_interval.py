"""The interval of a few seeds against Student's t in closed form."""

from __future__ import annotations

import pytest

from model.report.seed_interval import t_interval
from tests.report.sweep_folder import T1, T2


@pytest.mark.parametrize(
    ("values", "mean", "half"),
    [
        ([1.0, 2.0, 3.0], 2.0, T2 / 3**0.5),  # deviation 1
        ([0.0, 1.0], 0.5, T1 * 0.5),  # deviation sqrt(1/2)
        ([4.0] * 5, 4.0, 0.0),
    ],
)
def test_the_interval_is_students(values, mean, half):
    interval = t_interval(values)
    assert (interval.n, interval.mean) == (len(values), mean)
    assert (interval.low, interval.high) == pytest.approx((mean - half, mean + half), rel=1e-12)


def test_one_value_has_no_interval():
    assert (t_interval([0.25]).low, t_interval([0.25]).high, t_interval([])) == (None, None, None)
