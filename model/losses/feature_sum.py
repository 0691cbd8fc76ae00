"""Sums over features of a function of a row and a candidate, the cross of the elementwise family.

Shapes: B rows, F features, T rows of a tile.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from model.losses.crosses import Cross, Gradients, row_blocks
from model.losses.integrands import Integrand

# Numbers of a (rows, candidates, F) tile of the eager evaluation: it stays in a core's cache.
EAGER_TILE = 1 << 18


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

    def cells(self, rows: slice) -> Tensor:
        v, u, y = (x.detach() for x in self.operands)
        out = v.new_empty(rows.stop - rows.start, len(y))
        anchor = self.integrand.value(v[rows], y[rows] - u[rows])
        for part, cols in self._tiles(rows):
            i = slice(rows.start + part.start, rows.start + part.stop)
            values = self.integrand.value(v[i].unsqueeze(1), y[cols] - u[i].unsqueeze(1))
            torch.sum(values.sub_(anchor[part].unsqueeze(1)), dim=-1, out=out[part, cols])
        return out

    def pull(self, rows: slice, grad: Tensor, sums: Gradients) -> None:
        v, u, y = (x.detach() for x in self.operands)
        d_v, d_u, d_y = (sums.of(x) for x in self.operands)
        for part, cols in self._tiles(rows):
            i = slice(rows.start + part.start, rows.start + part.stop)
            by_v, by_t = self.integrand.slopes(v[i].unsqueeze(1), y[cols] - u[i].unsqueeze(1))
            weight = grad[part, cols].unsqueeze(2)
            d_v[i] += (by_v * weight).sum(1)
            by_t = by_t * weight
            d_u[i] -= by_t.sum(1)
            d_y[cols] += by_t.sum(0)

    def _tiles(self, rows: slice):
        """Blocks of the tile's rows and of the candidates, square as far as they go."""
        side = max(1, int((EAGER_TILE / self.y.shape[1]) ** 0.5))
        for part in row_blocks(rows.stop - rows.start, side):
            for cols in row_blocks(len(self.y), side):
                yield part, cols
