"""Gram scores that need the products of every two views, R_k = S - x_k: n - 1 products of (B, F) by (F, B) per
direction.

On line a, with candidate c in view a: x_k.R_k becomes x_k[i].(S - x_a - x_k)[i] + x_k[i].x_a[c], and |R_k|^2 becomes
|(S - x_a - x_k)[i]|^2 + 2 (R_a[i].x_a[c] - x_k[i].x_a[c]) + |x_a[c]|^2; for k = a they are R_a[i].x_a[c] and
|R_a[i]|^2. A length |R_k| below 1e-8 off the match, where views cancel, is rounding: sums of inner products do not
resolve it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from operator import add
from typing import NamedTuple

import torch
from torch import Tensor

from model.losses.cross_terms import Product
from model.losses.formulas.gram import block, full_matrix, pair_products, pair_sum
from model.losses.numerics import Value, gram_matrix, safe_sqrt
from model.losses.score import RowStats, RowSumScore, Traits, TupleScore, on_axes, others


class AllPairsStats(NamedTuple):
    """Statistics of tuples: for each view a tensor that broadcasts to the shape of the score."""

    cross: Sequence[Tensor]  # x_k.R_k
    rest_square: Sequence[Tensor]  # |R_k|^2
    square: Sequence[Tensor]  # |x_k|^2
    eps: float


def normsv5(s: AllPairsStats) -> Tensor:
    """sum_k x_k.R_k / (|R_k| + eps) (old logitsversion 11, 12 without normalisation)."""
    return reduce(add, [cross / (safe_sqrt(rest) + s.eps) for cross, rest in zip(s.cross, s.rest_square, strict=True)])


def stable_norm(s: AllPairsStats) -> Tensor:
    """sum_k clamp(x_k.S / (|S| + eps), -1, 1) (old StableLossFunctions): `norms`, the clamp is never active on unit
    rows.
    """
    along = [cross + square for cross, square in zip(s.cross, s.square, strict=True)]
    length = safe_sqrt(reduce(add, along)) + s.eps
    return reduce(add, [(one / length).clamp(-1, 1) for one in along])


class AllPairsGramScore(RowSumScore, TupleScore):
    """`formula` maps AllPairsStats to the score."""

    traits = Traits(pairs_both_ways=True)

    def __init__(self, formula: Callable[[AllPairsStats], Tensor], eps: float):
        self.formula = formula
        self.eps = eps

    def row_sums(self, views: Sequence[Value]) -> list[Value]:
        rest = [reduce(add, others(views, k)) for k in range(len(views))]
        return [*(x * r for x, r in zip(views, rest, strict=True)), *(r * r for r in rest), *pair_products(views)]

    def from_sums(self, sums: Tensor, n: int, features: int) -> RowStats:
        return self.from_parts(sums[:n], sums[n : 2 * n], full_matrix(sums[2 * n :], n))

    def prepare(self, views: Tensor) -> RowStats:
        rest = views.sum(0) - views
        pair = gram_matrix(views.transpose(0, 1)).permute(1, 2, 0)
        return self.from_parts((views * rest).sum(-1), rest.square().sum(-1), pair)

    def from_parts(self, cross: Tensor, rest_square: Tensor, pair: Tensor) -> RowStats:
        """x_k.R_k and |R_k|^2, (n, b), and the inner products (n, n, b) of the views of a sample -> row-wise
        statistics.
        """
        n, square = len(cross), pair.diagonal().T
        matched = self.formula(AllPairsStats(cross, rest_square, square, self.eps))
        # [a, k]: x_k.(S - x_a - x_k), and |S - x_a - x_k|^2 by x_a.R_k = x_a.S - x_a.x_k
        without_cross = cross - pair
        without_square = rest_square - 2 * ((cross + square).unsqueeze(1) - pair) + square.unsqueeze(1)
        rows = [
            [*others(without_cross[a], a), *others(without_square[a], a), rest_square[a], *others(square, a)]
            for a in range(n)
        ]
        return RowStats(matched.expand(n, -1), torch.stack([torch.stack(row) for row in rows]), square.unsqueeze(1))

    def cross_terms(self, views: Sequence[Value]) -> Iterator[list[Product[Value]]]:
        for d, own in enumerate(views):
            yield [Product(view, own) for view in others(views, d)]

    def line(
        self, cells: Sequence[Value], rows: Sequence[Value], cols: Sequence[Value], n: int, features: Value | int
    ) -> Value:
        with_rest = reduce(add, cells)
        base = cols[0] + 2 * with_rest
        cross = [rows[k] + cell for k, cell in enumerate(cells)]
        rest_square = [base + rows[n - 1 + k] - 2 * cell for k, cell in enumerate(cells)]
        square = [*rows[2 * n - 1 :], cols[0]]
        return self.formula(AllPairsStats([*cross, with_rest], [*rest_square, rows[2 * n - 2]], square, self.eps))

    def dense(self, views: Sequence[Tensor]) -> Tensor:
        n = len(views)
        square = [on_axes(view.square().sum(-1), [k], n) for k, view in enumerate(views)]
        cross = [reduce(add, [block(views, j, k) for j in range(n) if j != k]) for k in range(n)]
        total = torch.add(reduce(add, square), pair_sum(views), alpha=2)
        return self.formula(
            AllPairsStats(cross, [total - 2 * cross[k] - square[k] for k in range(n)], square, self.eps)
        )

    def dense_width(self, n: int, features: int) -> int:
        return 3 * n + 4
