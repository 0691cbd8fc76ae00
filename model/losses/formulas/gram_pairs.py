"""The gram_pairs family: gram scores that read the product of every two views, with R_k = S - x_k.

On line a, with candidate c in view a: x_k.R_k becomes x_k[i].(S - x_a - x_k)[i] + x_k[i].x_a[c], and |R_k|^2 becomes
|(S - x_a - x_k)[i]|^2 + 2 (R_a[i].x_a[c] - x_k[i].x_a[c]) + |x_a[c]|^2; for k = a they are R_a[i].x_a[c] and
|R_a[i]|^2. A direction costs n - 1 products of (B, F) by (F, B).
Off the match, a length |R_k| below 1e-8 (views that cancel) is rounding error, because it is computed from sums of
inner products. Ranges below hold for rows of length 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from operator import add, mul
from typing import Any, NamedTuple

import torch
from torch import Tensor

from model.losses.cross_terms import Product
from model.losses.formulas.gram import block, full_matrix, pair_products, pair_sum
from model.losses.numerics import Value, gram_matrix, safe_sqrt
from model.losses.registry import Formula, register
from model.losses.score import RowStats, RowSumScore, TupleScore, on_axes, others


class AllPairsStats(NamedTuple):
    """The statistics of tuples that a formula reads: for each view a tensor that broadcasts to the score's shape."""

    cross: Sequence[Tensor]  # x_k.R_k, 1 - n to n - 1
    rest_square: Sequence[Tensor]  # |R_k|^2, 0 to (n - 1)^2
    square: Sequence[Tensor]  # |x_k|^2
    eps: float  # loss.eps


AllPairsFormula = Callable[[AllPairsStats], Tensor]


def all_pairs_gram_score(formula: AllPairsFormula) -> AllPairsFormula:
    """Registers a function of AllPairsStats as the loss of its name."""
    register(Formula(formula.__name__, "gram_pairs", lambda eps: AllPairsGramScore(formula, eps)))
    return formula


@all_pairs_gram_score
def normsv5(s: AllPairsStats) -> Tensor:
    """sum_k x_k.R_k / (|R_k| + eps), from -n to n (old logitsversion 11; 12 with loss.normalize=false): the sum of the
    cosines between each view and the sum of the others. The default; for several views that should all agree.
    """
    return reduce(add, [cross / (safe_sqrt(rest) + s.eps) for cross, rest in zip(s.cross, s.rest_square, strict=True)])


@all_pairs_gram_score
def stable_norm(s: AllPairsStats) -> Tensor:
    """sum_k clamp(x_k.S / (|S| + eps), -1, 1), from 0 to n (old StableLossFunctions). Equals `norms`, because the clamp
    is never active on rows of length 1; for old configurations.
    """
    along = [cross + square for cross, square in zip(s.cross, s.square, strict=True)]
    length = safe_sqrt(reduce(add, along)) + s.eps
    return reduce(add, [(product / length).clamp(-1, 1) for product in along])


class AllPairsGramScore(RowSumScore, TupleScore):
    """Evaluates a formula of AllPairsStats; `eps` is passed to it."""

    def __init__(self, formula: AllPairsFormula, eps: float):
        self.formula = formula
        self.eps = eps

    def score(self, cross: Any, rest_square: Any, square: Any) -> Any:
        """Returns the formula of these statistics: tensors, or the symbols from which it is compiled."""
        return self.formula(AllPairsStats(cross, rest_square, square, self.eps))

    def row_sums(self, views: Sequence[Value]) -> list[Value]:
        rest: list[Value] = [reduce(add, others(views, k)) for k in range(len(views))]
        cross: list[Value] = list(map(mul, views, rest))
        rest_square: list[Value] = [sum_of_others * sum_of_others for sum_of_others in rest]
        return cross + rest_square + pair_products(views)

    def from_sums(self, sums: Tensor, n: int, features: int) -> RowStats:
        return self.from_parts(sums[:n], sums[n : 2 * n], full_matrix(sums[2 * n :], n))

    def prepare(self, views: Tensor) -> RowStats:
        rest = views.sum(0) - views
        pair = gram_matrix(views.transpose(0, 1)).permute(1, 2, 0)
        return self.from_parts((views * rest).sum(-1), rest.square().sum(-1), pair)

    def from_parts(self, cross: Tensor, rest_square: Tensor, pair: Tensor) -> RowStats:
        """Returns the row-wise statistics for x_k.R_k and |R_k|^2, (n, b), and the inner products (n, n, b) of the
        views of each sample.
        """
        n, square = len(cross), pair.diagonal().T
        matched = self.score(cross, rest_square, square)
        # [a, k]: x_k.(S - x_a - x_k), and |S - x_a - x_k|^2 from x_a.R_k = x_a.S - x_a.x_k
        without_cross = cross - pair
        without_square = rest_square - 2 * ((cross + square).unsqueeze(1) - pair) + square.unsqueeze(1)
        off = [off_diagonal(x) for x in (without_cross, without_square, square.expand(n, n, -1))]
        rows = torch.cat([off[0], off[1], rest_square.unsqueeze(1), off[2]], dim=1)
        return RowStats(matched.expand(n, -1), rows, square.unsqueeze(1))

    def cross_terms(self, views: Sequence[Value]) -> Iterator[list[Product[Value]]]:
        for d, own in enumerate(views):
            yield [Product(view, own) for view in others(views, d)]

    def line(
        self, cells: Sequence[Value], row: Sequence[Value], col: Sequence[Value], n: int, features: Value | int
    ) -> Value:
        with_rest = reduce(add, cells)
        base = col[0] + 2 * with_rest
        cross: list[Value] = [row[k] + cell for k, cell in enumerate(cells)]
        rest_square: list[Value] = [base + row[n - 1 + k] - 2 * cell for k, cell in enumerate(cells)]
        square = [*row[2 * n - 1 :], col[0]]
        return self.score([*cross, with_rest], [*rest_square, row[2 * n - 2]], square)

    def dense(self, views: Sequence[Tensor]) -> Tensor:
        n = len(views)
        square = [on_axes(view.square().sum(-1), [k], n) for k, view in enumerate(views)]
        cross = [reduce(add, [block(views, j, k) for j in range(n) if j != k]) for k in range(n)]
        total = torch.add(reduce(add, square), pair_sum(views), alpha=2)
        return self.score(cross, [total - 2 * cross[k] - square[k] for k in range(n)], square)

    def dense_width(self, n: int, features: int) -> int:
        return 3 * n + 4


def off_diagonal(x: Tensor) -> Tensor:
    """Returns the entries (n, n - 1, b) of a matrix (n, n, b) that are not on its diagonal."""
    n = len(x)
    return x.flatten(0, 1)[1:].unflatten(0, (n - 1, n + 1))[:, :-1].reshape(n, n - 1, -1)
