"""The elementwise family: scores made of sums over features of functions of S = sum_k x_k, Q = sum_k x_k^2, m = sum_k
|x_k| / n and V = Q - S^2 / n. Sums of S and m separate into rows and candidates; the others are a `FeatureSum` per
direction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from operator import add
from typing import NamedTuple

import torch
from torch import Tensor

from model.losses.cross_terms import CrossTerm
from model.losses.evaluation.feature_sum import FeatureSum
from model.losses.formulas.feature_sums import (
    MAGNITUDE,
    POWER,
    ROOT_LESS_TOTAL,
    ROOT_SPREAD,
    ROOT_SQUARE,
    SQUARED_SPREAD,
    TOTAL,
    CrossedSum,
    SeparableSum,
)
from model.losses.numerics import Value, safe_sqrt
from model.losses.score import RowStats, Traits, TupleScore, on_axes


class FeatureStats(NamedTuple):
    """Sums over features of tuples: tensors of one shape, which is that of the score; those that the formula reads."""

    sums: Mapping[CrossedSum | SeparableSum, Tensor]
    n: int
    features: int


def loss1(s: FeatureStats) -> Tensor:
    """1 - mean_z sqrt(|V|) (old logitsversion 6)."""
    return 1 - s.sums[ROOT_SPREAD] / s.features


def loss2(s: FeatureStats) -> Tensor:
    """1 - mean_z sqrt(V) (old logitsversion 1): `loss1`, because no V is negative."""
    return loss1(s)


def loss3(s: FeatureStats) -> Tensor:
    """1 - sqrt(sum_z V^2) (old logitsversion 2)."""
    return 1 - safe_sqrt(s.sums[SQUARED_SPREAD])


def loss4(s: FeatureStats) -> Tensor:
    """1 - sum_z sqrt(Q) (old logitsversion 3)."""
    return 1 - s.sums[ROOT_SQUARE]


def normsv6(s: FeatureStats) -> Tensor:
    """sum_z [m (1 - sqrt(n)) + sqrt(Q)] (old logitsversion 15)."""
    return s.sums[MAGNITUDE] * (1 - math.sqrt(s.n)) + s.sums[ROOT_SQUARE]


def normsv7(s: FeatureStats) -> Tensor:
    """sum_z [m (1 + sqrt(n)) - sqrt(Q)] (old logitsversion 16)."""
    return s.sums[MAGNITUDE] * (1 + math.sqrt(s.n)) - s.sums[ROOT_SQUARE]


def normsv8(s: FeatureStats) -> Tensor:
    """sum_z [S / n - m^n / 2] (old logitsversion 17)."""
    return s.sums[TOTAL] / s.n - s.sums[POWER] / 2


def normsv9(s: FeatureStats) -> Tensor:
    """sum_z [|S| / n^1.5 + m - sqrt(Q)] (old logitsversion 18)."""
    return s.sums[MAGNITUDE] - s.sums[ROOT_LESS_TOTAL]


class FeatureScore(TupleScore):
    """`formula` maps FeatureStats to the score; it reads the sums `crossed` and `separable`."""

    # Roots cost four times as much in float64; the operands of one direction are three times as large as a view.
    traits = Traits(float64_rows=64, row_copies=100, shares_operands=False)

    def __init__(
        self,
        formula: Callable[[FeatureStats], Tensor],
        crossed: Sequence[CrossedSum],
        separable: Sequence[SeparableSum] = (),
    ):
        self.formula, self.crossed, self.separable = formula, crossed, separable

    def prepare(self, views: Tensor) -> RowStats:
        n, b, features = views.shape
        sums = {one: one.values(views.unbind()).sum(-1) for one in self.crossed}
        shares = {one: one.share(n, views) for one in self.separable}
        matched = self.formula(FeatureStats(sums | {one: share.sum(0) for one, share in shares.items()}, n, features))
        # A cross holds differences from the matched sum, which therefore is a constant of its row.
        rows = [one.detach().expand(n, b) for one in sums.values()] + [
            share.sum(0) - share for share in shares.values()
        ]
        cols = torch.stack(list(shares.values()), dim=1) if shares else views.new_zeros(n, 0, b)
        return RowStats(matched.expand(n, b), torch.stack(rows, dim=1), cols)

    def cross_terms(self, views: Sequence[Tensor]) -> Iterator[list[CrossTerm]]:
        for d in range(len(views)):
            yield [FeatureSum(*one.operands(views, d)) for one in self.crossed]

    def line(
        self, cells: Sequence[Value], rows: Sequence[Value], cols: Sequence[Value], n: int, features: Value | int
    ) -> Value:
        sums = {one: cell + rows[k] for k, (one, cell) in enumerate(zip(self.crossed, cells, strict=True))}
        shares = {one: rows[len(cells) + k] + cols[k] for k, one in enumerate(self.separable)}
        return self.formula(FeatureStats(sums | shares, n, features))

    def dense(self, views: Sequence[Tensor]) -> Tensor:
        n, features = len(views), views[0].shape[-1]
        spread_out = [on_axes(view, [k, n], n + 1) for k, view in enumerate(views)]
        sums = {one: one.values(spread_out).sum(-1) for one in self.crossed}
        shares = {one: reduce(add, [one.share(n, view) for view in spread_out]) for one in self.separable}
        return self.formula(FeatureStats(sums | shares, n, features))

    def dense_width(self, n: int, features: int) -> int:
        return 8 * features
