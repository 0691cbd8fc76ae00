"""Worker processes of torch's DataLoader: how they are started, and how they apply a function to pieces of work."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

import torch
from torch.utils.data import DataLoader

from model.interruption import leave_to_parent

Piece, Result = TypeVar("Piece"), TypeVar("Result")


def start_method() -> str | None:
    """The start method for workers; None leaves the choice to torch. Processes of joblib's launcher have the start
    method `loky`, with which a DataLoader cannot start workers.
    """
    if multiprocessing.get_start_method(allow_none=True) != "loky":
        return None
    return "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Mapped(Generic[Piece, Result]):
    """A dataset whose items are the results of a function for pieces of work."""

    def __init__(self, function: Callable[[Piece], Result], pieces: Sequence[Piece]) -> None:
        self.function, self.pieces = function, pieces

    def __len__(self) -> int:
        return len(self.pieces)

    def __getitem__(self, index: int) -> Result:
        return self.function(self.pieces[index])


def unchanged(result: Result) -> Result:
    """`result` as it is, where a DataLoader would convert it to tensors."""
    return result


def mapped(
    function: Callable[[Piece], Result], pieces: Sequence[Piece], workers: int, *, pin_memory: bool = False
) -> Iterator[Result]:
    """The results of `function` in the order of `pieces`, computed in this process (0) or by `workers` others, which
    end when this process is killed.

    pin_memory: whether tensors in the results are put into memory from which a GPU copies faster.

    Raises OSError, RuntimeError or AssertionError where processes cannot be started, and RuntimeError where one is
    killed.
    """
    return iter(
        DataLoader(
            Mapped(function, pieces),
            batch_size=None,
            num_workers=workers,
            collate_fn=unchanged,
            multiprocessing_context=start_method() if workers else None,
            worker_init_fn=leave_to_parent,
            pin_memory=pin_memory,
            # Every iterator draws a number from it, which must not come from the global generator.
            generator=torch.Generator(),
        )
    )
