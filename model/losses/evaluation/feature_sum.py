"""Sums over features of a function of a row and a candidate, the cross terms of the elementwise family.

Shapes: B rows, F features, T rows of a tile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic

import torch
from torch import Tensor

from model.losses.compiled.feature_kernel import FeatureKernel, feature_kernel
from model.losses.cross_terms import AUTO, Backend, Gradients, SymbolicTerm, row_blocks
from model.losses.inductor.compile import fuses
from model.losses.inductor.feature_function import FeatureFunctions, feature_functions
from model.losses.integrands import Integrand
from model.losses.numerics import Value

# Elements of a (rows, candidates, F) block of the eager evaluation on a CPU, which stays in a core's cache, and the
# bytes that an element takes elsewhere in all tensors of the forward and the backward.
EAGER_BLOCK = 1 << 17
ELEMENT_BYTES = 64


@dataclass(frozen=True)
class FeatureSum(SymbolicTerm, Generic[Value]):
    """sum_z integrand(row operands at i, candidate operands at c) minus its value at c = i; operands are (B, F) each.

    The value at c = i is subtracted feature by feature, so that differences of large sums keep their digits. It has no
    gradient here: the score adds the exact value at c = i as a statistic of the row.
    """

    integrand: Integrand
    row_operands: tuple[Value, ...]
    col_operands: tuple[Value, ...]
    backend: Backend = AUTO
    budget: int = 0
    """Bytes of a block of the eager evaluation on other devices than a CPU."""

    def on(self, backend: Backend, budget: int) -> FeatureSum[Value]:
        return replace(self, backend=backend, budget=budget)

    @property
    def operands(self) -> tuple[Value, ...]:
        return self.row_operands + self.col_operands

    def of(self, operands: Sequence[Any]) -> FeatureSum[Any]:
        count = len(self.row_operands)
        return FeatureSum(self.integrand, tuple(operands[:count]), tuple(operands[count:]), self.backend)

    def cells(self: FeatureSum[Tensor], rows: slice, out: Tensor | None = None) -> Tensor:
        row, col = self._values()
        kernel = self._kernel()
        if kernel is not None:
            return kernel.cells(_at(rows, row), col, rows.start)
        functions = self._functions()
        if functions is not None:
            return functions.sums(row, col, rows)
        out = row[0].new_empty(rows.stop - rows.start, len(col[0]))
        anchor = self.integrand(*_at(rows, row), *_at(rows, col))
        for i, t, c in self._blocks(rows):
            values = self.integrand(*_block(row, col, i, c))
            torch.sum(values - anchor[t].unsqueeze(1), dim=-1, out=out[t, c])
        return out

    def backward(self: FeatureSum[Tensor], rows: slice, grad: Tensor, gradients: Gradients) -> None:
        row, col = self._values()
        functions = self._functions()
        if functions is not None:
            self._add(gradients, rows, functions.gradients(row, col, rows, grad))
            return
        d_row, d_col = ([gradients.total(x) for x in side] for side in (self.row_operands, self.col_operands))
        kernel = self._kernel()
        if kernel is not None:
            kernel.backward(_at(rows, row), col, grad, _at(rows, d_row), d_col)
            return
        for i, t, c in self._blocks(rows):
            leaves = [x.requires_grad_() for x in _block(row, col, i, c)]
            with torch.enable_grad():
                total = self.integrand(*leaves).sum(-1)
            grads = torch.autograd.grad(total, leaves, grad[t, c])
            for d_x, block_grad in zip(d_row, grads, strict=False):
                d_x[i] += block_grad.squeeze(1)
            for d_x, block_grad in zip(d_col, grads[len(row) :], strict=True):
                d_x[c] += block_grad

    def _kernel(self: FeatureSum[Tensor]) -> FeatureKernel | None:
        """Returns the compiled loops, where the backend uses them."""
        operand, counts = self.col_operands[0], (len(self.row_operands), len(self.col_operands))
        if not self.backend.compiles(operand.device):
            return None
        return self.backend.checked(feature_kernel(self.integrand, *counts, operand.dtype))

    def _functions(self: FeatureSum[Tensor]) -> FeatureFunctions | None:
        """Returns the functions of torch.compile, where the backend uses them."""
        if not fuses(self.backend, self.col_operands[0].device):
            return None
        return feature_functions(self.integrand, len(self.row_operands), len(self.col_operands))

    def _add(self: FeatureSum[Tensor], gradients: Gradients, rows: slice, grads: Sequence[Tensor]) -> None:
        """Adds the gradients of all operands, those of row operands for some rows."""
        for k, (x, grad) in enumerate(zip(self.operands, grads, strict=True)):
            gradients.add(x, rows if k < len(self.row_operands) else slice(None), grad)

    def _values(self: FeatureSum[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Returns the operands outside autograd, contiguous."""
        row, col = ([x.detach().contiguous() for x in side] for side in (self.row_operands, self.col_operands))
        return row, col

    def _blocks(self: FeatureSum[Tensor], rows: slice) -> Iterator[tuple[slice, slice, slice]]:
        """Yields blocks that cover a tile: rows of the batch, the same rows of the tile, candidates."""
        operand, (size, features) = self.col_operands[0], self.col_operands[0].shape
        elements = EAGER_BLOCK if operand.device.type == "cpu" else self.budget // ELEMENT_BYTES
        side = max(1, int((elements / features) ** 0.5))
        for t in row_blocks(rows.stop - rows.start, side):
            for c in row_blocks(size, side):
                yield slice(rows.start + t.start, rows.start + t.stop), t, c


def _block(row: Sequence[Tensor], col: Sequence[Tensor], i: slice, c: slice) -> list[Tensor]:
    """Returns some rows and some candidates of the operands, which broadcast to (rows, candidates, F)."""
    return [*(x[i].unsqueeze(1) for x in row), *(x[c] for x in col)]


def _at(rows: slice, operands: Sequence[Tensor]) -> list[Tensor]:
    """Returns some rows of operands."""
    return [x[rows] for x in operands]
