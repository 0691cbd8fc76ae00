"""The product family: scores that are functions of the multilinear inner product sum_z prod_k x_k[z].

Along line a the product of the other views is fixed, so a direction costs one (B, F) by (F, B) product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from itertools import accumulate
from operator import mul

import torch
from torch import Tensor

from model.losses.cross_terms import Product
from model.losses.numerics import Value
from model.losses.score import RowStats, RowSumScore, TupleScore


def einsum(product: Tensor) -> Tensor:
    """sum_z prod_k x_k[z] (old logitsversion 0). Any shape; of unit rows at most 1."""
    return product


def stable_einsum(product: Tensor) -> Tensor:
    """`einsum` clamped to ±100 (old StableLossFunctions). The rows are normalised, so the clamp is never active."""
    return einsum(product).clamp(-100, 100)


class ProductScore(RowSumScore, TupleScore):
    """`formula` maps the multilinear inner product to the score."""

    def __init__(self, formula: Callable[[Tensor], Tensor]):
        self.formula = formula

    def row_sums(self, views: Sequence[Value]) -> list[Value]:
        return [reduce(mul, views)]

    def from_sums(self, sums: Tensor, n: int, features: int) -> RowStats:
        return RowStats(self.formula(sums[0]).expand(n, -1), *[sums.new_zeros(n, 0, sums.shape[1])] * 2)

    def cross_terms(self, views: Sequence[Value]) -> Iterator[list[Product[Value]]]:
        for product, view in zip(leave_one_out(views), views, strict=True):
            yield [Product(product, view)]

    def line(
        self, cells: Sequence[Value], rows: Sequence[Value], cols: Sequence[Value], n: int, features: Value | int
    ) -> Value:
        return self.formula(cells[0])

    def dense(self, views: Sequence[Tensor]) -> Tensor:
        rest = views[0]
        for view in views[1:-1]:
            rest = rest.unsqueeze(-2) * view
        return self.formula(torch.matmul(rest, views[-1].T))

    def dense_width(self, n: int, features: int) -> int:
        return 2 * features + 8


def leave_one_out(factors: Sequence[Value]) -> list[Value]:
    """For each factor the product of the others, in 3 (n - 2) multiplications and without a division."""
    before = list(accumulate(factors[:-1], mul))
    after = list(accumulate(reversed(factors[1:]), mul))[::-1]
    return [after[0], *map(mul, before[:-1], after[1:]), before[-1]]
