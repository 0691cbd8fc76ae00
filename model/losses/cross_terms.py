"""One sum over features for every cell of a line, in tiles, with the way back. The only costs that grow with B * B * F.

Shapes: B rows, F features, T rows of a tile.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


def row_blocks(size: int, step: int) -> Iterator[slice]:
    """Slices of at most `step` that cover 0 … size - 1."""
    for start in range(0, size, step):
        yield slice(start, min(start + step, size))


class Gradients:
    """Sums of gradients by tensor; one tensor may take part in many cross_terms."""

    def __init__(self, places: Mapping[int, Tensor] | None = None) -> None:
        """places: id of a tensor -> memory for its gradient, with any content."""
        self.by_tensor: dict[int, tuple[Tensor, Tensor]] = {}
        self._places = places or {}

    def of(self, tensor: Tensor) -> Tensor:
        """The sum so far, to be added to in place."""
        if id(tensor) not in self.by_tensor:
            place = self._places.get(id(tensor))
            self.by_tensor[id(tensor)] = (
                tensor,
                torch.zeros_like(tensor, requires_grad=False) if place is None else place.zero_(),
            )
        return self.by_tensor[id(tensor)][1]

    def add_product(self, tensor: Tensor, rows: slice, left: Tensor, right: Tensor) -> None:
        """Adds left @ right to the gradient of some rows of a tensor; the first that covers it whole is not added to
        zeros.
        """
        if id(tensor) not in self.by_tensor and len(left) == len(tensor):
            self.by_tensor[id(tensor)] = tensor, torch.mm(left, right, out=self._places.get(id(tensor)))
        else:
            self.of(tensor)[rows].addmm_(left, right)

    def take(self, tensor: Tensor) -> Tensor | None:
        """The sum, once; None after that."""
        return self.by_tensor.pop(id(tensor), (tensor, None))[1]

    def pull_to(self, leaves: Sequence[Tensor]) -> list[Tensor | None]:
        """Back through the graphs that made the tensors, to `leaves`; None where nothing arrives."""
        kept = [(tensor, grad) for tensor, grad in self.by_tensor.values() if tensor.requires_grad]
        if not kept:  # no score depends on a view
            return [None] * len(leaves)
        tensors, grads = zip(*kept, strict=True)
        return list(torch.autograd.grad(tensors, leaves, grads, allow_unused=True))


@dataclass(frozen=True)
class Cells:
    """Values of a cross in a tile, and the place of their gradients: (T, B) each; flipped: (B, T), where gradients are
    added to those there.
    """

    values: Tensor
    grad: Tensor
    flipped: bool = False

    def flip(self) -> Cells:
        """The same memory, of a square tile, read the other way round."""
        return Cells(self.values, self.grad, not self.flipped)

    def rows(self, part: slice) -> Tensor:
        """Some rows of the tile."""
        return self.values[:, part].T if self.flipped else self.values[part]

    def put(self, part: slice, grad: Tensor) -> None:
        """Takes the gradient of those rows."""
        if self.flipped:
            self.grad[:, part].add_(grad.T)
        else:
            self.grad[part].copy_(grad)


class CrossTerm(ABC):
    """A quantity with one value per row i and candidate c."""

    @property
    @abstractmethod
    def operands(self) -> tuple[Tensor, ...]:
        """The tensors that the values depend on."""

    @abstractmethod
    def cells(self, rows: slice, out: Tensor | None = None) -> Tensor:
        """Values (T, B) for a slice of rows, outside autograd; `out`: memory that may be used for them."""

    @abstractmethod
    def pull(self, rows: slice, grad: Tensor, sums: Gradients) -> None:
        """Adds to `sums` what the gradient of those values, (T, B), means for the operands."""


@dataclass(frozen=True)
class Product(CrossTerm):
    """rows[i] . cols[c]; both (B, F)."""

    rows: Tensor
    cols: Tensor

    @property
    def operands(self) -> tuple[Tensor, ...]:
        return self.rows, self.cols

    def cells(self, rows: slice, out: Tensor | None = None) -> Tensor:
        return torch.mm(self.rows.detach()[rows], self.cols.detach().T, out=out)

    def pull(self, rows: slice, grad: Tensor, sums: Gradients) -> None:
        sums.add_product(self.rows, rows, grad, self.cols.detach())
        sums.add_product(self.cols, slice(None), grad.T, self.rows.detach()[rows])


class _AllCells(torch.autograd.Function):
    @staticmethod
    def forward(ctx, cross: CrossTerm, step: int, *operands: Tensor) -> Tensor:
        ctx.cross, ctx.step, ctx.operands = cross, step, operands
        return torch.cat([cross.cells(rows) for rows in row_blocks(len(operands[0]), step)])

    @staticmethod
    def backward(ctx, grad: Tensor):
        sums = Gradients()
        for rows in row_blocks(len(grad), ctx.step):
            ctx.cross.pull(rows, grad[rows].contiguous(), sums)
        # A tensor that is two operands gets its whole sum once.
        return None, None, *(sums.take(operand) for operand in ctx.cross.operands)


def all_cells(cross: CrossTerm, step: int = 64) -> Tensor:
    """Values (B, B) of a cross, differentiable."""
    return _AllCells.apply(cross, step, *cross.operands)
