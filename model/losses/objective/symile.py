"""Symile's own sampling, for comparison with the lines of `einsum`: B - 1 random tuples as the negatives of each row.

Shapes: n views, B rows, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import reduce
from operator import mul

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
from model.losses.score import RowStats, others

# (n, B) -> permutations of B rows for every anchor and every other view, (n, n - 1, B).
Draw = Callable[[int, int], Tensor]


class RandomTupleScore(ProductScore):
    """The multilinear inner product; candidate c of anchor a joins independently drawn rows of the other views."""

    draw: Draw  # given by the loss, which knows seed and step

    def __init__(self) -> None:
        super().__init__(einsum)

    def row_sums(self, views: Sequence[Value]) -> None:
        """None: its cross_terms depend on the draw."""

    def prepare(self, views: Tensor) -> RowStats:
        return self.from_sums(reduce(mul, views.unbind()).sum(-1).unsqueeze(0), len(views), views.shape[-1])

    def cross_terms(self, views: Sequence[Tensor]) -> Iterator[list[CrossTerm]]:
        for a, orders in enumerate(self.draw(len(views), len(views[0]))):
            picked = [view[order.to(view.device)] for view, order in zip(others(views, a), orders, strict=True)]
            yield [Product(views[a], reduce(mul, picked))]


class SymileLoss(TupleLoss):
    """`symile` (Saporta et al. 2024): for each anchor view, row i against its own sample and B - 1 random tuples.

    The permutations are a function of the seed and of `draws`, which counts the evaluations in training and is part of
    the checkpoint: a resumed run draws the same tuples, and nothing changes between two steps.
    """

    def __init__(self, lines: LineEvaluator, *, seed: int, **rest):
        super().__init__(lines, axes=mean_of_axes, mask=Mask(), **rest)
        self.register_buffer("draws", torch.zeros((), dtype=torch.int64))
        self._seed = seed
        lines.score.draw = self._draw

    def _rest_lines(self) -> LineEvaluator:
        """Those of `einsum`: in training the rows beside a candidate are drawn anew."""
        return replace(self._lines, score=ProductScore(einsum))

    def _draw(self, n: int, size: int) -> Tensor:
        generator = torch.Generator("cpu").manual_seed((self._seed << 32) + int(self.draws))
        orders = [torch.randperm(size, generator=generator, device="cpu") for _ in range(n * (n - 1))]
        return torch.stack(orders).unflatten(0, (n, n - 1))

    def _sum(self, views: Views, scale: Tensor) -> Tensor:
        total = super()._sum(views, scale)
        if self.training:
            self.draws += 1
        return total
