"""A score that is known as a function of all tuples only: its lines are that function on the tuples of a line.

Shapes: n views, B rows, F features.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.losses.crosses import Cross, Gradients
from model.losses.score import Prepared, TupleScore

# n tensors (B_k, F) -> scores (B_1, …, B_n).
DenseFunction = Callable[[Sequence[Tensor]], Tensor]


def _line(function: DenseFunction, views: Sequence[Tensor], d: int, i: int) -> Tensor:
    """Scores (B,) of the tuples in which view d takes any row and the others row i."""
    return function([view if k == d else view[i : i + 1] for k, view in enumerate(views)]).flatten()


@dataclass(frozen=True)
class DenseCross(Cross):
    """The scores of direction `d`, a row at a time."""

    function: DenseFunction
    views: tuple[Tensor, ...]
    d: int

    @property
    def operands(self) -> tuple[Tensor, ...]:
        return self.views

    def cells(self, rows: slice, out: Tensor | None = None) -> Tensor:
        with torch.no_grad():
            return torch.stack([_line(self.function, self.views, self.d, i) for i in range(rows.start, rows.stop)])

    def pull(self, rows: slice, grad: Tensor, sums: Gradients) -> None:
        leaves = [view.detach().requires_grad_() for view in self.views]
        for i in range(rows.start, rows.stop):
            with torch.enable_grad():
                scores = _line(self.function, leaves, self.d, i)
            for view, part in zip(self.views, torch.autograd.grad(scores, leaves, grad[i - rows.start]), strict=True):
                sums.of(view).add_(part)


class DenseOnlyScore(TupleScore):
    """`function` maps n tensors (B_k, F) to scores (B_1, …, B_n), differentiably."""

    float64_rows = sys.maxsize

    def __init__(self, function: DenseFunction):
        self.function = function

    def prepare(self, views: Tensor) -> Prepared:
        n, b, _ = views.shape
        matched = torch.stack([self.function(list(views[:, i : i + 1])).reshape(()) for i in range(b)])
        return Prepared(matched.expand(n, b), *[views.new_zeros(n, 0, b)] * 2)

    def crosses(self, views: Sequence[Tensor]) -> Iterator[list[Cross]]:
        for d in range(len(views)):
            yield [DenseCross(self.function, tuple(views), d)]

    def line(self, cells: Sequence[Tensor], rows: Tensor, cols: Tensor, n: int, features: int) -> Tensor:
        return cells[0]

    def dense(self, views: Sequence[Tensor]) -> Tensor:
        return self.function(views)

    def dense_width(self, n: int, features: int) -> int:
        return 4 * features
