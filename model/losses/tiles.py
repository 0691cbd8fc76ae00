"""Tiles of a direction: inner products of a block of rows with all candidates, and the gradients they send back.

Shapes: B rows, F features, T rows of a tile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from model.losses.score import Cross

# Cells of a block that stays in a core's cache through the formula's elementwise passes (float64).
CACHED_CELLS = 1 << 16


def row_blocks(size: int, step: int) -> Iterator[slice]:
    """Slices of at most `step` that cover 0 … size - 1."""
    for start in range(0, size, step):
        yield slice(start, min(start + step, size))


class Gradients:
    """Sums of gradients by tensor; a tensor may take part in many products."""

    def __init__(self) -> None:
        self.by_tensor: dict[int, tuple[Tensor, Tensor]] = {}

    def of(self, tensor: Tensor) -> Tensor:
        """The sum so far, in place."""
        if id(tensor) not in self.by_tensor:
            self.by_tensor[id(tensor)] = tensor, torch.zeros_like(tensor, requires_grad=False)
        return self.by_tensor[id(tensor)][1]

    def pull_to(self, leaves: Sequence[Tensor]) -> list[Tensor]:
        """Back through the graph that made the tensors, to `leaves`."""
        tensors, grads = zip(*self.by_tensor.values(), strict=True)
        return list(torch.autograd.grad(tensors, leaves, grads, allow_unused=True))


def products(crosses: Sequence[Cross], rows: slice) -> list[Tensor]:
    """(T, B) for each cross."""
    return [cross.rows[rows].detach() @ cross.cols.detach().T for cross in crosses]


def pull_products(crosses: Sequence[Cross], rows: slice, grads: Sequence[Tensor], sums: Gradients) -> None:
    """Adds what `grads`, (T, B) for each cross, mean for the operands."""
    for cross, grad in zip(crosses, grads, strict=True):
        sums.of(cross.rows)[rows].addmm_(grad, cross.cols.detach())
        sums.of(cross.cols).addmm_(grad.T, cross.rows[rows].detach())
