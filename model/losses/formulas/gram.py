"""The gram family: scores that are functions of |S|^2 and sum_k |x_k|^2, with S = sum_k x_k.

On line a, row i is fixed in the other views and candidate c varies in view a. With R = S - x_a, |S|^2 becomes
|R[i]|^2 + 2 R[i].x_a[c] + |x_a[c]|^2, so a direction costs one (B, F) by (F, B) product.
V = sum_k x_k^2 - S^2 / n for each feature z; sum_z V follows from the same two numbers.

Ranges below hold for rows of length 1. Shapes: n views, B rows, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import torch
from torch import Tensor

from model.losses.cross_terms import Product
from model.losses.numerics import Value, gram_matrix, safe_sqrt
from model.losses.registry import Formula, register
from model.losses.score import RowStats, RowSumScore, TupleScore, on_axes


class GramStats(NamedTuple):
    """The statistics of tuples that a gram formula reads: tensors of one shape, which is the shape of the score.

    In the call with symbols, `sum_square`, `spread` and `features` are symbols.
    """

    sum_square: Tensor  # |S|^2, 0 to n^2
    spread: Tensor  # sum_z V, 0 to n: 0 where all views agree
    n: int  # number of views
    features: int  # F
    eps: float  # loss.eps


GramFormula = Callable[[GramStats], Tensor]


def gram_score(formula: GramFormula) -> GramFormula:
    """Registers a function of GramStats as the loss of its name."""
    register(Formula(formula.__name__, "gram", lambda eps: GramScore(formula, eps)))
    return formula


@gram_score
def loss5(s: GramStats) -> Tensor:
    """1 - sum_z V, from 1 - n to 1 (old logitsversion 4). For views that should all agree."""
    return 1 - s.spread


@gram_score
def loss6(s: GramStats) -> Tensor:
    """1 - sqrt(sum_z V), from 1 - sqrt(n) to 1 (old logitsversion 5). The gradient stays large near agreement, and is
    0 at agreement.
    """
    return 1 - safe_sqrt(s.spread)


@gram_score
def loss7(s: GramStats) -> Tensor:
    """1 - sum_z |V| (old logitsversion 13). Equals `loss5`, because V is never negative; for old configurations."""
    return loss5(s)


@gram_score
def loss8(s: GramStats) -> Tensor:
    """sum_z (1 - V), from F - n to F (old logitsversion 14). Equals `loss5` plus F - 1, which no softmax changes; for
    old configurations.
    """
    return s.features - s.spread


@gram_score
def norms(s: GramStats) -> Tensor:
    """|S|^2 / (|S| + eps), from 0 to n (old logitsversion 7). For views that should all agree; a third of the cost of
    `normsv5`.
    """
    return s.sum_square / (safe_sqrt(s.sum_square) + s.eps)


@gram_score
def normsv2(s: GramStats) -> Tensor:
    """S.S / (|S| + eps) (old logitsversion 8). Equals `norms`; for old configurations."""
    return norms(s)


@gram_score
def normsv3(s: GramStats) -> Tensor:
    """|S| / n + eps, from eps to 1 + eps (old logitsversion 9): `norms` with a range that does not depend on n."""
    return safe_sqrt(s.sum_square) / s.n + s.eps


@gram_score
def normsv4(s: GramStats) -> Tensor:
    """sum_k x_k.S / (|S| + eps) (old logitsversion 10). Equals `norms`; for old configurations."""
    return norms(s)


class GramScore(RowSumScore, TupleScore):
    """Evaluates a gram formula; `eps` is passed to it."""

    def __init__(self, formula: GramFormula, eps: float):
        self.formula = formula
        self.eps = eps

    def score(self, sum_square: Any, spread: Any, n: int, features: Any) -> Any:
        """Returns the formula of these statistics: tensors, or the symbols from which it is compiled."""
        return self.formula(GramStats(sum_square, spread, n, features, self.eps))

    def row_sums(self, views: Sequence[Value]) -> list[Value]:
        return pair_products(views)

    def from_sums(self, sums: Tensor, n: int, features: int) -> RowStats:
        return self.from_pairs(full_matrix(sums, n), features)

    def prepare(self, views: Tensor) -> RowStats:
        return self.from_pairs(gram_matrix(views.transpose(0, 1)).permute(1, 2, 0), views.shape[-1])

    def from_pairs(self, pair: Tensor, features: int) -> RowStats:
        """Returns the row-wise statistics for the (n, n, b) inner products of the views of each sample."""
        n = len(pair)
        square, along = pair.diagonal().T, pair.sum(1)  # |x_k|^2, x_k.S
        sum_square = along.sum(0)
        matched = self.score(sum_square, square.sum(0) - sum_square / n, n, features)
        rows = torch.stack([sum_square - 2 * along + square, square.sum(0) - square], dim=1)
        return RowStats(matched.expand(n, -1), rows, square.unsqueeze(1))

    def cross_terms(self, views: Sequence[Value]) -> Iterator[list[Product[Value]]]:
        total = reduce(add, views)
        for view in views:
            yield [Product(total - view, view)]

    def line(
        self, cells: Sequence[Value], row: Sequence[Value], col: Sequence[Value], n: int, features: Value | int
    ) -> Value:
        sum_square = row[0] + col[0] + 2 * cells[0]
        return self.score(sum_square, row[1] + col[0] - sum_square / n, n, features)

    def dense(self, views: Sequence[Tensor]) -> Tensor:
        n, features = len(views), views[0].shape[-1]
        square = square_sum(views)
        sum_square = torch.add(square, pair_sum(views), alpha=2)
        return self.score(sum_square, square - sum_square / n, n, features)


def pair_products(views: Sequence[Value]) -> list[Value]:
    """Returns x_j x_k of one feature for every j <= k, ordered by j and then by k."""
    return [views[j] * views[k] for j in range(len(views)) for k in range(j, len(views))]


def diagonal_places(n: int) -> list[int]:
    """Returns the places of the pairs (k, k) in the order of `pair_products`."""
    return [k * n - k * (k - 1) // 2 for k in range(n)]


def full_matrix(upper: Tensor, n: int) -> Tensor:
    """Returns the symmetric (n, n, b) matrix for its (n (n + 1) / 2, b) entries j <= k."""
    place = torch.empty(n, n, dtype=torch.int64, device=upper.device)
    j, k = torch.triu_indices(n, n, device=upper.device)
    place[j, k] = place[k, j] = torch.arange(len(upper), device=upper.device)
    return upper.index_select(0, place.flatten()).unflatten(0, (n, n))


def square_sum(views: Sequence[Tensor]) -> Tensor:
    """Returns sum_k |x_k|^2 for all tuples, (B_1, …, B_n)."""
    return reduce(add, [on_axes(view.square().sum(-1), [k], len(views)) for k, view in enumerate(views)])


def block(views: Sequence[Tensor], j: int, k: int) -> Tensor:
    """Returns x_j.x_k for all rows of both views, with n axes, of which axes j and k are not of size 1."""
    first, second = sorted((j, k))
    return on_axes(views[first] @ views[second].T, [first, second], len(views))


def pair_sum(views: Sequence[Tensor]) -> Tensor:
    """Returns the sum over j < k of x_j.x_k for all tuples. Only two additions have results of full shape."""
    return reduce(add, [reduce(add, [block(views, j, k) for j in range(k)]) for k in range(1, len(views))])
