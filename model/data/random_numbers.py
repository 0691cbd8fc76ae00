"""Random numbers that are functions of a key and a row, independent of batches, workers and the order of calls."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# The increment and the two multipliers of SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number
# generators" (2014).
INCREMENT = np.uint64(0x9E3779B97F4A7C15)
MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def scramble(values: NDArray) -> NDArray:
    """Maps uint64 of any shape to uint64 of the same shape. The results of neighbouring values look unrelated."""
    values = np.asarray(values).astype(np.uint64)
    with np.errstate(over="ignore"):  # the arithmetic is modulo 2^64
        values = (values ^ (values >> np.uint64(30))) * MULTIPLIERS[0]
        values = (values ^ (values >> np.uint64(27))) * MULTIPLIERS[1]
    return values ^ (values >> np.uint64(31))


def uniform(key: tuple[int, ...], rows: NDArray, count: int) -> NDArray:
    """Returns `count` numbers for each of the (N,) `rows` of the random stream `key`: (N, count) float64 in [0, 1)."""
    state = np.zeros(1, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for number in key:
            state = scramble(state + INCREMENT + np.asarray(number, dtype=np.uint64))
        state = scramble(state + INCREMENT * (np.asarray(rows).astype(np.uint64) + np.uint64(1)))
        numbers = scramble(state[:, None] + INCREMENT * np.arange(1, count + 1, dtype=np.uint64))
    return (numbers >> np.uint64(11)).astype(np.float64) * 2.0**-53
