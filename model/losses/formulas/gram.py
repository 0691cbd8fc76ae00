"""The gram family, scores of |S|^2 and sum_k |x_k|^2 with S = sum_k x_k: no evaluation needs a feature axis.

On line a, with row i fixed in the other views, R = S - x_a, and candidate c in view a, |S|^2 becomes
|R[i]|^2 + 2 R[i].x_a[c] + |x_a[c]|^2: one (B, F) by (F, B) product per direction.
V = sum_k x_k^2 - S^2 / n by features; sum_z V follows from the same numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from operator import add
from typing import NamedTuple

import torch
from torch import Tensor

from model.losses.cross_terms import Product
from model.losses.numerics import Value, gram_matrix, safe_sqrt
from model.losses.score import RowStats, RowSumScore, TupleScore, on_axes


class GramStats(NamedTuple):
    """Statistics of tuples: tensors of one shape, which is that of the score."""

    sum_square: Tensor  # |S|^2
    spread: Tensor  # sum_z V, at least 0
    n: int
    features: int
    eps: float


def loss5(s: GramStats) -> Tensor:
    """1 - sum_z V (old logitsversion 4)."""
    return 1 - s.spread


def loss6(s: GramStats) -> Tensor:
    """1 - sqrt(sum_z V) (old logitsversion 5)."""
    return 1 - safe_sqrt(s.spread)


def loss7(s: GramStats) -> Tensor:
    """1 - sum_z |V| (old logitsversion 13): `loss5`, because no V is negative."""
    return loss5(s)


def loss8(s: GramStats) -> Tensor:
    """sum_z (1 - V) (old logitsversion 14): `loss5` plus F - 1."""
    return s.features - s.spread


def norms(s: GramStats) -> Tensor:
    """|S|^2 / (|S| + eps) (old logitsversion 7)."""
    return s.sum_square / (safe_sqrt(s.sum_square) + s.eps)


def normsv2(s: GramStats) -> Tensor:
    """S.S / (|S| + eps) (old logitsversion 8): `norms`."""
    return norms(s)


def normsv3(s: GramStats) -> Tensor:
    """|S| / n + eps (old logitsversion 9)."""
    return safe_sqrt(s.sum_square) / s.n + s.eps


def normsv4(s: GramStats) -> Tensor:
    """sum_k x_k.S / (|S| + eps) (old logitsversion 10): `norms`."""
    return norms(s)


class GramScore(RowSumScore, TupleScore):
    """`formula` maps GramStats to the score."""

    def __init__(self, formula: Callable[[GramStats], Tensor], eps: float):
        self.formula = formula
        self.eps = eps

    def row_sums(self, views: Sequence[Value]) -> list[Value]:
        return pair_products(views)

    def from_sums(self, sums: Tensor, n: int, features: int) -> RowStats:
        return self.from_pairs(full_matrix(sums, n), features)

    def prepare(self, views: Tensor) -> RowStats:
        return self.from_pairs(gram_matrix(views.transpose(0, 1)).permute(1, 2, 0), views.shape[-1])

    def from_pairs(self, pair: Tensor, features: int) -> RowStats:
        """(n, n, b) inner products of the views of a sample -> row-wise statistics."""
        n = len(pair)
        square, along = pair.diagonal().T, pair.sum(1)  # |x_k|^2, x_k.S
        sum_square = along.sum(0)
        matched = self.formula(GramStats(sum_square, square.sum(0) - sum_square / n, n, features, self.eps))
        rows = torch.stack([sum_square - 2 * along + square, square.sum(0) - square], dim=1)
        return RowStats(matched.expand(n, -1), rows, square.unsqueeze(1))

    def cross_terms(self, views: Sequence[Value]) -> Iterator[list[Product[Value]]]:
        total = reduce(add, views)
        for view in views:
            yield [Product(total - view, view)]

    def line(
        self, cells: Sequence[Value], rows: Sequence[Value], cols: Sequence[Value], n: int, features: Value | int
    ) -> Value:
        sum_square = rows[0] + cols[0] + 2 * cells[0]
        return self.formula(GramStats(sum_square, rows[1] + cols[0] - sum_square / n, n, features, self.eps))

    def dense(self, views: Sequence[Tensor]) -> Tensor:
        n, features = len(views), views[0].shape[-1]
        square = square_sum(views)
        sum_square = torch.add(square, pair_sum(views), alpha=2)
        return self.formula(GramStats(sum_square, square - sum_square / n, n, features, self.eps))


def pair_products(views: Sequence[Value]) -> list[Value]:
    """x_j x_k of one feature, for every j <= k, in rows."""
    return [views[j] * views[k] for j in range(len(views)) for k in range(j, len(views))]


def full_matrix(upper: Tensor, n: int) -> Tensor:
    """(n (n + 1) / 2, b) entries j <= k in rows -> the symmetric (n, n, b)."""
    place = torch.empty(n, n, dtype=torch.int64, device=upper.device)
    j, k = torch.triu_indices(n, n, device=upper.device)
    place[j, k] = place[k, j] = torch.arange(len(upper), device=upper.device)
    return upper.index_select(0, place.flatten()).unflatten(0, (n, n))


def square_sum(views: Sequence[Tensor]) -> Tensor:
    """sum_k |x_k|^2 over all tuples."""
    return reduce(add, [on_axes(view.square().sum(-1), [k], len(views)) for k, view in enumerate(views)])


def block(views: Sequence[Tensor], j: int, k: int) -> Tensor:
    """x_j.x_k for all rows of both, on the axes j and k of n."""
    first, second = sorted((j, k))
    return on_axes(views[first] @ views[second].T, [first, second], len(views))


def pair_sum(views: Sequence[Tensor]) -> Tensor:
    """sum over j < k of x_j.x_k over all tuples. Added by axes, so that only the last two sums are of full shape."""
    return reduce(add, [reduce(add, [block(views, j, k) for j in range(k)]) for k in range(1, len(views))])
