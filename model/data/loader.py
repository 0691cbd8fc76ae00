"""Loaders that know where they are: Lightning stores their state with a checkpoint and a continued run gets the batches that were due."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch.utils.data import DataLoader

from model.data.batch import Batch

MakeBatch = Callable[[int, list[int]], Batch]
"""(epoch, indices) -> batch."""


class Rows:
    """A dataset whose item is a whole batch: workers make batches, the order comes from outside."""

    def __init__(self, make: MakeBatch) -> None:
        self.make = make

    def __getitem__(self, key: tuple[int, list[int]]) -> Batch:
        return self.make(*key)


class BatchLoader:
    """Iterates over the batches of an epoch, in this process or in workers; the batches are the same.

    `batches(epoch, start)` gives the indices of an epoch's batches from the `start`-th on, `length` their number in a whole epoch.
    """

    def __init__(self, make: MakeBatch, batches: Callable[[int, int], Iterator[list[int]]], length: int, num_workers: int, pin: bool) -> None:
        self.make, self.batches, self.length = make, batches, length
        self.num_workers, self.pin = num_workers, pin
        self.epoch, self.done = 0, 0

    def __len__(self) -> int:
        return self.length

    def state_dict(self) -> dict[str, int]:
        """The epoch, and how many of its batches have been handed out (not: prepared)."""
        return {"epoch": self.epoch, "done": self.done}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Goes on where `state_dict` was taken."""
        self.epoch, self.done = state["epoch"], state["done"]

    def __iter__(self) -> Iterator[Batch]:
        # Whoever iterates may stop at the last batch without asking for one more, so the epoch ends with handing that one out.
        epoch, start = self.epoch, self.done
        keys = [(epoch, indices) for indices in self.batches(epoch, start)]
        workers = DataLoader(
            Rows(self.make), sampler=keys, batch_size=None, num_workers=self.num_workers, pin_memory=self.pin, generator=torch.Generator()
        )
        for batch in workers:
            self.done += 1
            if self.done >= self.length:
                self.epoch, self.done = epoch + 1, 0
            yield batch
