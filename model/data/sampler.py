"""The order of samples: a function of (seed, epoch) alone, shared out to processes so that their number does not change
the batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Rows(NamedTuple):
    """The rows of one batch on one process."""

    epoch: int
    indices: NDArray
    """(B,) int64 positions in the split."""


def epoch_order(size: int, seed: int, epoch: int) -> NDArray:
    """(size,) int64, the permutation of an epoch."""
    return np.random.default_rng([seed, epoch]).permutation(size)


def ordered_batches(size: int, batch_size: int, *, rank: int = 0, world: int = 1) -> list[Rows]:
    """The batches of process `rank`, which together hold the rows rank, rank + world, rank + 2 world, … in this order.
    The last batch may be smaller.

    All processes have the same number of rows, because some strategies communicate in every batch. Where `world` does
    not divide `size`, the last processes therefore read one of the first rows a second time.
    """
    indices = (np.arange(-(-size // world)) * world + rank) % size
    return [Rows(0, indices[first : first + batch_size]) for first in range(0, len(indices), batch_size)]


class EpochSampler:
    """The batches of one epoch after another, and the place in them; part of a checkpoint.

    The `world` batches of one step together are one slice of the epoch's permutation. An incomplete last one is left
    out.
    """

    def __init__(self, size: int, batch_size: int, *, seed: int, rank: int = 0, world: int = 1) -> None:
        """`batch_size`: rows of a batch on one process."""
        self.size, self.batch_size, self.seed, self.rank, self.world = size, batch_size, seed, rank, world
        self.epoch, self.taken = 0, 0
        self.replaced = 0
        """Rows of this process that were replaced because their pictures could no longer be read; `TrainLoader` counts
        them.
        """

    def __len__(self) -> int:
        """Batches of a whole epoch, wherever in it the place is."""
        return self.size // (self.batch_size * self.world)

    def __iter__(self) -> Iterator[Rows]:
        """The batches that are left of the epoch."""
        order, step = epoch_order(self.size, self.seed, self.epoch), self.batch_size * self.world
        for batch in range(self.taken, len(self)):
            first = batch * step + self.rank * self.batch_size
            yield Rows(self.epoch, order[first : first + self.batch_size])

    def set_epoch(self, epoch: int) -> None:
        """Goes to the start of `epoch`, unless it is the epoch whose place is known. Lightning says this before each
        epoch.
        """
        if epoch != self.epoch:
            self.epoch, self.taken = epoch, 0

    def begin(self) -> None:
        """Goes to the next epoch where this one has been taken whole."""
        if self.taken >= len(self):
            self.set_epoch(self.epoch + 1)

    def state_dict(self) -> dict[str, int]:
        """The epoch, and how many of its batches have been taken."""
        return {"epoch": self.epoch, "taken": self.taken}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Goes where `state_dict` was taken."""
        self.epoch, self.taken = state["epoch"], state["taken"]
