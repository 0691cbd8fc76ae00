"""The mean over a few seeds with its 95 % interval."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import stdtrit

CONFIDENCE = 0.95


@dataclass(frozen=True)
class SeedInterval:
    """The mean of `n` values and the 95 % interval `low` to `high` of the true mean, for normally distributed values. A
    single value has no interval: `low` and `high` are None.
    """

    n: int
    mean: float
    low: float | None
    high: float | None


def t_interval(values: Sequence[float]) -> SeedInterval | None:
    """Returns the mean with Student's t-interval; None if there are no values."""
    if not values:
        return None
    n, mean = len(values), statistics.fmean(values)
    if n == 1:
        return SeedInterval(1, mean, None, None)
    half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * statistics.stdev(values) / n**0.5
    return SeedInterval(n, mean, mean - half, mean + half)
