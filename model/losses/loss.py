"""The losses as modules: views and a multiplier in, a scalar out.

Shapes: n views, B rows, F features, D directions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from model.losses.dense import dense_scores
from model.losses.inputs import stack_views
from model.losses.lines import Lines, line_loss, line_scores
from model.losses.numerics import normalise, result_dtype, widen
from model.losses.objective import cross_entropy, mean_of_axes
from model.losses.score import TupleScore
from model.losses.targets import diagonal

Views = Sequence[Tensor] | Tensor


class ContrastiveLoss(nn.Module):
    """A loss along lines: the cross-entropy of each row against its matching candidate, in every direction."""

    notices: tuple[str, ...] = ()
    uses_scale = True

    def __init__(self, lines: Lines, *, mean: bool, reads: int | None = None, axes: Callable[[int], list[float]] = mean_of_axes):
        super().__init__()
        self._lines, self._mean, self._axes = lines, mean, axes
        self.reads = reads

    def forward(self, views: Views, logit_scale: Tensor) -> Tensor:
        """n tensors (B, F) or one (n, B, F), and the multiplier of the scores -> the loss, a scalar of float32 (float64 for float64).

        Raises ValueError or TypeError, see `stack_views`.
        """
        stacked = stack_views(views, self.reads)
        with torch.autocast(stacked.device.type, enabled=False):
            loss = self._objective(stacked, torch.as_tensor(logit_scale, device=stacked.device))
            return loss / stacked.shape[1] if self._mean else loss

    def _objective(self, views: Tensor, scale: Tensor) -> Tensor:
        weights = self._axes(self._lines.score.directions(len(views)))
        return line_loss(self._lines, views, scale, scale, weights)

    def lines(self, views: Views) -> Tensor:
        """Line scores (D, B, B), unscaled: [d, i, c] is row i against candidate c, which matches where c = i.

        For scores of all views D = n, and in [a, i, c] view a takes row c and every other view row i.
        """
        stacked = stack_views(views, self.reads)
        with torch.autocast(stacked.device.type, enabled=False):
            return line_scores(self._lines, widen(stacked)).to(result_dtype(stacked))

    def score(self, views: Views) -> Tensor | tuple[Tensor, ...]:
        """Scores (B, B) of each direction, unscaled; one tensor where there is one direction."""
        scores = tuple(self.lines(views))
        return scores if len(scores) > 1 else scores[0]


class TupleLoss(ContrastiveLoss):
    """A loss whose score is defined for every tuple of rows, so that it can also be evaluated on all of them."""

    def __init__(self, lines: Lines, *, dense: bool, **rest):
        super().__init__(lines, **rest)
        self._dense = dense

    def _objective(self, views: Tensor, scale: Tensor) -> Tensor:
        if not self._dense:
            return super()._objective(views, scale)
        logits = scale * self._all(widen(views), torch.float64)
        loss = cross_entropy(logits, diagonal(len(views), views.shape[1], logits), self._axes(len(views)))
        return loss.to(result_dtype(views))

    def _all(self, views: Tensor, dtype: torch.dtype) -> Tensor:
        score = self._lines.score
        assert isinstance(score, TupleScore)
        rows = normalise(views, self._lines.eps) if self._lines.normalised else views
        return dense_scores(score, rows, dtype, self._lines.budget)

    def score(self, views: Views) -> Tensor:
        """Scores of all tuples, (B,)*n, unscaled."""
        stacked = stack_views(views, self.reads)
        with torch.autocast(stacked.device.type, enabled=False):
            return self._all(widen(stacked), result_dtype(stacked))
