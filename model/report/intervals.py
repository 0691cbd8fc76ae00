"""Mean and 95 % interval of a few repeated measurements."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.special import stdtrit

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Interval:
    """The mean of `n` values; `low` to `high` holds the true mean in 95 % of such samples of normal values. One value
    has no interval: None.
    """

    n: int
    mean: float
    low: float | None
    high: float | None


def t_interval(values: Sequence[float]) -> Interval | None:
    """Student's t-interval of the mean; None without values."""
    if not values:
        return None
    n, mean = len(values), statistics.fmean(values)
    if n == 1:
        return Interval(1, mean, None, None)
    half = float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * statistics.stdev(values) / n**0.5
    return Interval(n, mean, mean - half, mean + half)
