"""The row-wise part in compiled loops: two passes over the views, one forward and one backward.

Shapes: n views, B rows, F features, s sums over features, m operands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from model.losses.compiled.row_kernel import RowKernel
from model.losses.cross_terms import CrossTerm, Gradients
from model.losses.evaluation.evaluator import LineEvaluator
from model.losses.evaluation.view_pass import ViewBackward, ViewPass
from model.losses.inputs import Views
from model.losses.numerics import ordinary_lengths, to_float32
from model.losses.score import RowStats, RowSumScore


class CompiledPass(ViewPass):
    """All rows in compiled loops. The operands (m, B, F) are in memory that the evaluator reuses between steps."""

    def __init__(
        self, evaluator: LineEvaluator, score: RowSumScore, kernel: RowKernel, views: Views, need_grad: bool
    ) -> None:
        self._evaluator, self._score, self._kernel, self.dtype = evaluator, score, kernel, kernel.dtype
        (size, features), device = views[0].shape, views[0].device
        self._block = evaluator.scratch.acquire((kernel.operands, size, features), kernel.dtype, device)
        self._norms, self._sums = kernel.forward(float32_rows(views), evaluator.eps, evaluator.normalised, self._block)
        self._operands = list(self._block)
        with torch.set_grad_enabled(need_grad):
            self._stats = score.from_sums(self._sums.requires_grad_(need_grad), len(views), features)
        self.stats = RowStats(*(statistic.detach() for statistic in self._stats))

    @property
    def is_accurate(self) -> bool:
        """Returns whether products in the dtype of the operands are accurate for these rows."""
        if self.dtype == torch.float64:
            return True
        evaluator = self._evaluator
        ordinary = ordinary_lengths(self._norms, evaluator.normalised, evaluator.eps)
        return ordinary and self._score.allows_float32(self.stats)

    def cross_terms(self) -> Iterator[Sequence[CrossTerm]]:
        backend, operands = self._evaluator.backend, self._operands
        budget = self._evaluator.budget(self._block.device)
        for direction in self._kernel.terms:
            yield [term.of([operands[place] for place in places]).on(backend, budget) for term, places in direction]

    def new_gradients(self) -> Gradients:
        buffers = torch.empty_like(self._block)
        return Gradients({id(operand): buffer for operand, buffer in zip(self._operands, buffers, strict=True)})

    def to_backward(self, gradients: Gradients, d_stats: RowStats) -> ViewBackward:
        pairs = zip(self._stats, d_stats, strict=True)
        differentiable = [(statistic, grad) for statistic, grad in pairs if statistic.requires_grad]
        statistics, grads = zip(*differentiable, strict=True)
        (d_sums,) = torch.autograd.grad(statistics, self._sums, grads)
        saved = [self._norms, d_sums.contiguous(), *(gradients.total(operand) for operand in self._operands)]
        kernel, eps, normalised = self._kernel, self._evaluator.eps, self._evaluator.normalised

        def to_views(views: Views, saved: Sequence[Tensor], grad: Tensor) -> Tensor:
            return kernel.backward(float32_rows(views), eps, normalised, saved, grad.item())

        return ViewBackward(saved, to_views)

    def release_buffers(self) -> None:
        self._evaluator.scratch.release([self._block])


def float32_rows(views: Views) -> list[Tensor]:
    """Returns each view (B, F) in float32, contiguous."""
    return [to_float32(view.detach()).contiguous() for view in views]
