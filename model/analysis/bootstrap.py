"""How far a mean would move with another draw of the samples. Shapes: S statistics, N samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

# Numbers that one call of the resampling may hold: 32 MiB.
NUMBERS = 1 << 22
LEVEL = 0.95

Interval = dict[str, float]


def intervals(values: NDArray, resamples: int, seed: int) -> list[Interval]:
    """(S, N) figures of samples -> for each row its mean (`value`) and the percentile bootstrap's 95 % interval (`low`,
    `high`).

    All rows see the same draws. A single sample tells nothing of the spread: low = high = value.
    """
    means = values.mean(axis=1)
    if values.shape[1] < 2:
        low, high = means, means
    else:
        found = bootstrap(
            (values,),
            np.mean,
            axis=-1,
            n_resamples=resamples,
            batch=max(1, NUMBERS // values.size),
            confidence_level=LEVEL,
            method="percentile",
            rng=np.random.default_rng(seed),
        )
        # Rounding can put an end on the wrong side of the mean where the draws are nearly equal.
        low, high = np.minimum(found.confidence_interval.low, means), np.maximum(found.confidence_interval.high, means)
    return [{"value": float(m), "low": float(a), "high": float(b)} for m, a, b in zip(means, low, high, strict=True)]
