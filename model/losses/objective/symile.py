"""Symile's own sampling, for comparison with the lines of `einsum`: B - 1 random tuples are the negatives of each row.

Shapes: n views, B rows, F features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from model.losses.cross_terms import Product
from model.losses.evaluation.evaluator import LineEvaluator
from model.losses.evaluation.permuted_pass import PermutingEvaluator
from model.losses.formulas.product import ProductScore, einsum
from model.losses.inputs import Views
from model.losses.numerics import Value
from model.losses.objective.loss import TupleLoss
from model.losses.objective.masks import Mask
from model.losses.objective.reduction import mean_of_axes
from model.losses.registry import CommonKeywords, objective

EINSUM = ProductScore(einsum)


class RandomTupleScore(ProductScore):
    """The multilinear inner product, of an anchor with combinations of independently drawn rows of the other views. Its
    cross terms name the rows; `PermutingEvaluator` computes the combinations.
    """

    def __init__(self) -> None:
        super().__init__(einsum)

    def cross_terms(self, views: Sequence[Value]) -> Iterator[list[Product[Value]]]:
        for view in views:
            yield [Product(view, view)]


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
        self._known_draws = self.draws, self.draws._version, 0

    def _evaluator_of(self, views: Views) -> LineEvaluator:
        """Returns the evaluator with the permutations of this step."""
        plain, orders = self._evaluator, self._orders(len(views), len(views[0]), views[0].device)
        settings = plain.score, plain.normalised, plain.eps, plain.scratch, plain.backend, plain.memory_mib
        return PermutingEvaluator(*settings, orders=orders)

    def _rest_evaluator(self) -> LineEvaluator:
        """Returns the evaluator of `einsum`: in training the rows that join a candidate are random."""
        return replace(self._evaluator, score=EINSUM)

    def _orders(self, n: int, size: int, device: torch.device) -> Tensor:
        """Returns the permutations of `size` rows for this step, (n, n - 1, size), drawn on the device of the views."""
        generator = torch.Generator(device).manual_seed((self._seed << 32) + self._draw_count())
        draw = permutations_one_by_one if device.type == "cpu" else permutations_by_sorting
        return draw(n * (n - 1), size, generator).unflatten(0, (n, n - 1))

    def _draw_count(self) -> int:
        """Returns `draws`. It is read from its device only after other code has written it, because that waits for all
        work on the device.
        """
        known, version, count = self._known_draws
        if known is not self.draws or version != known._version:
            count = int(self.draws)
            self._known_draws = self.draws, self.draws._version, count
        return count

    def _sum(self, views: Views, scale: Tensor) -> Tensor:
        total = super()._sum(views, scale)
        if self.training:
            count = self._draw_count() + 1
            self.draws += 1
            self._known_draws = self.draws, self.draws._version, count
        return total


def permutations_one_by_one(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Returns random permutations (count, size), each drawn by torch.randperm."""
    draws = [torch.randperm(size, generator=generator, device=generator.device) for _ in range(count)]
    return torch.stack(draws)


def permutations_by_sorting(count: int, size: int, generator: torch.Generator) -> Tensor:
    """Returns random permutations (count, size), other ones than `permutations_one_by_one`, in two operations of a
    device.
    """
    return torch.rand(count, size, generator=generator, dtype=torch.float64, device=generator.device).argsort(1)


@objective("symile", "sampled", lambda eps: RandomTupleScore())
def symile(evaluator: LineEvaluator, seed: int, common: CommonKeywords) -> SymileLoss:
    """Returns the loss, whose random tuples follow from `seed`."""
    return SymileLoss(evaluator, seed=seed, **common)
