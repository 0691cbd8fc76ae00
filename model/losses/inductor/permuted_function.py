"""Products of permuted rows, and their gradients, as functions of tensors that gather and multiply in one kernel.

Shapes: n views, B rows, F features; orders (n, n - 1, B): for anchor view a and each other view, the row that candidate
c takes, a permutation of the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, reduce
from operator import add, mul

import torch
from torch import Tensor

from model.losses.inductor.compile import CompiledFunction, recorded


class PermutedFunction:
    """The products of n views; its methods are those of PermutedKernel."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._products = CompiledFunction(lambda count: recorded(self._forward, count), [1, 2])
        self._gradients = CompiledFunction(lambda count: recorded(self._backward, count), [1, 2, 2, 1])

    def forward(self, views: Sequence[Tensor], orders: Tensor, candidates: Sequence[Tensor]) -> None:
        """Writes the product of the permuted rows of the views other than a, (B, F), to candidates[a]."""
        torch._foreach_copy_(list(candidates), list(self._products(torch.stack(list(views)), orders)))

    def backward(
        self, views: Sequence[Tensor], orders: Tensor, grads: Sequence[Tensor], d_views: Sequence[Tensor]
    ) -> None:
        """Adds to d_views the gradients of the views that follow from those of the candidates, n of (B, F)."""
        rows, d_candidates = torch.stack(list(views)), torch.stack(list(grads))
        # The place of the candidate that took a row: each row was taken once.
        found = self._gradients(rows, orders, orders.argsort(2), d_candidates)
        torch._foreach_add_(list(d_views), list(found))

    def _forward(self, views: Tensor, orders: Tensor) -> Sequence[Tensor]:
        others = range(self._n - 1)
        return [reduce(mul, [views[_view(a, j)][orders[a, j]] for j in others]) for a in range(self._n)]

    def _backward(self, views: Tensor, orders: Tensor, places: Tensor, grads: Tensor) -> Sequence[Tensor]:
        return [
            reduce(add, [self._gradient(views, orders, places, grads, a, k) for a in range(self._n) if a != k])
            for k in range(self._n)
        ]

    def _gradient(self, views: Tensor, orders: Tensor, places: Tensor, grads: Tensor, a: int, k: int) -> Tensor:
        """Returns the gradient of view k from the candidates of anchor a."""
        own = k - (k > a)
        candidates = places[a, own]
        rest = [views[_view(a, j)][orders[a, j][candidates]] for j in range(self._n - 1) if j != own]
        return reduce(mul, rest, grads[a][candidates])


def _view(a: int, j: int) -> int:
    """Returns the number of the view in place j among the views other than a."""
    return j + (j >= a)


@cache
def permuted_function(n: int) -> PermutedFunction:
    """Returns the function for n views."""
    return PermutedFunction(n)
