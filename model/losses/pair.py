"""The pair family: (B, B) scores per direction, the candidates along the last axis. Rows are always normalised.

Shapes: n views, B rows, F features.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from model.losses.score import Cross, Prepared, Score


class InnerProducts(Score):
    """Scores that are sums of inner products: direction d is the sum of rows.colsᵀ over `operands(views, d)`."""

    @abstractmethod
    def operands(self, views: Sequence[Tensor], d: int) -> list[Cross]:
        """n tensors (…, B, F) -> the operands of direction d."""

    def prepare(self, views: Tensor) -> Prepared:
        n, b, _ = views.shape
        own = views.unbind()
        matched = [sum((c.rows * c.cols).sum(-1) for c in self.operands(own, d)) for d in range(self.directions(n))]
        empty = views.new_zeros(len(matched), 0, b)
        return Prepared(torch.stack(matched), empty, empty)

    def crosses(self, views: Sequence[Tensor], d: int) -> list[Cross]:
        return self.operands(views, d)

    def line(self, products: Sequence[Tensor], rows: Tensor, cols: Tensor, n: int, features: int) -> Tensor:
        return sum(products[1:], products[0])


class Stock(InnerProducts):
    """x_1 x_2ᵀ and its transpose: ordinary CLIP (Radford et al. 2021), old calculate_lossStock."""

    def directions(self, n: int) -> int:
        return 2

    def operands(self, views: Sequence[Tensor], d: int) -> list[Cross]:
        return [Cross(views[d], views[1 - d])]
