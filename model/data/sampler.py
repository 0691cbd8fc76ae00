"""The order of samples. It is a function of (seed, epoch) alone, and is divided among processes in such a way that
their number does not change the batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class BatchRows(NamedTuple):
    """The rows of a batch on one process."""

    epoch: int
    indices: NDArray
    """(B,) int64 positions in the split."""


def epoch_order(size: int, seed: int, epoch: int) -> NDArray:
    """Returns the permutation of an epoch, (size,) int64."""
    return np.random.default_rng([seed, epoch]).permutation(size)


def ordered_batches(size: int, batch_size: int, *, rank: int = 0, world: int = 1) -> list[BatchRows]:
    """Returns the batches of process `rank` of `world`. Together they hold the rows rank, rank + world,
    rank + 2 world, … in this order. The last batch may be smaller.

    All processes have the same number of rows, because some strategies communicate in every batch. If `world` does not
    divide `size`, the last processes therefore read some of the first rows a second time.
    """
    indices = (np.arange(-(-size // world)) * world + rank) % size
    return [BatchRows(0, indices[first : first + batch_size]) for first in range(0, len(indices), batch_size)]


class EpochSampler:
    """The batches of one epoch after another, and the position in the epoch, which is part of a checkpoint.

    The batches of all processes in one step are together one slice of the epoch's permutation. An incomplete last slice
    is left out.
    """

    def __init__(self, size: int, batch_size: int, *, seed: int, rank: int = 0, world: int = 1) -> None:
        """size: rows of the split; batch_size: rows of a batch on one process; rank, world: number of this process and
        number of processes.
        """
        self.size, self.batch_size, self.seed, self.rank, self.world = size, batch_size, seed, rank, world
        self.epoch = 0
        self.batches_done = 0
        """Number of batches of the epoch that have been handed out."""
        self.replaced_rows = 0
        """Number of this process's rows that were replaced because their pictures could no longer be read.
        `TrainLoader` counts them.
        """

    def __len__(self) -> int:
        """Returns the number of batches of a whole epoch, whatever the position in it."""
        return self.size // (self.batch_size * self.world)

    def __iter__(self) -> Iterator[BatchRows]:
        """Yields the batches of the epoch that have not been handed out."""
        order, step = epoch_order(self.size, self.seed, self.epoch), self.batch_size * self.world
        for batch in range(self.batches_done, len(self)):
            first = batch * step + self.rank * self.batch_size
            yield BatchRows(self.epoch, order[first : first + self.batch_size])

    def set_epoch(self, epoch: int) -> None:
        """Moves to the start of `epoch`, but keeps the position if it is the current epoch. Lightning calls this before
        each epoch.
        """
        if epoch != self.epoch:
            self.epoch, self.batches_done = epoch, 0

    def begin(self) -> None:
        """Moves to the next epoch if all batches of the current one have been handed out."""
        if self.batches_done >= len(self):
            self.set_epoch(self.epoch + 1)

    def state_dict(self) -> dict[str, int]:
        """Returns the epoch, and the number of its batches that have been handed out."""
        return {"epoch": self.epoch, "taken": self.batches_done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Moves to the position that `state_dict` returned."""
        self.epoch, self.batches_done = state["epoch"], state["taken"]
