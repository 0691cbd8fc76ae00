"""The own family: a user's function that returns the scores of all tuples. Along a line it is called for B tuples.

Shapes: n views, B rows, F features.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.errors import LossFunctionError
from model.loss_options import OWN
from model.losses.cross_terms import CrossTerm, Gradients
from model.losses.numerics import Value
from model.losses.registry import Formula
from model.losses.score import RowStats, Traits, TupleScore

# n tensors (B_k, F) -> scores (B_1, …, B_n).
DenseFunction = Callable[[Sequence[Tensor]], Tensor]


def own_formula(function: DenseFunction) -> Formula:
    """Returns the formula of a user's function. It is not registered, so that its name may be that of another loss."""
    return Formula(name_of(function), OWN, lambda eps: DenseOnlyScore(function))


def scores_of(function: DenseFunction, views: Sequence[Tensor]) -> Tensor:
    """Returns the scores of all tuples of n `views` (B_k, F), in the dtype of the views.

    Raises LossFunctionError, a ValueError, unless the function returns a real floating-point tensor (B_1, …, B_n) on
    the device of the views and leaves the views unchanged.
    """
    name = name_of(function)
    expected = tuple(len(view) for view in views)
    before = _versions(views)
    scores = function(list(views))
    if not isinstance(scores, Tensor):
        raise LossFunctionError(
            f"loss function {name}: {type(scores).__name__} returned for views of {expected} rows; accepted: a "
            f"tensor {expected}"
        )
    if scores.shape != expected:
        raise LossFunctionError(
            f"loss function {name}: shape {tuple(scores.shape)} returned for views of {expected} rows; accepted: "
            f"{expected}"
        )
    if not scores.is_floating_point():
        raise LossFunctionError(f"loss function {name}: dtype {scores.dtype} returned; accepted: {views[0].dtype}")
    if scores.device != views[0].device:
        raise LossFunctionError(
            f"loss function {name}: scores on {scores.device} returned; accepted: {views[0].device}, as the views"
        )
    if _versions(views) != before:
        raise LossFunctionError(
            f"loss function {name}: views changed in place; accepted: a function that only reads them"
        )
    return scores.to(views[0].dtype)


@torch.no_grad()
def check_own_rows_only(function: DenseFunction, views: Sequence[Tensor], score: Tensor) -> None:
    """Raises LossFunctionError, a ValueError, unless the first tuple keeps the score `score` when one view at a time
    has a second row. The losses along lines and over all tuples would differ for a function that also reads other rows.
    """
    for d in range(len(views)):
        again = scores_of(function, [view[: 1 + (k == d)] for k, view in enumerate(views)])[(0,) * len(views)]
        if not torch.isclose(again, score, rtol=1e-4, atol=1e-4, equal_nan=True):
            raise LossFunctionError(
                f"loss function {name_of(function)}: scores {score:.6g} and {again:.6g} of one tuple beside "
                "different rows; accepted: a function of a tuple's own rows, without random numbers"
            )


def name_of(function: DenseFunction) -> str:
    """Returns the name of the function for messages and for `loss.name`."""
    return getattr(function, "__name__", type(function).__name__)


def _versions(views: Sequence[Tensor]) -> list[int]:
    """Returns counters that grow with every change in place; none in inference mode, where torch does not count."""
    return [view._version for view in views if not view.is_inference()]


def _line(function: DenseFunction, views: Sequence[Tensor], d: int, i: int) -> Tensor:
    """Returns scores (B,): view d takes each of its rows, the other views take row i."""
    return scores_of(function, [view if k == d else view[i : i + 1] for k, view in enumerate(views)]).flatten()


@dataclass(frozen=True)
class DenseCross(CrossTerm):
    """The scores of direction `d`, computed one row at a time."""

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
            view_gradients = torch.autograd.grad(scores, leaves, grad[i - rows.start], allow_unused=True)
            for view, gradient in zip(self.views, view_gradients, strict=True):
                if gradient is not None:
                    gradients.total(view).add_(gradient)


class DenseOnlyScore(TupleScore):
    """Evaluates a differentiable function of n tensors (B_k, F) that returns the scores (B_1, …, B_n)."""

    traits = Traits(float64_rows=sys.maxsize, fixed_operands=False)

    def __init__(self, function: DenseFunction):
        self.function = function

    def prepare(self, views: Tensor) -> RowStats:
        n, b, _ = views.shape
        matched = torch.stack([scores_of(self.function, views[:, i : i + 1].unbind()).reshape(()) for i in range(b)])
        check_own_rows_only(self.function, views.unbind(), matched[0])
        return RowStats(matched.expand(n, b), *[views.new_zeros(n, 0, b)] * 2)

    def cross_terms(self, views: Sequence[Tensor]) -> Iterator[list[CrossTerm]]:
        for d in range(len(views)):
            yield [DenseCross(self.function, tuple(views), d)]

    def line(
        self, cells: Sequence[Value], row: Sequence[Value], col: Sequence[Value], n: int, features: Value | int
    ) -> Value:
        return cells[0]

    def dense(self, views: Sequence[Tensor]) -> Tensor:
        scores = scores_of(self.function, views)
        check_own_rows_only(self.function, views, scores[(0,) * len(views)])
        return scores

    def dense_width(self, n: int, features: int) -> int:
        return 4 * features
