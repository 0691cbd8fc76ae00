"""The product family: scores that are functions of the multilinear inner product sum_z prod_k x_k[z].

On line a the product of the other views is fixed, so a direction costs one (B, F) by (F, B) product.
Ranges below hold for rows of length 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from itertools import accumulate
from operator import mul
from typing import Any

import torch
from torch import Tensor

from model.losses.cross_terms import Product
from model.losses.numerics import Value
from model.losses.registry import Formula, register
from model.losses.score import RowStats, RowSumScore, TupleScore

ProductFormula = Callable[[Tensor], Tensor]


def product_score(formula: ProductFormula) -> ProductFormula:
    """Registers a function of the multilinear inner product as the loss of its name."""
    register(Formula(formula.__name__, "product", lambda eps: ProductScore(formula)))
    return formula


@product_score
def einsum(product: Tensor) -> Tensor:
    """sum_z prod_k x_k[z], from -1 to 1, any shape (old logitsversion 0). For views that are informative only jointly.

    For six dense rows of 512 features the range is only 4e-6 wide; loss.scale_init=auto chooses a multiplier for it.
    """
    return product


@product_score
def stable_einsum(product: Tensor) -> Tensor:
    """`einsum` clamped to ±100, any shape (old StableLossFunctions). Equals `einsum`, because the clamp is never active
    on rows of length 1; for old configurations.
    """
    return einsum(product).clamp(-100, 100)


class ProductScore(RowSumScore, TupleScore):
    """Evaluates a function of the multilinear inner product."""

    def __init__(self, formula: ProductFormula):
        self.formula: Callable[[Any], Any] = formula  # called with symbols too, from which it is compiled

    def row_sums(self, views: Sequence[Value]) -> list[Value]:
        return [reduce(mul, views)]

    def from_sums(self, sums: Tensor, n: int, features: int) -> RowStats:
        return RowStats(self.formula(sums[0]).expand(n, -1), *[sums.new_zeros(n, 0, sums.shape[1])] * 2)

    def cross_terms(self, views: Sequence[Value]) -> Iterator[list[Product[Value]]]:
        for product, view in zip(leave_one_out(views), views, strict=True):
            yield [Product(product, view)]

    def line(
        self, cells: Sequence[Value], row: Sequence[Value], col: Sequence[Value], n: int, features: Value | int
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
    """Returns for each factor the product of the others, in 3 (n - 2) multiplications and without a division."""
    before: list[Value] = list(accumulate(factors[:-1], mul))
    after: list[Value] = list(accumulate(reversed(factors[1:]), mul))[::-1]
    return [after[0], *map(mul, before[:-1], after[1:]), before[-1]]
