"""The sigmoid loss of two views. Shapes: B rows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from model.losses.evaluation.evaluator import LineEvaluator
from model.losses.evaluation.line_scores import RowFigures, score_tiles
from model.losses.evaluation.sigmoid_loss import sigmoid_loss
from model.losses.formulas.matrices import Stock
from model.losses.inputs import Views
from model.losses.objective.loss import MatrixLoss
from model.losses.registry import CommonKeywords, objective
from model.losses.score import Traits


class PairScore(Stock):
    """x_1 x_2ᵀ and its transpose; the sigmoid loss reads the first."""

    traits = Traits(float64_rows=32)  # a sigmoid does not compare scores, so that float32 is enough for more rows


class SiglipLoss(MatrixLoss):
    """-sum over all cells of log sigmoid(z (scale x_1.x_2 + bias)), z = 1 at a match and -1 elsewhere (Zhai et al.
    2023). For two views and large batches.

    `bias` is learned and starts at -10, as in the paper, so that at the start the B matches dominate the loss. The mean
    is over the B rows.
    """

    def __init__(self, evaluator: LineEvaluator, **common: Any):
        super().__init__(evaluator, **common)
        self.bias = nn.Parameter(torch.tensor(-10.0))

    def _sum(self, views: Views, scale: Tensor) -> Tensor:
        return sigmoid_loss(self._evaluator, views, scale, self.bias)

    def _row_figures(self, views: Tensor, scale: Tensor) -> RowFigures:
        return RowFigures(self._row_losses(views, scale), super()._row_figures(views, scale).wins)

    def _row_losses(self, views: Tensor, scale: Tensor) -> Tensor:
        """Returns (B,) sums over the candidates of each row of the first view, without gradient, for views (n, B, F)
        float64.
        """
        losses, bias = views.new_empty(views.shape[1]), self.bias.detach().to(views)
        for direction, rows, scores, matched in score_tiles(self._evaluator, views):
            if direction == 0:
                logits = scale * scores + bias
                logits.diagonal(rows.start).copy_(-(scale * matched + bias))
                losses[rows] = softplus(logits, threshold=40).sum(1)
        return losses


@objective("siglip", "matrix", PairScore, reads=2)
def siglip(evaluator: LineEvaluator, seed: int, common: CommonKeywords) -> SiglipLoss:
    """Returns the loss; it draws no random numbers, so `seed` is not read."""
    return SiglipLoss(evaluator, **common)
