"""The gram family: scores that are functions of inner products of the views, so no evaluation needs a feature axis.

S = sum_k x_k. On line a, with row i fixed in the other views, R = S - x_a, and candidate c in view a, |S|^2 becomes
|R[i]|^2 + 2 R[i].x_a[c] + |x_a[c]|^2: one (B, F) by (F, B) product per direction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import add
from typing import NamedTuple

import torch
from torch import Tensor

from model.losses.numerics import safe_sqrt
from model.losses.score import Cross, Prepared, TupleScore, on_axes


class GramStats(NamedTuple):
    """Statistics of a tuple, tensors of one shape."""

    sum_square: Tensor  # |S|^2
    spread: Tensor  # sum_z V = sum_k |x_k|^2 - |S|^2 / n, at least 0
    n: int
    features: int
    eps: float


def norms(s: GramStats) -> Tensor:
    """|S|^2 / (|S| + eps) (old logitsversion 7)."""
    return s.sum_square / (safe_sqrt(s.sum_square) + s.eps)


class GramScore(TupleScore):
    """`formula` maps GramStats to the score."""

    def __init__(self, formula: Callable[[GramStats], Tensor], eps: float):
        self.formula = formula
        self.eps = eps

    def prepare(self, views: Tensor) -> Prepared:
        n, b, features = views.shape
        total = views.sum(0)
        square = views.square().sum(-1)
        rest_square = (total - views).square().sum(-1)
        # Shifted by the first view, which changes no V: views that are equal, or nearly so, lose no digits.
        shifted = views - views[0]
        spread = shifted.square().sum((0, -1)) - shifted.sum(0).square().sum(-1) / n
        matched = self.formula(GramStats(total.square().sum(-1), spread, n, features, self.eps))
        rows = torch.stack([rest_square, square.sum(0) - square], dim=1)
        return Prepared(matched.expand(n, b), rows, square.unsqueeze(1))

    def crosses(self, views: Sequence[Tensor], d: int) -> list[Cross]:
        return [Cross(reduce(add, _others(views, d)), views[d])]

    def line(self, products: Sequence[Tensor], rows: Tensor, cols: Tensor, n: int, features: int) -> Tensor:
        sum_square = torch.add(rows[0] + cols[0], products[0], alpha=2)
        return self.formula(GramStats(sum_square, rows[1] + cols[0] - sum_square / n, n, features, self.eps))

    def dense(self, views: Sequence[Tensor]) -> Tensor:
        n, features = len(views), views[0].shape[-1]
        square = reduce(add, [on_axes(view.square().sum(-1), [k], n) for k, view in enumerate(views)])
        sum_square = torch.add(square, pair_sum(views), alpha=2)
        return self.formula(GramStats(sum_square, square - sum_square / n, n, features, self.eps))


class PairStats(NamedTuple):
    """Statistics of a tuple, one tensor per view k in each list; R_k = S - x_k."""

    cross: Sequence[Tensor]  # x_k.R_k
    rest_square: Sequence[Tensor]  # |R_k|^2
    square: Sequence[Tensor]  # |x_k|^2
    eps: float


def normsv5(s: PairStats) -> Tensor:
    """sum_k x_k.R_k / (|R_k| + eps) (old logitsversion 11, 12 without normalisation)."""
    return reduce(add, [cross / (safe_sqrt(rest) + s.eps) for cross, rest in zip(s.cross, s.rest_square, strict=True)])


class PairScore(TupleScore):
    """Gram scores that need the products of every two views: `formula` maps PairStats to the score."""

    def __init__(self, formula: Callable[[PairStats], Tensor], eps: float):
        self.formula = formula
        self.eps = eps

    def prepare(self, views: Tensor) -> Prepared:
        n, b, _ = views.shape
        total = views.sum(0)
        rest = total - views
        cross, rest_square, square = (views * rest).sum(-1), rest.square().sum(-1), views.square().sum(-1)
        matched = self.formula(PairStats(cross, rest_square, square, self.eps))
        pair = torch.einsum("jbf,kbf->jkb", views, views)
        # [a, k]: x_k.(S - x_a - x_k) and |S - x_a - x_k|^2, from x_a.R_k = x_a.S - x_a.x_k
        without_cross = cross - pair
        without_square = rest_square - 2 * ((cross + square).unsqueeze(1) - pair) + square.unsqueeze(1)
        rows = [[*_others(without_cross[a], a), *_others(without_square[a], a), rest_square[a], *_others(square, a)] for a in range(n)]
        return Prepared(matched.expand(n, b), torch.stack([torch.stack(row) for row in rows]), square.unsqueeze(1))

    def crosses(self, views: Sequence[Tensor], d: int) -> list[Cross]:
        return [Cross(view, views[d]) for view in _others(views, d)]

    def line(self, products: Sequence[Tensor], rows: Tensor, cols: Tensor, n: int, features: int) -> Tensor:
        others = len(products)
        with_rest = reduce(add, products)
        base = torch.add(cols[0], with_rest, alpha=2)
        cross = [rows[k] + product for k, product in enumerate(products)]
        rest_square = [torch.add(base + rows[others + k], product, alpha=-2) for k, product in enumerate(products)]
        square = list(rows[2 * others + 1 :])
        return self.formula(PairStats([*cross, with_rest], [*rest_square, rows[2 * others]], [*square, cols[0]], self.eps))

    def dense(self, views: Sequence[Tensor]) -> Tensor:
        n = len(views)
        square = [on_axes(view.square().sum(-1), [k], n) for k, view in enumerate(views)]
        cross = [cross_sum(views, k) for k in range(n)]
        total = torch.add(reduce(add, square), pair_sum(views), alpha=2)
        rest_square = [total - 2 * cross[k] - square[k] for k in range(n)]
        return self.formula(PairStats(cross, rest_square, square, self.eps))

    def dense_width(self, n: int, features: int) -> int:
        return 3 * n + 4


def _others(x: Sequence[Tensor], a: int) -> list[Tensor]:
    """All entries but that of view `a`."""
    return [entry for k, entry in enumerate(x) if k != a]


def _block(views: Sequence[Tensor], j: int, k: int) -> Tensor:
    """x_j.x_k for all rows of both, on the axes j and k of n."""
    first, second = sorted((j, k))
    return on_axes(views[first] @ views[second].T, [first, second], len(views))


def cross_sum(views: Sequence[Tensor], k: int) -> Tensor:
    """x_k.R_k over all tuples. Blocks are added in the order of their axes, so that only the last sums are of full shape."""
    return reduce(add, [_block(views, j, k) for j in range(len(views)) if j != k])


def pair_sum(views: Sequence[Tensor]) -> Tensor:
    """sum over j < k of x_j.x_k over all tuples."""
    return reduce(add, [reduce(add, [_block(views, j, k) for j in range(k)]) for k in range(1, len(views))])
