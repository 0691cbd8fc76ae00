"""Symile's own sampling, for comparison with the lines of `einsum`: B - 1 random tuples are the negatives of each row.

Shapes: n views, B rows, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import reduce
from operator import mul
from typing import Any

import torch
from torch import Tensor

from model.losses.cross_terms import CrossTerm, Product
from model.losses.evaluation.view_pass import LineEvaluator
from model.losses.formulas.product import ProductScore, einsum
from model.losses.inputs import Views
from model.losses.numerics import Value
from model.losses.objective.loss import TupleLoss
from model.losses.objective.masks import Mask
from model.losses.objective.reduction import mean_of_axes
from model.losses.registry import CommonKeywords, objective
from model.losses.score import RowStats, others

# (n, B) -> permutations of B rows for every anchor and every other view, (n, n - 1, B).
Draw = Callable[[int, int], Tensor]


class RandomTupleScore(ProductScore):
    """The multilinear inner product; candidate c of anchor a combines independently drawn rows of the other views."""

    def __init__(self, draw: Draw) -> None:
        super().__init__(einsum)
        self.draw = draw

    def row_sums(self, views: Sequence[Value]) -> None:
        """Returns None, because the cross terms depend on the draw."""

    def prepare(self, views: Tensor) -> RowStats:
        return self.from_sums(reduce(mul, views.unbind()).sum(-1).unsqueeze(0), len(views), views.shape[-1])

    def cross_terms(self, views: Sequence[Tensor]) -> Iterator[list[CrossTerm]]:
        for a, orders in enumerate(self.draw(len(views), len(views[0]))):
            drawn = [view[order.to(view.device)] for view, order in zip(others(views, a), orders, strict=True)]
            yield [Product(views[a], reduce(mul, drawn))]


class SymileLoss(TupleLoss):
    """For each anchor view, contrasts row i of its own sample with B - 1 random tuples (Saporta et al. 2024). To
    compare with the published sampling; the range is that of `einsum`.

    The permutations are a function of the seed and of `draws`, which counts the evaluations in training and is part of
    the checkpoint. A resumed run therefore draws the same tuples, and within one step the draw does not change.
    """

    draws: Tensor

    def __init__(self, evaluator: LineEvaluator, *, seed: int, **common: Any):
        random = replace(evaluator, score=RandomTupleScore(self._draw))
        super().__init__(random, axes=mean_of_axes, mask=Mask(), **common)
        self.register_buffer("draws", torch.zeros((), dtype=torch.int64))
        self._seed, self._einsum = seed, evaluator

    def _rest_lines(self) -> LineEvaluator:
        """Returns the lines of `einsum`, because each training step draws other rows beside a candidate."""
        return self._einsum

    def _draw(self, n: int, size: int) -> Tensor:
        generator = torch.Generator("cpu").manual_seed((self._seed << 32) + int(self.draws))
        orders = [torch.randperm(size, generator=generator, device="cpu") for _ in range(n * (n - 1))]
        return torch.stack(orders).unflatten(0, (n, n - 1))

    def _sum(self, views: Views, scale: Tensor) -> Tensor:
        total = super()._sum(views, scale)
        if self.training:
            self.draws += 1
        return total


@objective("symile", "sampled", lambda eps: ProductScore(einsum))
def symile(evaluator: LineEvaluator, seed: int, common: CommonKeywords) -> SymileLoss:
    """Returns the loss, whose random tuples follow from `seed`."""
    return SymileLoss(evaluator, seed=seed, **common)
