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
from model.losses.score import others


class PermutedFunction:
    """The products of n views; its methods are those of PermutedKernel.

    Each function is compiled for one view and called for every view: one function for all n views would gather
    n (n - 1)² rows in one kernel, which takes minutes to compile.
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._product = CompiledFunction(lambda count: recorded(product, count), [*[0] * (n - 1), 1])
        self._gradient = CompiledFunction(lambda count: recorded(gradient, count), [*[0] * (2 * n - 2), 1, 2])

    def forward(self, views: Sequence[Tensor], orders: Tensor, candidates: Sequence[Tensor]) -> None:
        """Writes the product of the permuted rows of the views other than a, (B, F), to candidates[a]."""
        products = [self._product(*others(views, a), orders[a])[0] for a in range(self._n)]
        torch._foreach_copy_(list(candidates), products)

    def backward(
        self, views: Sequence[Tensor], orders: Tensor, grads: Sequence[Tensor], d_views: Sequence[Tensor]
    ) -> None:
        """Adds to d_views the gradients of the views that follow from those of the candidates, n of (B, F)."""
        own, rest = places_in_orders(self._n, orders.device)
        # The candidate of anchor i that took each row of view k, (n, n - 1, B) for k and i: each row was taken once.
        takers = orders.argsort(2).flatten(0, 1)[own]
        # The rows that those candidates take of the views other than i and k, (n, n - 1, n - 2, B).
        rows = orders.flatten(0, 1)[rest].gather(3, takers.unsqueeze(2).expand(-1, -1, self._n - 2, -1))
        found = [self._gradient(*others(grads, k), *others(views, k), takers[k], rows[k])[0] for k in range(self._n)]
        torch._foreach_add_(list(d_views), found)


def product(*tensors: Tensor) -> Sequence[Tensor]:
    """Returns the products of rows, (B, F). tensors: m views, (B, F) each, and the row that each view gives to each
    product, (m, B).
    """
    *views, orders = tensors
    return [reduce(mul, [view[orders[j]] for j, view in enumerate(views)])]


def gradient(*tensors: Tensor) -> Sequence[Tensor]:
    """Returns the gradient with respect to one view, (B, F). tensors, for the m views other than that one, which are
    its anchors: the gradients with respect to their candidates, (B, F) each; the views, (B, F) each; the candidate of
    each anchor that took each row, (m, B); and the rows that this candidate takes of the other m - 1 views,
    (m, m - 1, B).
    """
    *operands, takers, rows = tensors
    grads, views = operands[: len(operands) // 2], operands[len(operands) // 2 :]
    terms = [
        reduce(mul, [view[rows[i, j]] for j, view in enumerate(others(views, i))], grad[takers[i]])
        for i, grad in enumerate(grads)
    ]
    return [reduce(add, terms)]


@cache
def places_in_orders(n: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Returns where the orders of view k stand in the flattened first two dimensions of orders (n, n - 1, B), for the
    anchors i other than k: (n, n - 1), and where those of the views other than i and k stand: (n, n - 1, n - 2).
    """

    def place(anchor: int, view: int) -> int:
        return anchor * (n - 1) + view - (view > anchor)

    pairs = [[(i, k) for i in range(n) if i != k] for k in range(n)]
    own = [[place(i, k) for i, k in row] for row in pairs]
    rest = [[[place(i, j) for j in range(n) if j not in (i, k)] for i, k in row] for row in pairs]
    return torch.tensor(own, device=device), torch.tensor(rest, device=device, dtype=torch.int64)


@cache
def permuted_function(n: int) -> PermutedFunction:
    """Returns the function for n views."""
    return PermutedFunction(n)
