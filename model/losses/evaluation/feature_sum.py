"""Sums over features of a function of a row and a candidate, the cross of the elementwise family.

Shapes: B rows, F features, T rows of a tile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from model.losses.compiled.feature_kernel import FeatureKernel, feature_kernel
from model.losses.cross_terms import CrossTerm, Gradients, row_blocks
from model.losses.integrands import Integrand

# Numbers of a (rows, candidates, F) tile of the eager evaluation: it stays in a core's cache.
EAGER_TILE = 1 << 17
# Batches from this size on are worth compiling for.
NATIVE_ROWS = 32


@dataclass(frozen=True)
class FeatureSum(CrossTerm):
    """sum_z integrand(numbers of row i, numbers of candidate c) minus its value at c = i; rows and cols are (B, F)
    each.

    The value at c = i is taken off feature by feature, so that a sum of hundreds of numbers keeps the digits of its
    differences. It is a constant here: the caller adds the exact one.
    """

    integrand: Integrand
    rows: tuple[Tensor, ...]
    cols: tuple[Tensor, ...]

    @property
    def operands(self) -> tuple[Tensor, ...]:
        return *self.rows, *self.cols

    def kernel(self) -> FeatureKernel | None:
        """The compiled loops, on CPUs and for batches that are worth it."""
        worth = self.cols[0].device.type == "cpu" and len(self.cols[0]) >= NATIVE_ROWS
        return feature_kernel(self.integrand, len(self.rows), len(self.cols)) if worth else None

    def values(self) -> tuple[list[Tensor], list[Tensor]]:
        """Rows and cols as numbers alone."""
        return [x.detach().contiguous() for x in self.rows], [x.detach().contiguous() for x in self.cols]

    def cells(self, rows: slice, out: Tensor | None = None) -> Tensor:
        own, cols = self.values()
        kernel = self.kernel()
        if kernel is not None:
            return kernel.cells([x[rows] for x in own], cols, rows.start)
        out = own[0].new_empty(rows.stop - rows.start, len(cols[0]))
        anchor = self.integrand(*(x[rows] for x in (*own, *cols)))
        for i, part, c in self._tiles(rows):
            values = self.integrand(*(x[i].unsqueeze(1) for x in own), *(x[c] for x in cols))
            torch.sum(values - anchor[part].unsqueeze(1), dim=-1, out=out[part, c])
        return out

    def pull(self, rows: slice, grad: Tensor, sums: Gradients) -> None:
        own, cols = self.values()
        d_own, d_cols = [sums.of(x) for x in self.rows], [sums.of(x) for x in self.cols]
        kernel = self.kernel()
        if kernel is not None:
            kernel.pull([x[rows] for x in own], cols, grad, [x[rows] for x in d_own], d_cols)
            return
        for i, part, c in self._tiles(rows):
            leaves = [x.requires_grad_() for x in (*(x[i].unsqueeze(1) for x in own), *(x[c] for x in cols))]
            with torch.enable_grad():
                total = self.integrand(*leaves).sum(-1)
            made = torch.autograd.grad(total, leaves, grad[part, c])
            for d_x, by_x in zip(d_own, made, strict=False):
                d_x[i] += by_x.squeeze(1)
            for d_x, by_x in zip(d_cols, made[len(own) :], strict=True):
                d_x[c] += by_x

    def _tiles(self, rows: slice) -> Iterator[tuple[slice, slice, slice]]:
        """Blocks of the tile's rows, in the batch and in the tile, and of the candidates, square as far as they go."""
        size, features = self.cols[0].shape
        side = max(1, int((EAGER_TILE / features) ** 0.5))
        for part in row_blocks(rows.stop - rows.start, side):
            for cols in row_blocks(size, side):
                yield slice(rows.start + part.start, rows.start + part.stop), part, cols
