"""Cross terms: quantities with one value for each row i and candidate c, such as x[i] . y[c].

They are the only costs of a loss that grow with B * B * F. A cross term computes its values in tiles of rows, and
propagates the gradients of a tile backward to its operands, outside autograd.

Shapes: B rows, F features, T rows of a tile.
"""

from __future__ import annotations

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
    """A value of `loss.backend`: whether C++, torch.compile or torch computes."""

    name: str
    compiled: bool = True
    """True if C++ computes on a CPU, where that is possible."""
    fused: bool = False
    """True if torch.compile computes where C++ does not, if that is possible."""
    required: bool = False
    """True if what computes must be possible: other devices and other code are refused."""

    def compiles(self, device: torch.device) -> bool:
        """Returns whether C++ should compute on a device. Raises ValueError for C++ that is required elsewhere."""
        if self.compiled and self.required and device.type != "cpu":
            raise ValueError(f"views: on {device} given; accepted: cpu, where loss.backend={self.name} computes")
        return self.compiled and device.type == "cpu"

    def fuses(self, device: torch.device) -> bool:
        """Returns whether an evaluation on a device should use torch.compile."""
        return self.fused and not (self.compiled and device.type == "cpu")

    def checked(self, kernel: Kernel | None) -> Kernel | None:
        """Returns `kernel`. Raises RuntimeError for None, a kernel that could not be compiled, where compiled code is
        required.
        """
        if kernel is None and self.required:
            raise RuntimeError(f"loss.backend={self.name}: the C++ compiler cannot compile a kernel of this loss")
        return kernel


AUTO = Backend("auto", fused=True)
EAGER = Backend("eager", compiled=False)
COMPILED = Backend("compiled", required=True)
INDUCTOR = Backend("inductor", compiled=False, fused=True, required=True)


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

    def add(self, operand: Tensor, rows: slice, grad: Tensor) -> None:
        """Adds to the gradient of some rows of an operand. A first gradient of all rows becomes the sum itself."""
        if id(operand) not in self._sums and len(grad) == len(operand):
            self._sums[id(operand)] = operand, grad
        else:
            self.total(operand)[rows].add_(grad)

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
    """The values of a cross term in T rows of a direction, and memory for their gradients.

    The first r candidates may be turned: their cells are a part of the cells of another direction, in which rows and
    candidates are exchanged.
    """

    values: Tensor
    """(T, B - r), of the candidates r … B - 1."""
    grad: Tensor
    """(T, B - r); gradients are written to it. It may be the memory of `values`."""
    turned: Tensor | None = None
    """(r, T), of the candidates 0 … r - 1."""
    turned_grad: Tensor | None = None
    """(r, T); gradients are added to those in memory."""

    @property
    def turned_count(self) -> int:
        """r, the number of candidates whose cells are turned."""
        return 0 if self.turned is None else len(self.turned)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of values and gradients."""
        return self.values.dtype

    def block(self, rows: slice) -> Cells:
        """Returns some of the T rows, in the same memory."""
        turned, turned_grad = (None if x is None else x[:, rows] for x in (self.turned, self.turned_grad))
        return Cells(self.values[rows], self.grad[rows], turned, turned_grad)

    def by_row(self) -> Tensor:
        """Returns the values as (T, B)."""
        return self.values if self.turned is None else torch.cat([self.turned.T, self.values], dim=1)

    def write_grad(self, grad: Tensor) -> None:
        """Writes the gradient (T, B) of the values to memory."""
        count = self.turned_count
        if self.turned_grad is not None:
            self.turned_grad.add_(grad[:, :count].T)
        self.grad.copy_(grad[:, count:])


@dataclass(frozen=True)
class Tile:
    """The rows `rows` of some directions, whose losses count `weights` times."""

    directions: Sequence[int]
    weights: Sequence[float]
    rows: slice
    cells: Sequence[Sequence[Cells]]
    """For each direction, those of its cross terms."""


class CrossTerm(ABC):
    """A quantity with one value for each row i and candidate c, (B, B), as a function of its operands."""

    @property
    @abstractmethod
    def operands(self) -> tuple[Any, ...]:
        """What the values depend on: tensors (B, F), or symbols."""

    def on(self, backend: Backend, budget: int) -> CrossTerm:
        """Returns this term, computed by a backend in about `budget` bytes; the default is the term as it is."""
        return self

    @abstractmethod
    def cells(self, rows: slice, out: Tensor | None = None) -> Tensor:
        """Returns the values (T, B) for a slice of rows, outside autograd. out: (T, B), may hold the result."""

    @abstractmethod
    def backward(self, rows: slice, grad: Tensor, gradients: Gradients) -> None:
        """Adds to `gradients` the gradients of the operands that follow from the gradient (T, B) of some rows."""


class SymbolicTerm(CrossTerm):
    """A cross term whose operands may be symbols. It then has no values."""

    @abstractmethod
    def of(self, operands: Sequence[Any]) -> SymbolicTerm:
        """Returns the term of other operands, in the order of `operands`."""

    def on(self, backend: Backend, budget: int) -> SymbolicTerm:
        return self


@dataclass(frozen=True)
class Product(SymbolicTerm, Generic[Value]):
    """row_operand[i] . col_operand[c]; both operands (B, F)."""

    row_operand: Value
    col_operand: Value

    @property
    def operands(self: Product[Value]) -> tuple[Value, ...]:
        return self.row_operand, self.col_operand

    def of(self, operands: Sequence[Any]) -> Product[Any]:
        return Product(*operands)

    def cells(self: Product[Tensor], rows: slice, out: Tensor | None = None) -> Tensor:
        return self.cells_from(rows, 0, out)

    def cells_from(self: Product[Tensor], rows: slice, first: int, out: Tensor | None = None) -> Tensor:
        """Returns the values (T, B - first) of the candidates from `first`."""
        return torch.mm(self.row_operand.detach()[rows], self.col_operand.detach()[first:].T, out=out)

    def backward(self: Product[Tensor], rows: slice, grad: Tensor, gradients: Gradients) -> None:
        self.backward_from(rows, 0, grad, gradients)

    def backward_from(self: Product[Tensor], rows: slice, first: int, grad: Tensor, gradients: Gradients) -> None:
        """Adds the gradients that follow from those of `cells_from`, (T, B - first)."""
        gradients.add_product(self.row_operand, rows, grad, self.col_operand.detach()[first:])
        gradients.add_product(self.col_operand, slice(first, None), grad.T, self.row_operand.detach()[rows])


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
