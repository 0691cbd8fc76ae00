"""Bootstrap intervals: how far a mean would move with another sample. Shapes: S statistics, N samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

# The most float64 numbers that one call of the resampling holds: 32 MiB.
NUMBERS = 1 << 22
LEVEL = 0.95

Interval = dict[str, float]


def intervals(values: NDArray, resamples: int, seed: int) -> list[Interval]:
    """Returns, for each row of (S, N) figures of samples, its mean (`value`) and the 95 % interval of the percentile
    bootstrap (`low`, `high`).

    All rows use the same resamples. A single sample shows no spread: low = high = value.
    """
    means = values.mean(axis=1)
    if values.shape[1] < 2:
        low, high = means, means
    else:
        result = bootstrap(
            (values,),
            np.mean,
            axis=-1,
            n_resamples=resamples,
            batch=max(1, NUMBERS // values.size),
            confidence_level=LEVEL,
            method="percentile",
            rng=np.random.default_rng(seed),
        )
        # Where the means of all resamples are nearly equal, rounding can put a bound on the wrong side of the mean.
        low = np.minimum(result.confidence_interval.low, means)
        high = np.maximum(result.confidence_interval.high, means)
    return [{"value": float(m), "low": float(a), "high": float(b)} for m, a, b in zip(means, low, high, strict=True)]
