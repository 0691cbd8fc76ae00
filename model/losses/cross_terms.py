"""Cross terms: quantities with one value for each row i and candidate c, such as x[i] . y[c].

They are the only costs of a loss that grow with B * B * F. A cross term computes its values in tiles of rows, and
propagates the gradients of a tile backward to its operands, outside autograd.

Shapes: B rows, F features, T rows of a tile.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from model.losses.numerics import Value

Kernel = TypeVar("Kernel")


def row_blocks(size: int, step: int) -> Iterator[slice]:
    """Yields slices of at most `step` rows that cover 0 … size - 1."""
    for start in range(0, size, step):
        yield slice(start, min(start + step, size))


@dataclass(frozen=True)
class Backend:
    """A value of `loss.backend`: whether compiled code or torch computes."""

    name: str
    smallest_batch: float
    """Batches of fewer rows than this are computed in torch."""
    required: bool = False
    """True if compiled code must be possible: an evaluation on another device than a CPU is refused."""

    def compiles(self, device: torch.device, rows: int) -> bool:
        """Returns whether an evaluation on a device, of so many rows, should use compiled code. Raises ValueError where
        compiled code is required and the device is not a CPU.
        """
        if self.required and device.type != "cpu":
            raise ValueError(f"views: on {device} given; accepted: cpu, where loss.backend={self.name} computes")
        return device.type == "cpu" and rows >= self.smallest_batch

    def checked(self, kernel: Kernel | None) -> Kernel | None:
        """Returns `kernel`. Raises RuntimeError for None, a kernel that could not be compiled, where compiled code is
        required.
        """
        if kernel is None and self.required:
            raise RuntimeError(f"loss.backend={self.name}: the C++ compiler cannot compile a kernel of this loss")
        return kernel


AUTO = Backend("auto", 32)  # smaller batches are not worth compiling for
EAGER = Backend("eager", math.inf)
COMPILED = Backend("compiled", 1, required=True)


class Gradients:
    """Sums of gradients with respect to operands. One tensor may be an operand of many cross terms."""

    def __init__(self, buffers: Mapping[int, Tensor] | None = None) -> None:
        """buffers: id of an operand -> memory for its gradient, with any content."""
        self._sums: dict[int, tuple[Tensor, Tensor]] = {}
        self._buffers = buffers or {}

    def total(self, operand: Tensor) -> Tensor:
        """Returns the sum so far, in the operand's shape; the caller may add to it in place."""
        if id(operand) not in self._sums:
            buffer = self._buffers.get(id(operand))
            zeros = torch.zeros_like(operand, requires_grad=False) if buffer is None else buffer.zero_()
            self._sums[id(operand)] = operand, zeros
        return self._sums[id(operand)][1]

    def add_product(self, operand: Tensor, rows: slice, left: Tensor, right: Tensor) -> None:
        """Adds left @ right to the gradient of some rows of an operand. A first product that covers all rows is
        written, not added to zeros.
        """
        if id(operand) not in self._sums and len(left) == len(operand):
            self._sums[id(operand)] = operand, torch.mm(left, right, out=self._buffers.get(id(operand)))
        else:
            self.total(operand)[rows].addmm_(left, right)

    def pop(self, operand: Tensor) -> Tensor | None:
        """Removes and returns the sum of an operand; None where there is none."""
        return self._sums.pop(id(operand), (operand, None))[1]

    def backward_to(self, leaves: Sequence[Tensor]) -> list[Tensor | None]:
        """Propagates the sums through the graphs that computed the operands. Returns the gradient with respect to each
        leaf, None where no operand depends on it.
        """
        differentiable = [(operand, grad) for operand, grad in self._sums.values() if operand.requires_grad]
        if not differentiable:  # no score depends on a view
            return [None] * len(leaves)
        operands, grads = zip(*differentiable, strict=True)
        return list(torch.autograd.grad(operands, leaves, grads, allow_unused=True))


@dataclass(frozen=True)
class Cells:
    """The values of a cross term in a tile, and memory for their gradients, (T, B) each.

    transposed: both are (B, T), and gradients are added to those already in memory instead of replacing them.
    """

    values: Tensor
    grad: Tensor
    transposed: bool = False

    def transpose(self) -> Cells:
        """Returns the same memory of a square tile with rows and candidates exchanged."""
        return Cells(self.values, self.grad, not self.transposed)

    def block(self, rows: slice) -> Cells:
        """Returns some rows of the tile, in the same memory."""
        index = (slice(None), rows) if self.transposed else (rows, slice(None))
        return Cells(self.values[index], self.grad[index], self.transposed)

    def by_row(self) -> Tensor:
        """Returns the values as (T, B)."""
        return self.values.T if self.transposed else self.values

    def write_grad(self, grad: Tensor) -> None:
        """Writes the gradient (T, B) of the values to memory."""
        if self.transposed:
            self.grad.add_(grad.T)
        else:
            self.grad.copy_(grad)


class CrossTerm(ABC):
    """A quantity with one value for each row i and candidate c, (B, B), as a function of its operands."""

    @property
    @abstractmethod
    def operands(self) -> tuple[Tensor, ...]:
        """The tensors that the values depend on, each (B, F)."""

    def on(self, backend: Backend) -> CrossTerm:
        """Returns this term, computed by a backend; terms without compiled code return themselves."""
        return self

    @abstractmethod
    def cells(self, rows: slice, out: Tensor | None = None) -> Tensor:
        """Returns the values (T, B) for a slice of rows, outside autograd. out: (T, B), may hold the result."""

    @abstractmethod
    def backward(self, rows: slice, grad: Tensor, gradients: Gradients) -> None:
        """Adds to `gradients` the gradients of the operands that follow from the gradient (T, B) of some rows."""


@dataclass(frozen=True)
class Product(CrossTerm, Generic[Value]):
    """row_operand[i] . col_operand[c]; both operands (B, F). With symbols as operands it has no values."""

    row_operand: Value
    col_operand: Value

    @property
    def operands(self: Product[Tensor]) -> tuple[Tensor, ...]:
        return self.row_operand, self.col_operand

    def cells(self: Product[Tensor], rows: slice, out: Tensor | None = None) -> Tensor:
        return torch.mm(self.row_operand.detach()[rows], self.col_operand.detach().T, out=out)

    def backward(self: Product[Tensor], rows: slice, grad: Tensor, gradients: Gradients) -> None:
        gradients.add_product(self.row_operand, rows, grad, self.col_operand.detach())
        gradients.add_product(self.col_operand, slice(None), grad.T, self.row_operand.detach()[rows])


class _AllCells(torch.autograd.Function):
    """All values (B, B) of a cross term as a function of its operands, each (B, F)."""

    @staticmethod
    def forward(ctx: Any, term: CrossTerm, step: int, *operands: Tensor) -> Tensor:
        ctx.term, ctx.step = term, step
        return torch.cat([term.cells(rows) for rows in row_blocks(len(operands[0]), step)])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        gradients = Gradients()
        for rows in row_blocks(len(grad), ctx.step):
            ctx.term.backward(rows, grad[rows].contiguous(), gradients)
        # `pop`: where one tensor is two operands, only one of them returns the sum.
        return None, None, *(gradients.pop(operand) for operand in ctx.term.operands)


def all_cells(term: CrossTerm, step: int = 64) -> Tensor:
    """Returns the values (B, B) of a cross term, differentiable, computed `step` rows at a time."""
    return _AllCells.apply(term, step, *term.operands)
