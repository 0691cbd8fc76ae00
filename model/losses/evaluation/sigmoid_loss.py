"""The sigmoid loss of every pair of rows; its gradients are computed in the forward pass, while a tile is in memory.

Row-wise statistics, logits and losses are float64; products (T, B) are float32 where that is safe. Nothing of size
(B, B) is saved for backward.

Shapes: n views, B rows, F features, T rows of a tile.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import softplus

from model.losses.compiled.sigmoid_kernel import SigmoidKernel, sigmoid_kernel
from model.losses.cross_terms import Gradients, row_blocks
from model.losses.evaluation.backend import new_view_pass
from model.losses.evaluation.evaluator import LineEvaluator
from model.losses.evaluation.view_pass import ViewBackward, ViewPass
from model.losses.inputs import Views
from model.losses.numerics import result_dtype
from model.losses.score import RowStats

# The largest number of rows of a tile on a CPU. Few rows take little memory, and matrix products of so many are fast.
TILE_ROWS = 256
# Bytes of the intermediate results of `eager_tile` for each cell, and the cells (float64) that a core's cache holds.
CELL_BYTES = 64
CACHED_CELLS = 1 << 16


def sigmoid_loss(evaluator: LineEvaluator, views: Views, scale: Tensor, bias: Tensor) -> Tensor:
    """Returns the sum over i and c of -log sigmoid(z (scale * score[i, c] + bias)), z = 1 at i = c and -1 elsewhere,
    for the scores of the first direction, which are inner products.

    views: n tensors (B, F) or one (n, B, F), any floating dtype; scale and bias: scalars. Differentiable once with
    respect to views, scale and bias. The result is float64 for float64 views, else float32.
    """
    tensors = (views,) if isinstance(views, Tensor) else tuple(views)
    need_grad = torch.is_grad_enabled() and any(x.requires_grad for x in (*tensors, scale, bias))
    return _SigmoidLoss.apply(evaluator, need_grad, scale, bias, *tensors)


class _SigmoidLoss(torch.autograd.Function):
    """`sigmoid_loss`, a scalar, as a function of scale and bias, scalars, and of the views: n of (B, F), or one
    (n, B, F).
    """

    @staticmethod
    def forward(
        ctx: Any, evaluator: LineEvaluator, need_grad: bool, scale: Tensor, bias: Tensor, *tensors: Tensor
    ) -> Tensor:
        views: Views = tensors[0] if tensors[0].dim() == 3 else tensors
        view_pass = new_view_pass(evaluator, views, need_grad)
        gradients = view_pass.new_gradients() if need_grad else Gradients()
        sums, d_matched = _add_tiles(evaluator, view_pass, scale, bias, gradients if need_grad else None)
        if need_grad:
            gradients = view_pass.flush_direction(gradients)
            d_stats = RowStats(*(torch.zeros_like(statistic) for statistic in view_pass.stats))
            d_stats.matched[0] = d_matched
            saved, ctx.to_views = view_pass.to_backward(gradients, d_stats)
            ctx.save_for_backward(sums[1].to(scale), sums[2].to(bias), *saved, *tensors)
            ctx.saved_count = len(saved)
        view_pass.release_buffers()
        return sums[0].to(result_dtype(tensors[0]))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        d_scale, d_bias, *rest = ctx.saved_tensors
        backward = ViewBackward(rest[: ctx.saved_count], ctx.to_views)
        return None, None, d_scale * grad, d_bias * grad, *backward.to_tensors(rest[ctx.saved_count :], grad)


# Computes a tile, given the scores (T, B), the candidate that matches the first row, the scores of the matches (T,),
# scale and bias. Adds the loss and its gradients with respect to scale and bias to a tensor (3,), writes the gradients
# with respect to the scores of the matches (T,), and replaces the scores by the gradients with respect to the others.
TileFunction = Callable[[Tensor, int, Tensor, Tensor, Tensor, Tensor, Tensor], None]


def _add_tiles(
    evaluator: LineEvaluator, view_pass: ViewPass, scale: Tensor, bias: Tensor, gradients: Gradients | None
) -> tuple[Tensor, Tensor]:
    """Returns the loss and its gradients with respect to scale and bias, (3,), and those with respect to the scores of
    the matches (B,), float64. Adds the gradients of the operands to `gradients`, unless that is None.
    """
    (term,) = next(iter(view_pass.cross_terms()))
    matched = view_pass.stats.matched[0]
    size, scratch = len(matched), evaluator.scratch
    function, step = _tile_function(evaluator, matched, view_pass.dtype)
    buffer = scratch.acquire((min(step, size), size), view_pass.dtype, matched.device)
    sums, d_matched = matched.new_zeros(3), torch.empty_like(matched)
    scale, bias = (x.detach().to(matched) for x in (scale, bias))
    with torch.no_grad():
        for rows in row_blocks(size, step):
            cells = term.cells(rows, buffer[: rows.stop - rows.start])
            function(cells, rows.start, matched[rows], scale, bias, sums, d_matched[rows])
            if gradients is not None:
                term.backward(rows, cells, gradients)
    scratch.release([buffer])
    return sums, d_matched


def _tile_function(evaluator: LineEvaluator, matched: Tensor, dtype: torch.dtype) -> tuple[TileFunction, int]:
    """Returns the function that computes a tile, and the largest number of rows of a tile."""
    size, backend, budget = len(matched), evaluator.backend, evaluator.budget(matched.device)
    kernel = backend.checked(sigmoid_kernel(dtype)) if backend.compiles(matched.device) else None
    if kernel is not None:
        return partial(compiled_tile, kernel), max(1, min(TILE_ROWS, budget // (8 * size)))
    in_cache = matched.device.type == "cpu" and not backend.fuses(matched.device)
    cells = CACHED_CELLS if in_cache else budget // CELL_BYTES
    return eager_tile, max(1, cells // size)


def compiled_tile(
    kernel: SigmoidKernel,
    cells: Tensor,
    first: int,
    matched: Tensor,
    scale: Tensor,
    bias: Tensor,
    sums: Tensor,
    d_matched: Tensor,
) -> None:
    """Computes a tile in one compiled pass."""
    kernel(cells, first, matched, scale.item(), bias.item(), sums, d_matched)


def eager_tile(
    cells: Tensor, first: int, matched: Tensor, scale: Tensor, bias: Tensor, sums: Tensor, d_matched: Tensor
) -> None:
    """Computes a tile in torch operations of float64."""
    scores = cells.double()
    scores.diagonal(first).copy_(matched)
    logits = torch.addcmul(bias, scores, scale)
    logits.diagonal(first).neg_()
    loss = softplus(logits, threshold=40).sum()  # beyond 40, log(1 + exp(x)) is x
    d_logits = logits.sigmoid_()
    d_logits.diagonal(first).neg_()
    sums += torch.stack([loss, torch.linalg.vecdot(d_logits.flatten(), scores.flatten()), d_logits.sum()])
    d_scores = d_logits.mul_(scale)
    d_matched.copy_(d_scores.diagonal(first))
    d_scores.diagonal(first).zero_()
    cells.copy_(d_scores)
