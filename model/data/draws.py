"""Random numbers that are functions of their place: the same for row i of a seed, whatever batch, worker or order asks
for it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014): the increment and the two multipliers of
# SplitMix64.
INCREMENT = np.uint64(0x9E3779B97F4A7C15)
MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


def scramble(values: NDArray) -> NDArray:
    """uint64 of any shape -> uint64 of that shape; neighbouring values give unrelated ones."""
    values = np.asarray(values).astype(np.uint64)
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64 is meant
        values = (values ^ (values >> np.uint64(30))) * MULTIPLIERS[0]
        values = (values ^ (values >> np.uint64(27))) * MULTIPLIERS[1]
    return values ^ (values >> np.uint64(31))


def uniform(key: tuple[int, ...], rows: NDArray, count: int) -> NDArray:
    """(N, count) float64 in [0, 1): `count` numbers for each of the (N,) `rows` of the stream that `key` names."""
    state = np.zeros(1, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for part in key:
            state = scramble(state + INCREMENT + np.asarray(part, dtype=np.uint64))
        state = scramble(state + INCREMENT * (np.asarray(rows).astype(np.uint64) + np.uint64(1)))
        numbers = scramble(state[:, None] + INCREMENT * np.arange(1, count + 1, dtype=np.uint64))
    return (numbers >> np.uint64(11)).astype(np.float64) * 2.0**-53
