"""The order of samples: a function of (seed, epoch) alone, shared out to processes so that their number does not change the batches."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def epoch_order(size: int, seed: int, epoch: int) -> np.ndarray:
    """(size,) permutation of an epoch."""
    return np.random.default_rng([seed, epoch]).permutation(size)


def train_batches(size: int, batch_size: int, seed: int, epoch: int, *, rank: int = 0, world: int = 1, start: int = 0) -> Iterator[list[int]]:
    """Batches of `batch_size` rows for process `rank` of `world`, from the `start`-th on; a last incomplete global batch is left out.

    The `world` batches of one step together are one slice of the epoch's order.
    """
    order, step = epoch_order(size, seed, epoch), batch_size * world
    for first in range(start * step, size - step + 1, step):
        yield order[first + rank * batch_size : first + (rank + 1) * batch_size].tolist()


def ordered_batches(size: int, batch_size: int, *, rank: int = 0, world: int = 1) -> Iterator[list[int]]:
    """The rows of process `rank` in order, none twice, the last batch as small as it comes."""
    rows = range(rank, size, world)
    for first in range(0, len(rows), batch_size):
        yield list(rows[first : first + batch_size])
