"""Scores of all tuples, (B,)*n, made tile by tile and made again tile by tile for the gradient.

Only the scores themselves are held whole. A tile fixes the leading views to few rows and lets the others run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import torch
from torch import Tensor

from model.losses.score import TupleScore


def tiles(n: int, size: int, cells: int) -> Iterator[tuple[slice, ...]]:
    """Index tuples that cover (size,)*n, each of at most `cells` cells (one row of every leading view at the least)."""
    fixed = next(k for k in range(n) if k == n - 1 or size ** (n - 1 - k) <= cells)
    step = max(1, min(size, cells // size ** (n - 1 - fixed)))
    for lead in product(range(size), repeat=fixed):
        for start in range(0, size, step):
            yield (
                *(slice(i, i + 1) for i in lead),
                slice(start, min(start + step, size)),
                *[slice(None)] * (n - 1 - fixed),
            )


class _Dense(torch.autograd.Function):
    @staticmethod
    def forward(ctx, score: TupleScore, cells: int, dtype: torch.dtype, views: Tensor) -> Tensor:
        ctx.score, ctx.cells = score, cells
        ctx.save_for_backward(views)
        n, size, _ = views.shape
        out = views.new_empty((size,) * n, dtype=dtype)
        for index in tiles(n, size, cells):
            out[index] = score.dense(_rows(views, index))
        return out

    @staticmethod
    def backward(ctx, grad: Tensor):
        (views,) = ctx.saved_tensors
        total = torch.zeros_like(views)
        for index in tiles(views.shape[0], views.shape[1], ctx.cells):
            leaves = [rows.detach().requires_grad_() for rows in _rows(views, index)]
            with torch.enable_grad():
                scores = ctx.score.dense(leaves)
            if not scores.requires_grad:  # a constant
                continue
            pulled = torch.autograd.grad(scores, leaves, grad[index].to(scores.dtype), allow_unused=True)
            for k, (rows, part) in enumerate(zip(index, pulled, strict=True)):
                if part is not None:
                    total[k, rows] += part
        return None, None, None, total


def dense_scores(score: TupleScore, views: Tensor, dtype: torch.dtype, budget: int) -> Tensor:
    """(n, B, F) normalised float64 rows -> scores (B,)*n in `dtype`, differentiable; a tile takes about `budget`
    bytes.
    """
    n, _, features = views.shape
    cells = max(1, budget // (8 * score.dense_width(n, features)))
    return _Dense.apply(score, cells, dtype, views)


def _rows(views: Tensor, index: Sequence[slice]) -> list[Tensor]:
    return [view[rows] for view, rows in zip(views, index, strict=True)]
