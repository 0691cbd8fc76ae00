"""A score that is known as a function of all tuples only: its lines are that function on the tuples of a line.

Shapes: n views, B rows, F features.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.losses.cross_terms import CrossTerm, Gradients
from model.losses.numerics import Value
from model.losses.score import RowStats, Traits, TupleScore

# n tensors (B_k, F) -> scores (B_1, …, B_n).
DenseFunction = Callable[[Sequence[Tensor]], Tensor]


def scores_of(function: DenseFunction, views: Sequence[Tensor]) -> Tensor:
    """The scores of all tuples of n `views` (B_k, F), in the views' dtype.

    Raises ValueError where the function gives anything but a real floating-point tensor (B_1, …, B_n) on the views'
    device, and where it writes to the views.
    """
    name = name_of(function)
    expected = tuple(len(view) for view in views)
    before = _versions(views)
    scores = function(list(views))
    if not isinstance(scores, Tensor):
        raise ValueError(
            f"loss function {name}: {type(scores).__name__} returned for views of {expected} rows; accepted: a "
            f"tensor {expected}"
        )
    if scores.shape != expected:
        raise ValueError(
            f"loss function {name}: shape {tuple(scores.shape)} returned for views of {expected} rows; accepted: "
            f"{expected}"
        )
    if not scores.is_floating_point():
        raise ValueError(f"loss function {name}: dtype {scores.dtype} returned; accepted: {views[0].dtype}")
    if scores.device != views[0].device:
        raise ValueError(
            f"loss function {name}: scores on {scores.device} returned; accepted: {views[0].device}, where the views "
            f"are"
        )
    if _versions(views) != before:
        raise ValueError(f"loss function {name}: views changed in place; accepted: a function that only reads them")
    return scores.to(views[0].dtype)


@torch.no_grad()
def check_rows_apart(function: DenseFunction, views: Sequence[Tensor], score: Tensor) -> None:
    """Raises ValueError unless the first tuple has this score whatever other rows are there: lines and all tuples would
    be two losses otherwise.
    """
    for d in range(len(views)):
        beside = scores_of(function, [view[: 1 + (k == d)] for k, view in enumerate(views)])[(0,) * len(views)]
        if not torch.isclose(beside, score, rtol=1e-4, atol=1e-4, equal_nan=True):
            raise ValueError(
                f"loss function {name_of(function)}: scores {score:.6g} and {beside:.6g} of one tuple beside "
                f"different rows; "
                "accepted: a function of a tuple's own rows, without random numbers"
            )


def name_of(function: DenseFunction) -> str:
    """What messages call it."""
    return getattr(function, "__name__", type(function).__name__)


def _versions(views: Sequence[Tensor]) -> list[int]:
    """Numbers that grow with every change in place; none in inference mode, where torch does not count."""
    return [view._version for view in views if not view.is_inference()]


def _line(function: DenseFunction, views: Sequence[Tensor], d: int, i: int) -> Tensor:
    """Scores (B,) of the tuples in which view d takes any row and the others row i."""
    return scores_of(function, [view if k == d else view[i : i + 1] for k, view in enumerate(views)]).flatten()


@dataclass(frozen=True)
class DenseCross(CrossTerm):
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

    def backward(self, rows: slice, grad: Tensor, gradients: Gradients) -> None:
        leaves = [view.detach().requires_grad_() for view in self.views]
        for i in range(rows.start, rows.stop):
            with torch.enable_grad():
                scores = _line(self.function, leaves, self.d, i)
            if not scores.requires_grad:  # a constant
                continue
            made = torch.autograd.grad(scores, leaves, grad[i - rows.start], allow_unused=True)
            for view, part in zip(self.views, made, strict=True):
                if part is not None:
                    gradients.total(view).add_(part)


class DenseOnlyScore(TupleScore):
    """`function` maps n tensors (B_k, F) to scores (B_1, …, B_n), differentiably."""

    traits = Traits(float64_rows=sys.maxsize)

    def __init__(self, function: DenseFunction):
        self.function = function

    def prepare(self, views: Tensor) -> RowStats:
        n, b, _ = views.shape
        matched = torch.stack([scores_of(self.function, views[:, i : i + 1].unbind()).reshape(()) for i in range(b)])
        check_rows_apart(self.function, views.unbind(), matched[0])
        return RowStats(matched.expand(n, b), *[views.new_zeros(n, 0, b)] * 2)

    def cross_terms(self, views: Sequence[Tensor]) -> Iterator[list[CrossTerm]]:
        for d in range(len(views)):
            yield [DenseCross(self.function, tuple(views), d)]

    def line(
        self, cells: Sequence[Value], rows: Sequence[Value], cols: Sequence[Value], n: int, features: Value | int
    ) -> Value:
        return cells[0]

    def dense(self, views: Sequence[Tensor]) -> Tensor:
        scores = scores_of(self.function, views)
        check_rows_apart(self.function, views, scores[(0,) * len(views)])
        return scores

    def dense_width(self, n: int, features: int) -> int:
        return 4 * features
