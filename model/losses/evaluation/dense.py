"""Computes the scores of all tuples, (B,)*n, block by block, and computes them block by block again for the gradient.

Only the scores themselves are held as a whole. A block fixes the leading views to few rows and holds all rows of the
other views.

Shapes: n views, B rows, F features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor

from model.losses.score import TupleScore


def tuple_blocks(n: int, size: int, cells: int) -> Iterator[tuple[slice, ...]]:
    """Yields index tuples that cover (size,)*n, each of at most `cells` cells, unless one row of each leading view
    already has more.
    """
    fixed = next(k for k in range(n) if k == n - 1 or size ** (n - 1 - k) <= cells)
    step = max(1, min(size, cells // size ** (n - 1 - fixed)))
    for lead in product(range(size), repeat=fixed):
        for start in range(0, size, step):
            rows = slice(start, min(start + step, size))
            yield (*(slice(i, i + 1) for i in lead), rows, *[slice(None)] * (n - 1 - fixed))


class _Dense(torch.autograd.Function):
    """Scores (B,)*n in `dtype` as a function of the views (n, B, F)."""

    @staticmethod
    def forward(ctx: Any, score: TupleScore, cells: int, dtype: torch.dtype, views: Tensor) -> Tensor:
        ctx.score, ctx.cells = score, cells
        ctx.save_for_backward(views)
        n, size, _ = views.shape
        out = views.new_empty((size,) * n, dtype=dtype)
        for index in tuple_blocks(n, size, cells):
            out[index] = score.dense(_rows(views, index))
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (views,) = ctx.saved_tensors
        total = torch.zeros_like(views)
        for index in tuple_blocks(views.shape[0], views.shape[1], ctx.cells):
            leaves = [rows.detach().requires_grad_() for rows in _rows(views, index)]
            with torch.enable_grad():
                scores = ctx.score.dense(leaves)
            if not scores.requires_grad:  # a constant
                continue
            grads = torch.autograd.grad(scores, leaves, grad[index].to(scores.dtype), allow_unused=True)
            for k, (rows, view_grad) in enumerate(zip(index, grads, strict=True)):
                if view_grad is not None:
                    total[k, rows] += view_grad
        return None, None, None, total


def dense_scores(score: TupleScore, views: Tensor, dtype: torch.dtype, budget: int) -> Tensor:
    """Returns the scores (B,)*n in `dtype` of normalised float64 rows (n, B, F), differentiable. budget: approximate
    bytes of a block.
    """
    n, _, features = views.shape
    cells = max(1, budget // (8 * score.dense_width(n, features)))
    return _Dense.apply(score, cells, dtype, views)


def _rows(views: Tensor, index: Sequence[slice]) -> list[Tensor]:
    return [view[rows] for view, rows in zip(views, index, strict=True)]
