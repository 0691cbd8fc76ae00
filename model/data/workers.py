"""Worker processes of torch's DataLoader: how they are started, and how they apply a function to many items."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

import torch
from torch.utils.data import DataLoader, Dataset

from model.interruption import leave_to_parent

Item = TypeVar("Item")
Result = TypeVar("Result")


def start_method() -> str | None:
    """Returns the start method for workers. None leaves the choice to torch. Processes of joblib's launcher have the
    start method `loky`, with which a DataLoader cannot start workers.
    """
    if multiprocessing.get_start_method(allow_none=True) != "loky":
        return None
    return "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"


def usable_cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class FunctionDataset(Dataset[Result], Generic[Item, Result]):
    """A dataset whose samples are the results of a function of `items`."""

    def __init__(self, function: Callable[[Item], Result], items: Sequence[Item]) -> None:
        self.function, self.items = function, items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Result:
        return self.function(self.items[index])


def identity(result: Result) -> Result:
    """Returns `result` unchanged. A DataLoader's own function would convert it to tensors."""
    return result


def parallel_map(
    function: Callable[[Item], Result], items: Sequence[Item], workers: int, *, pin_memory: bool = False
) -> Iterator[Result]:
    """Returns the results of `function` in the order of `items`.

    workers: number of processes that compute them, 0 for this process; they end if this process is killed.
    pin_memory: whether tensors in the results are moved to memory from which a GPU copies faster.

    Raises OSError, RuntimeError or AssertionError if processes cannot be started, and RuntimeError if one is killed.
    """
    return iter(
        DataLoader(
            FunctionDataset(function, items),
            batch_size=None,
            num_workers=workers,
            collate_fn=identity,
            multiprocessing_context=start_method() if workers else None,
            worker_init_fn=leave_to_parent,
            pin_memory=pin_memory,
            # Every iterator draws a number from this generator. It must not draw from the global one.
            generator=torch.Generator(),
        )
    )
