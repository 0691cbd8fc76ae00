"""Loaders over whole batches, the same with any number of workers. Nothing here draws from the global random
generators.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

import torch

from model.data.batch import Batch
from model.data.dataset import BatchDataset, Lost
from model.data.sampler import EpochSampler, Rows
from model.data.workers import mapped
from model.errors import RunFailed
from model.launch import first_process

log = logging.getLogger(__name__)


def prepared(batches: BatchDataset, rows: Iterable[Rows], num_workers: int) -> Iterator[Batch]:
    """The batches of `rows`, made in this process or in `num_workers` others. Raises RunFailed where pictures can no
    longer be read.
    """
    for batch in mapped(batches.__getitem__, list(rows), num_workers, pin_memory=torch.cuda.is_available()):
        if isinstance(batch, Lost):
            raise failure(batch, batches.split)
        yield batch


def failure(lost: Lost, split: str) -> RunFailed:
    """The error for a split whose pictures can no longer be read. Processes other than the first log the reason, as
    only the first prints errors.
    """
    more = f" ({lost.count} such pictures in this batch)" if lost.count > 1 else ""
    reason = f"{split}: {lost.reason}{more}, but was readable when the run began"
    if not first_process():
        log.error("%s", reason)
    return RunFailed(f"{reason}\nrestore the files and continue the run, or start a new run without these files")


class OrderedLoader:
    """The same batches in the same order every time."""

    def __init__(self, batches: BatchDataset, rows: list[Rows], num_workers: int) -> None:
        self._batches, self._rows, self._num_workers = batches, rows, num_workers

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Batch]:
        return prepared(self._batches, self._rows, self._num_workers)


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
        # As a generator, this reads the epoch when the first batch is asked for: Lightning makes the iterator before it
        # sets the epoch.
        self.sampler.begin()
        rows = list(self.sampler)
        for wanted, batch in zip(rows, prepared(self._batches, rows, self._num_workers), strict=True):
            self.sampler.taken += 1
            self.sampler.replaced += int((batch.indices.numpy() != wanted.indices).sum())
            yield batch

    def state_dict(self) -> dict[str, int]:
        """The epoch, and how many of its batches have been handed out."""
        return self.sampler.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continues at the place that `state_dict` recorded."""
        self.sampler.load_state_dict(state)
