"""The rows of all processes. Shapes: n views, B rows of one process, W processes, D features."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def several_processes() -> bool:
    """Returns whether this run has more than one process, and torch has connected them."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


class _GatherRows(torch.autograd.Function):
    """Gathers the rows of all processes in the order of their ranks. torch's own differentiable gathers are private, or
    deprecated since torch 2.13.
    """

    @staticmethod
    def forward(ctx: Any, views: Tensor) -> Tensor:
        """(n, B, D) -> (n, W * B, D)."""
        gathered = [torch.empty_like(views) for _ in range(dist.get_world_size())]
        dist.all_gather(gathered, views)
        ctx.rows = views.shape[1]
        return torch.cat(gathered, dim=1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """(n, W * B, D) -> (n, B, D): the gradient with respect to the rows of this process."""
        # Each process computes a loss from the rows of all processes: the gradients of these losses are summed.
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[:, dist.get_rank() * ctx.rows :][:, : ctx.rows]


def gather_views(views: Tensor) -> Tensor:
    """Gathers the views of all processes, differentiable: (n, B, D) -> (n, W * B, D).

    Every process must hold the same number of rows. Once the gradients of the parameters are averaged over the
    processes, they equal those of one process with the large batch.
    """
    return _GatherRows.apply(views.contiguous()) if several_processes() else views


def gather_rows(views: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Gathers (n, B, D) views and their (B,) indices of all processes, without gradient; processes may hold different
    numbers of rows.
    """
    if not several_processes():
        return views, indices
    gathered: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, (views, indices))
    return torch.cat([rows for rows, _ in gathered], dim=1), torch.cat([numbers for _, numbers in gathered])
