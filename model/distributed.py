"""Rows of all processes, in one process as it stands. Shapes: n views, B rows a process, W processes, D features."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def several_processes() -> bool:
    """Whether this run has more than one."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


class _GatherRows(torch.autograd.Function):
    """The rows of all processes, in the order of their ranks. torch's own differentiable gathers are private, or
    deprecated since torch 2.13.
    """

    @staticmethod
    def forward(ctx, views: Tensor) -> Tensor:
        parts = [torch.empty_like(views) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, views)
        ctx.rows = views.shape[1]
        return torch.cat(parts, dim=1)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        # Every process has a loss, which depends on the rows of all: their gradients are summed.
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[:, dist.get_rank() * ctx.rows :][:, : ctx.rows]


def gather_views(views: Tensor) -> Tensor:
    """(n, B, D) -> (n, W * B, D), differentiable: after the mean of gradients over processes, each parameter's is that
    of one large batch.

    Every process must hold the same number of rows.
    """
    return _GatherRows.apply(views.contiguous()) if several_processes() else views


def gather_rows(views: Tensor, indices: Tensor) -> tuple[Tensor, Tensor]:
    """(n, B, D) views and their (B,) indices of every process, without gradient; processes may hold different numbers
    of rows.
    """
    if not several_processes():
        return views, indices
    parts: list = [None] * dist.get_world_size()
    dist.all_gather_object(parts, (views, indices))
    return torch.cat([part[0] for part in parts], dim=1), torch.cat([part[1] for part in parts])
