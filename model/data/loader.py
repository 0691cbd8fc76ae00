"""Loaders of whole batches. The batches do not depend on the number of workers, and no number is drawn from a global
random generator.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

import torch

from model.data.batch import Batch
from model.data.dataset import BatchDataset, UnreadableBatch
from model.data.sampler import BatchRows, EpochSampler
from model.data.workers import parallel_map
from model.errors import RunFailed
from model.launch import first_process

log = logging.getLogger(__name__)


def load_batches(dataset: BatchDataset, rows: Iterable[BatchRows], num_workers: int) -> Iterator[Batch]:
    """Yields the batches of `rows`, made in this process (0) or in `num_workers` others. Raises RunFailed if pictures
    can no longer be read.
    """
    pin_memory = torch.cuda.is_available()
    requests = list(rows)
    # No variable holds the iterator: an error would keep the variable, and so the workers, for 20 seconds or for ever.
    for request, batch in zip(
        requests, parallel_map(dataset.__getitem__, requests, num_workers, pin_memory=pin_memory), strict=True
    ):
        if isinstance(batch, UnreadableBatch):
            raise failure(batch, dataset.split)
        if num_workers:
            dataset.remember_captions(request.epoch, batch)
        yield batch


def failure(batch: UnreadableBatch, split: str) -> RunFailed:
    """Returns the error for a split whose pictures can no longer be read. Processes other than the first also log the
    reason, because only the first process prints errors.
    """
    more = f" ({batch.files} such pictures in this batch)" if batch.files > 1 else ""
    reason = f"{split}: {batch.reason}{more}, but was readable when the run began"
    if not first_process():
        log.error("%s", reason)
    return RunFailed(f"{reason}\nrestore the files and continue the run, or start a new run without these files")


class OrderedLoader:
    """Loads the same batches in the same order every time."""

    def __init__(self, dataset: BatchDataset, rows: list[BatchRows], num_workers: int) -> None:
        self._dataset, self._rows, self._num_workers = dataset, rows, num_workers

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Batch]:
        return load_batches(self._dataset, self._rows, self._num_workers)


class TrainLoader:
    """Loads the batches of an epoch, and knows the position in it. Lightning saves `state_dict` in its checkpoints and
    passes it to `load_state_dict`.

    The position counts batches that were handed out, without those that workers have only prepared.
    """

    def __init__(self, dataset: BatchDataset, sampler: EpochSampler, num_workers: int) -> None:
        # Lightning calls `sampler.set_epoch` before every epoch.
        self._dataset, self.sampler, self._num_workers = dataset, sampler, num_workers

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        """Yields the remaining batches of the epoch, or those of the next epoch if none remain."""
        # A generator reads the epoch when the first batch is requested. Lightning makes the iterator before it sets
        # the epoch.
        self.sampler.begin()
        rows = list(self.sampler)
        for requested, batch in zip(rows, load_batches(self._dataset, rows, self._num_workers), strict=True):
            self.sampler.batches_done += 1
            self.sampler.replaced_rows += int((batch.indices.numpy() != requested.indices).sum())
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Returns the epoch, and the number of its batches that have been handed out."""
        return self.sampler.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continues at the position that `state_dict` returned."""
        self.sampler.load_state_dict(state)
