"""Symile's own sampling, for comparison with the lines of `einsum`: B - 1 random tuples are the negatives of each row.

Shapes: n views, B rows, F features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import mul
from typing import Any

import torch
from torch import Tensor

from model.losses.cross_terms import CrossTerm, Product
from model.losses.evaluation.evaluator import LineEvaluator
from model.losses.formulas.product import ProductScore, einsum
from model.losses.inputs import Views
from model.losses.numerics import Value
from model.losses.objective.loss import TupleLoss
from model.losses.objective.masks import Mask
from model.losses.objective.reduction import mean_of_axes
from model.losses.registry import CommonKeywords, objective
from model.losses.score import RowStats, Traits, TupleScore, others

EINSUM = ProductScore(einsum)


@dataclass(frozen=True)
class RandomTupleScore(TupleScore):
    """The multilinear inner product; candidate c of anchor a combines independently drawn rows of the other views."""

    orders: Tensor | None = field(default=None, compare=False)
    """(n, n - 1, B) permutations of the rows, for each anchor and each other view; `SymileLoss` draws them for each
    evaluation. Scores of different orders are equal: they have the same formula, which is compiled once."""

    traits = Traits(fixed_operands=False)

    def prepare(self, views: Tensor) -> RowStats:
        return EINSUM.prepare(views)

    def cross_terms(self, views: Sequence[Tensor]) -> Iterator[list[CrossTerm]]:
        assert self.orders is not None, "the loss draws the orders before it evaluates the score"
        for a, orders in enumerate(self.orders):
            rest = [view[order.to(view.device)] for view, order in zip(others(views, a), orders, strict=True)]
            yield [Product(views[a], reduce(mul, rest))]

    def line(
        self, cells: Sequence[Value], row: Sequence[Value], col: Sequence[Value], n: int, features: Value | int
    ) -> Value:
        return EINSUM.line(cells, row, col, n, features)

    def dense(self, views: Sequence[Tensor]) -> Tensor:
        return EINSUM.dense(views)

    def dense_width(self, n: int, features: int) -> int:
        return EINSUM.dense_width(n, features)


class SymileLoss(TupleLoss):
    """For each anchor view, contrasts row i of its own sample with B - 1 random tuples (Saporta et al. 2024). To
    compare with the published sampling; the range is that of `einsum`.

    The permutations are a function of the seed and of `draws`, which counts the evaluations in training and is part of
    the checkpoint. A resumed run therefore draws the same tuples, and within one step the draw does not change.
    """

    draws: Tensor

    def __init__(self, evaluator: LineEvaluator, *, seed: int, **common: Any):
        super().__init__(evaluator, axes=mean_of_axes, mask=Mask(), **common)
        self.register_buffer("draws", torch.zeros((), dtype=torch.int64))
        self._seed = seed

    def _evaluator_of(self, views: Views) -> LineEvaluator:
        """Returns the evaluator with the permutations of this step."""
        return replace(self._evaluator, score=RandomTupleScore(self._orders(len(views), len(views[0]))))

    def _rest_evaluator(self) -> LineEvaluator:
        """Returns the evaluator of `einsum`: in training the rows that join a candidate are random."""
        return replace(self._evaluator, score=EINSUM)

    def _orders(self, n: int, size: int) -> Tensor:
        """Returns the permutations of `size` rows for this step, (n, n - 1, size)."""
        generator = torch.Generator("cpu").manual_seed((self._seed << 32) + int(self.draws))
        orders = [torch.randperm(size, generator=generator, device="cpu") for _ in range(n * (n - 1))]
        return torch.stack(orders).unflatten(0, (n, n - 1))

    def _sum(self, views: Views, scale: Tensor) -> Tensor:
        total = super()._sum(views, scale)
        if self.training:
            self.draws += 1
        return total


@objective("symile", "sampled", lambda eps: RandomTupleScore())
def symile(evaluator: LineEvaluator, seed: int, common: CommonKeywords) -> SymileLoss:
    """Returns the loss, whose random tuples follow from `seed`."""
    return SymileLoss(evaluator, seed=seed, **common)
