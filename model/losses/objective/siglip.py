"""The sigmoid loss of two views. Shapes: B rows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from model.losses.evaluation.evaluator import LineEvaluator
from model.losses.evaluation.line_scores import RowFigures, line_scores
from model.losses.inputs import Views, stacked
from model.losses.numerics import widen
from model.losses.objective.loss import MatrixLoss


class SiglipLoss(MatrixLoss):
    """`siglip` (Zhai et al. 2023): -sum over all cells of log sigmoid(z (scale x_1.x_2 + bias)), z = 1 at a match and
    -1 elsewhere.

    `bias` is learned and starts at -10, as in the paper, so that the first loss is that of the B matches. The mean is
    over B rows.
    """

    has_kernels = False

    def __init__(self, evaluator: LineEvaluator, **shared: Any):
        super().__init__(evaluator, **shared)
        self.bias = nn.Parameter(torch.tensor(-10.0))

    def _sum(self, views: Views, scale: Tensor) -> Tensor:
        return self._row_losses(widen(stacked(views)), scale).sum()

    def _row_figures(self, views: Tensor, scale: Tensor) -> RowFigures:
        return RowFigures(self._row_losses(views, scale), super()._row_figures(views, scale).wins)

    def _row_losses(self, views: Tensor, scale: Tensor) -> Tensor:
        """(n, B, F) float64 -> (B,) sums over the candidates of each row of the first view."""
        logits = scale * line_scores(self._evaluator, views)[0] + self.bias.double()
        sign = 1 - 2 * torch.eye(len(logits), dtype=logits.dtype, device=logits.device)
        return softplus(sign * logits, threshold=40).sum(1)
