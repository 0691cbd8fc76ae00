"""Loaders over whole batches, the same with any number of workers. Nothing here draws from the global random generators."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterable, Iterator

import torch
from torch.utils.data import DataLoader

from model.data.batch import Batch
from model.data.dataset import BatchDataset
from model.data.sampler import EpochSampler, Rows
from model.interruption import leave_to_parent


def prepared(batches: BatchDataset, rows: Iterable[Rows], num_workers: int) -> DataLoader:
    """The batches of `rows`, made in this process or in `num_workers` others."""
    return DataLoader(
        batches,
        sampler=list(rows),
        batch_size=None,
        num_workers=num_workers,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator(),  # of its own, as every iterator draws one number from it
        multiprocessing_context=start_method() if num_workers else None,
        worker_init_fn=leave_to_parent,
    )


def start_method() -> str | None:
    """The start method for workers; None leaves the choice to torch. Processes of joblib's launcher have the start method `loky`, with which a
    DataLoader cannot start workers."""
    if multiprocessing.get_start_method(allow_none=True) != "loky":
        return None
    return "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"


class OrderedLoader:
    """The same batches in the same order every time."""

    def __init__(self, batches: BatchDataset, rows: list[Rows], num_workers: int) -> None:
        self._batches, self._rows, self._num_workers = batches, rows, num_workers

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Batch]:
        return iter(prepared(self._batches, self._rows, self._num_workers))


class TrainLoader:
    """The batches of an epoch, and the place in it: Lightning keeps `state_dict` in its checkpoints and hands it back.

    The place counts batches that were handed out, not those that workers have prepared.
    """

    def __init__(self, batches: BatchDataset, sampler: EpochSampler, num_workers: int) -> None:
        # Lightning calls `sampler.set_epoch` before every epoch.
        self._batches, self.sampler, self._num_workers = batches, sampler, num_workers

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        """What is left of the epoch; the next epoch where nothing is."""
        # A generator: it looks for its place when the first batch is asked for. Lightning makes the iterator before it sets the epoch.
        self.sampler.begin()
        for batch in prepared(self._batches, self.sampler, self._num_workers):
            self.sampler.taken += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The epoch, and how many of its batches have been handed out."""
        return self.sampler.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Goes on where `state_dict` was taken."""
        self.sampler.load_state_dict(state)
