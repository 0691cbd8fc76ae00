"""Bootstrap intervals: how far a mean would move with another sample. Shapes: S statistics, N samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# The most numbers of one tile of resamples: 32 MiB.
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
        tails = [50 * (1 - LEVEL), 50 * (1 + LEVEL)]
        low, high = np.percentile(resampled_means(values, resamples, seed), tails, axis=1)
        # Where the means of all resamples are nearly equal, rounding can put a bound on the wrong side of the mean.
        low = np.minimum(low, means)
        high = np.maximum(high, means)
    return [{"value": float(m), "low": float(a), "high": float(b)} for m, a, b in zip(means, low, high, strict=True)]


def resampled_means(values: NDArray, resamples: int, seed: int) -> NDArray:
    """Returns the means of each row of (S, N) figures over resamples of its N samples: (S, resamples).

    A resample is how often it draws each sample, so that no figure is copied.
    """
    generator, samples = np.random.default_rng(seed), values.shape[1]
    sums = []
    for first in range(0, resamples, max(1, NUMBERS // samples)):
        rows = min(resamples - first, max(1, NUMBERS // samples))
        drawn = generator.integers(0, samples, (rows, samples)) + samples * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * samples).reshape(rows, samples).astype(np.float64)
        sums.append(np.einsum("sn,rn->sr", values, counts))
    return np.concatenate(sums, axis=1) / samples
