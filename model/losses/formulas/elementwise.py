"""The elementwise family: scores made of sums over features z of functions of
S = sum_k x_k, Q = sum_k x_k^2, m = sum_k |x_k| / n and V = Q - S^2 / n.

The sums of S and of m are separable: a part that depends on the row plus a part that depends on the candidate. The
other sums are crossed: they mix the views, and each costs one `FeatureSum` per direction. feature_sums.py defines the
sums that a formula can read.

Ranges below hold for rows of length 1. Shapes: n views, B rows, F features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import torch
from torch import Tensor

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
from model.losses.registry import Formula, register
from model.losses.score import RowStats, RowSumScore, Traits, TupleScore, on_axes


class FeatureStats(NamedTuple):
    """The statistics of tuples that an elementwise formula reads. In the call with symbols, the sums and `features` are
    symbols.
    """

    sums: Mapping[CrossedSum | SeparableSum, Tensor]  # those that the decorator names; each has the score's shape
    n: int  # number of views
    features: int  # F


FeatureFormula = Callable[[FeatureStats], Tensor]


def feature_score(
    crossed: Sequence[CrossedSum], separable: Sequence[SeparableSum] = ()
) -> Callable[[FeatureFormula], FeatureFormula]:
    """Registers a function of FeatureStats as the loss of its name. crossed, separable: the sums that it reads."""

    def decorate(formula: FeatureFormula) -> FeatureFormula:
        register(Formula(formula.__name__, "elementwise", lambda eps: FeatureScore(formula, crossed, separable)))
        return formula

    return decorate


@feature_score([ROOT_SPREAD])
def loss1(s: FeatureStats) -> Tensor:
    """1 - mean_z sqrt(|V|), from 1 - sqrt(n / F) to 1 (old logitsversion 6). To reproduce old runs."""
    return 1 - s.sums[ROOT_SPREAD] / s.features


@feature_score([ROOT_SPREAD])
def loss2(s: FeatureStats) -> Tensor:
    """1 - mean_z sqrt(V) (old logitsversion 1). Equals `loss1`, because V is never negative; for old configurations."""
    return loss1(s)


@feature_score([SQUARED_SPREAD])
def loss3(s: FeatureStats) -> Tensor:
    """1 - sqrt(sum_z V^2), from 1 - n to 1 (old logitsversion 2). To reproduce old runs."""
    return 1 - safe_sqrt(s.sums[SQUARED_SPREAD])


@feature_score([ROOT_SQUARE])
def loss4(s: FeatureStats) -> Tensor:
    """1 - sum_z sqrt(Q), from 1 - sqrt(n F) to 1 - sqrt(n) (old logitsversion 3). To reproduce old runs."""
    return 1 - s.sums[ROOT_SQUARE]


@feature_score([ROOT_SQUARE], [MAGNITUDE])
def normsv6(s: FeatureStats) -> Tensor:
    """sum_z [m (1 - sqrt(n)) + sqrt(Q)], from sum_z m to (n + 1 - sqrt(n)) sum_z m (old logitsversion 15). Lowest where
    the views agree in magnitude. To reproduce old runs.
    """
    return s.sums[MAGNITUDE] * (1 - math.sqrt(s.n)) + s.sums[ROOT_SQUARE]


@feature_score([ROOT_SQUARE], [MAGNITUDE])
def normsv7(s: FeatureStats) -> Tensor:
    """sum_z [m (1 + sqrt(n)) - sqrt(Q)], from (1 + sqrt(n) - n) sum_z m to sum_z m (old logitsversion 16). Highest
    where the views agree in magnitude. To reproduce old runs.
    """
    return s.sums[MAGNITUDE] * (1 + math.sqrt(s.n)) - s.sums[ROOT_SQUARE]


@feature_score([POWER], [TOTAL])
def normsv8(s: FeatureStats) -> Tensor:
    """sum_z [S / n - m^n / 2], at most sqrt(F) (old logitsversion 17). To reproduce old runs."""
    return s.sums[TOTAL] / s.n - s.sums[POWER] / 2


@feature_score([ROOT_LESS_TOTAL], [MAGNITUDE])
def normsv9(s: FeatureStats) -> Tensor:
    """sum_z [|S| / n^1.5 + m - sqrt(Q)], at most (1 + 1 / sqrt(n) - sqrt(n)) sum_z m (old logitsversion 18). To
    reproduce old runs.
    """
    return s.sums[MAGNITUDE] - s.sums[ROOT_LESS_TOTAL]


class FeatureScore(RowSumScore, TupleScore):
    """Evaluates an elementwise formula, which reads the sums `crossed` and `separable`."""

    # Roots cost four times as much in float64; the operands of one direction are three times as large as a view.
    traits = Traits(float64_rows=64, row_copies=100, shares_operands=False)

    def __init__(
        self,
        formula: FeatureFormula,
        crossed: Sequence[CrossedSum],
        separable: Sequence[SeparableSum] = (),
    ):
        self.formula, self.crossed, self.separable = formula, crossed, separable

    def score(self, sums: Sequence[Any], n: int, features: Any) -> Any:
        """Returns the formula of the values of `crossed` and `separable`: tensors, or the symbols from which it is
        compiled.
        """
        keys: list[CrossedSum | SeparableSum] = [*self.crossed, *self.separable]
        return self.formula(FeatureStats(dict(zip(keys, sums, strict=True)), n, features))

    def row_sums(self, views: Sequence[Value]) -> list[Value]:
        n = len(views)
        crossed = [crossed.values(views) for crossed in self.crossed]
        return crossed + [separable.share(n, view) for separable in self.separable for view in views]

    def from_sums(self, sums: Tensor, n: int, features: int) -> RowStats:
        crossed, shares = sums[: len(self.crossed)], sums[len(self.crossed) :].unflatten(0, (len(self.separable), n))
        matched = self.score([*crossed, *shares.sum(1)], n, features)
        # A FeatureSum returns differences from the sum at the match; `line` adds that sum, a statistic of the row.
        at_match = crossed.detach().unsqueeze(1).expand(-1, n, -1)
        rows = torch.cat([at_match, shares.sum(1, keepdim=True) - shares])
        return RowStats(matched.expand(n, -1), rows.transpose(0, 1), shares.transpose(0, 1))

    def cross_terms(self, views: Sequence[Value]) -> Iterator[list[FeatureSum[Value]]]:
        for d in range(len(views)):
            yield [FeatureSum(*crossed.operands(views, d)) for crossed in self.crossed]

    def line(
        self, cells: Sequence[Value], row: Sequence[Value], col: Sequence[Value], n: int, features: Value | int
    ) -> Value:
        sums: list[Value] = [cell + row[k] for k, cell in enumerate(cells)]
        totals: list[Value] = [row[len(cells) + k] + col[k] for k in range(len(self.separable))]
        return self.score([*sums, *totals], n, features)

    def dense(self, views: Sequence[Tensor]) -> Tensor:
        n, features = len(views), views[0].shape[-1]
        on_all_axes = [on_axes(view, [k, n], n + 1) for k, view in enumerate(views)]
        sums = [crossed.values(on_all_axes).sum(-1) for crossed in self.crossed]
        totals = [
            reduce(add, [separable.share(n, view).sum(-1) for view in on_all_axes]) for separable in self.separable
        ]
        return self.score([*sums, *totals], n, features)

    def dense_width(self, n: int, features: int) -> int:
        return 8 * features
