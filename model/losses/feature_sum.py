"""Sums over features of a function of a row and a candidate, the cross of the elementwise family.

Shapes: B rows, F features, T rows of a tile.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from model.losses.crosses import Cross, Gradients, row_blocks
from model.losses.feature_kernel import FeatureKernel, feature_kernel
from model.losses.integrands import Integrand

# Numbers of a (rows, candidates, F) tile of the eager evaluation: it stays in a core's cache.
EAGER_TILE = 1 << 17
# Batches from this size on are worth compiling for.
NATIVE_ROWS = 48


@dataclass(frozen=True)
class FeatureSum(Cross):
    """sum_z integrand(v[i, z], y[c, z] - u[i, z]) minus its value at c = i; v, u and y are (B, F).

    The value at c = i is taken off feature by feature, so that a sum of hundreds of numbers keeps the digits of its
    differences. It is a constant here: the caller adds the exact one.
    """

    integrand: Integrand
    v: Tensor
    u: Tensor
    y: Tensor

    @property
    def operands(self) -> tuple[Tensor, ...]:
        return self.v, self.u, self.y

    def kernel(self) -> FeatureKernel | None:
        """The compiled loops, on CPUs and for batches that are worth it."""
        return feature_kernel(self.integrand) if self.y.device.type == "cpu" and len(self.y) >= NATIVE_ROWS else None

    def cells(self, rows: slice) -> Tensor:
        v, u, y = (x.detach().contiguous() for x in self.operands)
        kernel = self.kernel()
        if kernel is not None:
            return kernel.cells(v[rows], u[rows], y, rows.start)
        out = v.new_empty(rows.stop - rows.start, len(y))
        anchor = self.integrand(v[rows], y[rows] - u[rows])
        for i, part, cols in self._tiles(rows):
            values = self.integrand(v[i].unsqueeze(1), y[cols] - u[i].unsqueeze(1))
            torch.sum(values - anchor[part].unsqueeze(1), dim=-1, out=out[part, cols])
        return out

    def pull(self, rows: slice, grad: Tensor, sums: Gradients) -> None:
        v, u, y = (x.detach().contiguous() for x in self.operands)
        d_v, d_u, d_y = (sums.of(x) for x in self.operands)
        kernel = self.kernel()
        if kernel is not None:
            kernel.pull(v[rows], u[rows], y, grad, d_v[rows], d_u[rows], d_y)
            return
        for i, part, cols in self._tiles(rows):
            leaves = [x.requires_grad_() for x in (v[i].unsqueeze(1), u[i].unsqueeze(1), y[cols])]
            with torch.enable_grad():
                total = self.integrand(leaves[0], leaves[2] - leaves[1]).sum(-1)
            by_v, by_u, by_y = torch.autograd.grad(total, leaves, grad[part, cols], allow_unused=True)
            if by_v is not None:
                d_v[i] += by_v.squeeze(1)
            d_u[i] += by_u.squeeze(1)
            d_y[cols] += by_y

    def _tiles(self, rows: slice) -> Iterator[tuple[slice, slice, slice]]:
        """Blocks of the tile's rows, in the batch and in the tile, and of the candidates, square as far as they go."""
        side = max(1, int((EAGER_TILE / self.y.shape[1]) ** 0.5))
        for part in row_blocks(rows.stop - rows.start, side):
            for cols in row_blocks(len(self.y), side):
                yield slice(rows.start + part.start, rows.start + part.stop), part, cols
