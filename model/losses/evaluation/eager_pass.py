"""The row-wise part in tensor operations of float64, a block of rows at a time.

Shapes: n views, B rows, b rows of a block, F features.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from model.losses.cross_terms import CrossTerm, Gradients, row_blocks
from model.losses.evaluation.evaluator import LineEvaluator
from model.losses.evaluation.view_pass import ViewBackward, ViewPass, scaled_gradient
from model.losses.numerics import ordinary_rows, result_dtype, saturate, to_float64
from model.losses.score import RowStats, Score

# Rows of a block on a CPU, which stays in the caches: 6 views of 128 rows and 512 features are 3 MiB.
BLOCK_ROWS = 128


class EagerPass(ViewPass):
    """All rows in torch, for every score, dtype and device."""

    def __init__(self, evaluator: LineEvaluator, views: Tensor, need_grad: bool) -> None:
        self._evaluator, self._views, self._need_grad = evaluator, views, need_grad
        self.shares_operands = evaluator.score.traits.shares_operands
        self.dtype = operand_dtype(evaluator, views)
        self._narrow = views.dtype != torch.float64
        fits = max(1, evaluator.budget(views.device) // (evaluator.score.traits.row_copies * 8 * views[:, 0].numel()))
        self._step = min(BLOCK_ROWS, fits) if views.device.type == "cpu" else fits
        normalised = self._prepare(views)
        if self.dtype == torch.float32 and not evaluator.score.allows_float32(self.stats):
            self.dtype = torch.float64
            normalised = self._prepare(views)
        self._rows = [view.requires_grad_(need_grad) for view in normalised.unbind()]
        self._d_rows: list[Tensor | None] = [None] * len(self._rows)

    @torch.no_grad()
    def _prepare(self, views: Tensor) -> Tensor:
        """Computes the statistics, and returns the normalised rows (n, B, F) in the dtype of the operands."""
        normalised, blocks = torch.empty_like(views, dtype=self.dtype), []
        for rows in row_blocks(views.shape[1], self._step):
            normalised[:, rows], stats = self._evaluator.prepare(self._sample_major(rows), self._narrow)
            blocks.append(stats)
        self.stats = RowStats(*(torch.cat(statistic, dim=-1) for statistic in zip(*blocks, strict=True)))
        return normalised

    def _sample_major(self, rows: slice) -> Tensor:
        """Returns some rows of the views, (n, b, F) float64, with the views of a sample next to each other in
        memory.
        """
        return to_float64(self._views[:, rows].transpose(0, 1).contiguous()).transpose(0, 1)

    def cross_terms(self) -> Iterator[Sequence[CrossTerm]]:
        score = self._evaluator.score
        with torch.set_grad_enabled(self._need_grad):
            directions = score.cross_terms(self._rows)
            for terms in list(directions) if self.shares_operands else directions:
                yield [term.on(self._evaluator.backend, self._evaluator.budget(self._views.device)) for term in terms]

    def flush_direction(self, gradients: Gradients) -> Gradients:
        return gradients if self.shares_operands else self._add_to_rows(gradients)

    def _add_to_rows(self, gradients: Gradients) -> Gradients:
        """Propagates the gradients of operands to the normalised rows. Returns empty sums for the next direction."""
        for k, grad in enumerate(gradients.backward_to(self._rows)):
            if grad is not None:
                # Not in place: where an operand is a plain sum of views, torch returns the same memory for all of them.
                total = self._d_rows[k]
                self._d_rows[k] = grad if total is None else total + grad
        return Gradients()

    def to_backward(self, gradients: Gradients, d_stats: RowStats) -> ViewBackward:
        if self.shares_operands:
            self._add_to_rows(gradients)
        self._rows = []  # frees memory before as much is allocated for the gradient
        out = torch.empty_like(self._views, dtype=result_dtype(self._views))
        for rows in row_blocks(self._views.shape[1], self._step):
            out[:, rows] = saturate(self._block_grad(rows, d_stats), out.dtype)
        return ViewBackward([out], scaled_gradient)

    def _block_grad(self, rows: slice, d_stats: RowStats) -> Tensor:
        """Returns the gradient with respect to some rows of the views, (n, b, F) float64."""
        with torch.enable_grad():
            views = self._sample_major(rows).requires_grad_()
            normalised, stats = self._evaluator.prepare(views, self._narrow)
        d_normalised = torch.zeros_like(normalised)
        for k, grad in enumerate(self._d_rows):
            if grad is not None:
                d_normalised[k] = grad[rows]
        grads = [d_normalised, *(grad[..., rows] for grad in d_stats)]
        pairs = zip((normalised, *stats), grads, strict=True)
        outputs, output_grads = zip(*((x, grad) for x, grad in pairs if x.requires_grad), strict=True)
        return torch.autograd.grad(outputs, views, output_grads)[0]


def operand_dtype(evaluator: LineEvaluator, views: Tensor) -> torch.dtype:
    """Returns the dtype of the operands for views (n, B, F): float32 where products of float32 are safe.

    On a CPU the lengths of the rows decide, and float64 costs little for few rows. Elsewhere the options of the loss
    decide, because a decision by data would wait for the device: normalised rows have lengths of 1 or less, and a score
    that allows float32 for some batches only gets float64.
    """
    score = evaluator.score
    float64_rows = score.traits.float64_rows
    if views.dtype == torch.float64 or float64_rows == sys.maxsize:
        return torch.float64
    if views.device.type == "cpu" and not evaluator.backend.fuses(views.device):
        safe = views.shape[1] > float64_rows and ordinary_rows(views, evaluator.normalised, evaluator.eps)
    else:
        safe = evaluator.normalised and type(score).allows_float32 is Score.allows_float32
    return torch.float32 if safe else torch.float64
