"""The threads of torch while the side process of the run computes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from model.side_process import SideProcess


@contextmanager
def a_core_left_to(side: SideProcess) -> Iterator[None]:
    """Lets torch use one thread less within the block if the side process runs. With more threads than cores, the
    threads of an operation wait for each other much longer than they compute.
    """
    threads = torch.get_num_threads()
    if side.is_running:
        torch.set_num_threads(max(1, threads - 1))
    try:
        yield
    finally:
        torch.set_num_threads(threads)
