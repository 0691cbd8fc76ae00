"""The row-wise part in functions of torch.compile: one forward and one backward, over all rows at once.

Shapes: n views, B rows, F features, m operands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from model.losses.compiled.weak_cache import cached_by_object
from model.losses.cross_terms import CrossTerm, Gradients
from model.losses.evaluation.evaluator import LineEvaluator
from model.losses.evaluation.view_pass import ViewBackward, ViewPass, scaled_gradient
from model.losses.inductor.row_function import RowFunctions, row_functions
from model.losses.numerics import normalise, widen
from model.losses.score import RowStats, Score


class FusedPass(ViewPass):
    """All rows in compiled functions, for scores whose operands are functions of the views."""

    def __init__(self, evaluator: LineEvaluator, views: Tensor, dtype: torch.dtype) -> None:
        """views: (n, B, F); dtype: that of the operands."""
        self._evaluator, self._views, self.dtype = evaluator, views.contiguous(), dtype
        eps = evaluator.eps if evaluator.normalised else None
        self._functions = _functions(evaluator.score, len(views), views.dtype, views.device, eps, dtype)
        matched, row, col, operands = self._functions.forward(self._views)
        self._operands = operands.unbind()
        self.stats = RowStats(matched, row, col)

    def cross_terms(self) -> Iterator[Sequence[CrossTerm]]:
        budget = self._evaluator.budget(self._views.device)
        for terms in self._functions.cross_terms(self._operands):
            yield [term.on(self._evaluator.backend, budget) for term in terms]

    def to_backward(self, gradients: Gradients, d_stats: RowStats) -> ViewBackward:
        d_operands = torch.stack([gradients.total(x) for x in self._operands])
        (d_views,) = self._functions.backward(self._views, *d_stats, d_operands)
        return ViewBackward([d_views], scaled_gradient)


@cached_by_object
def _functions(
    score: Score, n: int, view_dtype: torch.dtype, device: torch.device, eps: float | None, dtype: torch.dtype
) -> RowFunctions:
    """Returns the functions of a score of n views. eps: that of the normalisation; None without."""

    def prepare(views: Tensor) -> tuple[Tensor, RowStats]:
        rows = widen(views)
        rows = rows if eps is None else normalise(rows, eps, narrow=view_dtype != torch.float64)
        return rows, score.prepare(rows)

    return row_functions(score, prepare, torch.empty(n, 1, 1, dtype=view_dtype, device=device), dtype)
