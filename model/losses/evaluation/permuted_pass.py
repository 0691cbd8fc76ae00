"""Candidates that are products of permuted rows: candidate c of an anchor view multiplies one row of each other view.

Shapes: n views, B rows, F features. orders (n, n - 1, B): for anchor view a and each other view, in order, the row
that candidate c takes; orders[a, j] is a permutation of the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import accumulate
from operator import mul

import torch
from torch import Tensor

from model.losses.compiled.permuted_kernel import PermutedKernel, permuted_kernel
from model.losses.cross_terms import CrossTerm, Gradients, Product
from model.losses.evaluation.evaluator import LineEvaluator
from model.losses.evaluation.view_pass import ViewBackward, ViewPass
from model.losses.inductor.compile import fuses
from model.losses.inductor.permuted_function import PermutedFunction, permuted_function
from model.losses.score import RowStats, others


@dataclass(frozen=True)
class PermutingEvaluator(LineEvaluator):
    """Contrasts row i of view a with the candidates of anchor a, by their inner products. The cross terms of its score
    are the products of each view with itself, whose operands are the normalised rows.
    """

    orders: Tensor = field(kw_only=True, compare=False)

    def cross_terms(self, rows: Sequence[Tensor]) -> Iterator[Sequence[CrossTerm]]:
        for a, orders in enumerate(self.orders):
            rest = [view[order] for view, order in zip(others(rows, a), orders, strict=True)]
            yield [Product(rows[a], reduce(mul, rest))]

    def derived_pass(self, view_pass: ViewPass) -> ViewPass:
        n, device = len(self.orders), view_pass.stats.matched.device
        kernel: PermutedKernel | PermutedFunction | None = None
        if fuses(self.backend, device):
            kernel = permuted_function(n)
        elif self.backend.compiles(device):
            kernel = self.backend.checked(permuted_kernel(n, view_pass.dtype))
        return PermutedPass(view_pass, self, kernel)


class PermutedPass(ViewPass):
    """The pass of a PermutingEvaluator: the row-wise part of its score, followed by the products of permuted rows."""

    def __init__(
        self, rows: ViewPass, evaluator: PermutingEvaluator, kernel: PermutedKernel | PermutedFunction | None
    ) -> None:
        """rows: the row-wise part of the evaluator's score; kernel: None to compute in torch."""
        self._rows, self._orders, self._kernel, self._scratch = rows, evaluator.orders, kernel, evaluator.scratch
        self.stats, self.dtype = rows.stats, rows.dtype
        self._operands = [operand for (term,) in rows.cross_terms() for operand in term.operands[:1]]
        views = [operand.detach() for operand in self._operands]
        self._block = self._scratch.acquire((len(views), *views[0].shape), self.dtype, views[0].device)
        self._candidates = list(self._block)
        if kernel is not None:
            kernel.forward(views, self._orders, self._candidates)
        else:
            for a, orders in enumerate(self._orders):
                torch.prod(chosen_rows(views, a, orders), 0, out=self._candidates[a])

    def cross_terms(self) -> Iterator[Sequence[CrossTerm]]:
        for pair in zip(self._operands, self._candidates, strict=True):
            yield [Product(*pair)]

    def new_gradients(self) -> Gradients:
        return self._rows.new_gradients()

    def to_backward(self, gradients: Gradients, d_stats: RowStats) -> ViewBackward:
        views = [operand.detach() for operand in self._operands]
        grads = [gradients.total(candidates) for candidates in self._candidates]
        d_views = [gradients.total(operand) for operand in self._operands]
        if self._kernel is not None:
            self._kernel.backward(views, self._orders, grads, d_views)
        else:
            for a, (orders, grad) in enumerate(zip(self._orders, grads, strict=True)):
                for d_view, d_rows in zip(others(d_views, a), choice_gradients(views, a, orders, grad), strict=True):
                    d_view += d_rows
        return self._rows.to_backward(gradients, d_stats)

    def release_buffers(self) -> None:
        self._scratch.release([self._block])
        self._rows.release_buffers()


def permuted(rows: Tensor, orders: Tensor) -> Tensor:
    """Returns row orders[j, c] of each matrix j at place c: (m, B, F) and (m, B) -> (m, B, F), in one copy."""
    first = torch.arange(0, orders.numel(), orders.shape[1], device=rows.device).unsqueeze(1)
    return rows.flatten(0, 1).index_select(0, (orders + first).flatten()).view_as(rows)


def chosen_rows(views: Sequence[Tensor], a: int, orders: Tensor) -> Tensor:
    """Returns the rows of the views other than `a` in the orders (n - 1, B): (n - 1, B, F)."""
    return permuted(torch.stack(others(views, a)), orders)


def choice_gradients(views: Sequence[Tensor], a: int, orders: Tensor, grad: Tensor) -> Tensor:
    """Returns the gradients with respect to the rows of the views other than `a`, (n - 1, B, F), given those with
    respect to the products of `chosen_rows`, (B, F).
    """
    rows = chosen_rows(views, a, orders).unbind()
    before = list(accumulate(rows[:-1], mul, initial=grad))
    after = [None, *accumulate(rows[:0:-1], mul)][::-1]
    grads = [x if y is None else x * y for x, y in zip(before, after, strict=True)]
    # Each row was taken once, so that its gradient is read at the place of the candidate that took it.
    return permuted(torch.stack(grads), orders.argsort(1))
