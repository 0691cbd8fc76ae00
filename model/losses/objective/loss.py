"""The losses as modules: views and a multiplier of the scores in, a scalar out.

Shapes: n views, B rows, F features, D directions, T rows of a tile.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from model.loss_options import DENSE_CELLS
from model.losses.cross_terms import row_blocks
from model.losses.evaluation.backend import check_backend
from model.losses.evaluation.dense import dense_scores
from model.losses.evaluation.evaluator import LineEvaluator
from model.losses.evaluation.line_loss import line_loss
from model.losses.evaluation.line_scores import RowFigures, line_scores, row_figures, score_tiles
from model.losses.formulas.matrices import MatrixScore
from model.losses.inputs import Views, check_views, stacked
from model.losses.numerics import normalise, result_dtype, widen
from model.losses.objective.island import full_precision
from model.losses.objective.masks import Mask
from model.losses.objective.reduction import cross_entropy, mean_of_axes, sigmoid_loss
from model.losses.score import TupleScore

# n -> the weights of the n softmax axes.
AxisWeights = Callable[[int], Sequence[float]]
# (function from views to scores, views) -> targets (B,)*n.
Targets = Callable[[Callable[[Tensor], Tensor], Tensor], Tensor]


class ContrastiveLoss(nn.Module, ABC):
    """The base of every loss: checks its input, switches autocast and reduced precision off, reduces over rows."""

    uses_scale = True
    """True if the multiplier of the scores changes the loss."""
    has_kernels = True
    """True if compiled code can compute the loss."""

    def __init__(
        self, evaluator: LineEvaluator, *, name: str, mean: bool, reads: int | None = None, notices: Sequence[str] = ()
    ):
        """mean: False for the sum over rows; reads: number of leading views; notices: sentences to print once."""
        super().__init__()
        check_backend(evaluator.backend, name, self.has_kernels)
        self.name = name
        self._evaluator, self._mean = evaluator, mean
        self.reads, self.notices = reads, notices

    def forward(self, views: Views, logit_scale: Tensor) -> Tensor:
        """Returns the loss, a scalar of float32 (float64 for float64 views).

        views: n tensors (B, F) or one (n, B, F); logit_scale: the multiplier of the scores. Raises ValueError or
        TypeError, see `check_views`.
        """
        with full_precision():
            views = check_views(views, self.reads)
            # float64: in the gradient with respect to the scale, match and others nearly cancel.
            total = self._sum(views, torch.as_tensor(logit_scale, device=views[0].device).double())
            return (total / self._rows(len(views), len(views[0])) if self._mean else total).to(result_dtype(views[0]))

    def lines(self, views: Views) -> Tensor:
        """Returns the line scores (D, B, B), unscaled: [d, i, c] is row i against candidate c, which matches at c = i.

        For scores of tuples D = n, and in [a, i, c] view a takes row c and every other view takes row i.
        """
        with full_precision():
            views = stacked(check_views(views, self.reads))
            return line_scores(self._evaluator_of(views), widen(views)).to(result_dtype(views))

    @abstractmethod
    def score(self, views: Views) -> Tensor | tuple[Tensor, ...]:
        """Returns the scores, unscaled, in the layout of the original."""

    @torch.no_grad()
    def row_figures(self, views: Views, logit_scale: Tensor) -> RowFigures:
        """Returns the loss of each row, whose mean is what `forward` returns, and the share of its lines that it wins.

        An evaluation can thus leave out rows that serve as candidates only. A tuple off the lines counts for its row of
        the first view. Computed without gradient in float64, in tiles. Arguments and errors are those of `forward`.
        """
        with full_precision():
            views = widen(stacked(check_views(views, self.reads)))
            n, size, _ = views.shape
            figures = self._row_figures(views, torch.as_tensor(logit_scale, device=views.device).double())
            return RowFigures(figures.losses * (size / self._rows(n, size) if self._mean else size), figures.wins)

    @torch.no_grad()
    def rest_tiles(self, views: Views) -> Iterator[tuple[int, slice, Tensor]]:
        """Yields view a, rows, and the scores (T, B), float64, of every row of view a as the candidate that joins the
        other views of those rows, without gradient. Row i matches candidate i. A loss of pairs adds its pair scores.
        """
        tiles = self._rest_tiles(stacked(check_views(views, self.reads)))
        while True:
            with full_precision():  # not while the caller works on a tile
                tile = next(tiles, None)
            if tile is None:
                return
            yield tile

    @abstractmethod
    def _rest_tiles(self, views: Tensor) -> Iterator[tuple[int, slice, Tensor]]:
        """Yields what `rest_tiles` yields, of (n, B, F)."""

    def off_weight(self, n: int, size: int) -> float:
        """Returns the number by which the mask multiplies the scores off the match, in addition to the scale."""
        return 1.0

    def _evaluator_of(self, views: Views) -> LineEvaluator:
        """Returns the evaluator for these views."""
        return self._evaluator

    @abstractmethod
    def _sum(self, views: Views, scale: Tensor) -> Tensor:
        """Returns the loss summed over rows, of n tensors (B, F) or one (n, B, F)."""

    @abstractmethod
    def _row_figures(self, views: Tensor, scale: Tensor) -> RowFigures:
        """Returns the terms of `_sum` by row and the won lines, of (n, B, F) float64."""

    def _rows(self, n: int, size: int) -> float:
        """Returns the divisor of the mean."""
        return size


class MatrixLoss(ContrastiveLoss):
    """Scores (B, B) per direction: the mean over directions of the cross-entropy over rows."""

    @property
    def _score(self) -> MatrixScore:
        score = self._evaluator.score
        assert isinstance(score, MatrixScore)
        return score

    def _sum(self, views: Views, scale: Tensor) -> Tensor:
        weights = mean_of_axes(self._score.directions(len(views)))
        return line_loss(self._evaluator_of(views), views, scale, scale, weights)

    def _row_figures(self, views: Tensor, scale: Tensor) -> RowFigures:
        weights = mean_of_axes(self._score.directions(len(views)))
        return row_figures(self._evaluator_of(views), views, scale, scale, weights)

    def score(self, views: Views) -> Tensor | tuple[Tensor, ...]:
        """Returns the scores, unscaled: (B, B), a pair of (B, B), or (B, B, n^2) for `pairwise`."""
        return self._score.layout(self.lines(views))

    def _rest_tiles(self, views: Tensor) -> Iterator[tuple[int, slice, Tensor]]:
        n, size, _ = views.shape
        normalised = normalise(widen(views), self._evaluator.eps)
        for a in range(n):
            for rows in row_blocks(size, max(1, self._evaluator.budget(views.device) // (16 * 8 * n * size))):
                yield a, rows, self._score.joined(normalised, a, rows)


class TupleLoss(ContrastiveLoss):
    """A score for every tuple of rows, contrasted along lines, which is exact for diagonal targets."""

    def __init__(self, evaluator: LineEvaluator, *, axes: AxisWeights, mask: Mask, **shared: Any):
        """axes: the weights of the softmax axes; mask: the weights of tuples; shared: see `ContrastiveLoss`."""
        super().__init__(evaluator, **shared)
        self._axes, self.mask = axes, mask

    @property
    def alpha(self) -> nn.Parameter:
        """The parameters of `loss.mask=learned`; AttributeError for the other masks."""
        return cast(nn.Parameter, self.mask.alpha)  # nn.Module types its attributes as Tensor | Module

    def off_weight(self, n: int, size: int) -> float:
        return float(self.mask.line_weights(n, size)[0])

    def _sum(self, views: Views, scale: Tensor) -> Tensor:
        off, match = self.mask.line_weights(len(views), len(views[0]))
        weights = self._axes(len(views))
        return match * line_loss(self._evaluator_of(views), views, scale * off, scale * match, weights)

    def _row_figures(self, views: Tensor, scale: Tensor) -> RowFigures:
        off, match = self.mask.line_weights(len(views), len(views[0]))
        weights = self._axes(len(views))
        figures = row_figures(self._evaluator_of(views), views, scale * off, scale * match, weights)
        return RowFigures(match * figures.losses, figures.wins)

    def _rows(self, n: int, size: int) -> float:
        return self.mask.normaliser(n, size)

    def _rest_tiles(self, views: Tensor) -> Iterator[tuple[int, slice, Tensor]]:
        for view, rows, scores, _ in score_tiles(self._rest_evaluator(), views):
            yield view, rows, scores

    def _rest_evaluator(self) -> LineEvaluator:
        """Returns the evaluator whose lines vary one view and fix the others."""
        return self._evaluator

    def score(self, views: Views) -> Tensor:
        """Returns the scores of all tuples, (B,)*n, unscaled."""
        with full_precision():
            views = stacked(check_views(views, self.reads))
            return self._dense_scores(views, result_dtype(views))

    def _dense_scores(self, views: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
        """Returns the scores (B,)*n in `dtype` of (n, B, F). Raises ValueError for more tuples than memory may hold."""
        n, size, _ = views.shape
        if size**n > DENSE_CELLS:
            raise ValueError(
                f"views: {n} of {size} rows given, {size}^{n} tuples; accepted: up to {DENSE_CELLS} tuples, or "
                f"evaluation along lines"
            )
        rows, score = widen(views), self._evaluator.score
        assert isinstance(score, TupleScore)
        if self._evaluator.normalised:
            rows = normalise(rows, self._evaluator.eps)
        return dense_scores(score, rows, dtype, self._evaluator.budget(views.device))


class DenseLoss(TupleLoss):
    """The loss over all B^n tuples: soft targets need it, and it checks the loss along lines."""

    has_kernels = False

    def __init__(self, evaluator: LineEvaluator, *, targets: Targets, **shared: Any):
        """targets: which tuples should match; shared: see `TupleLoss`."""
        super().__init__(evaluator, **shared)
        self._targets = targets

    def _sum(self, views: Views, scale: Tensor) -> Tensor:
        return self._row_losses(stacked(views), scale).sum()

    def _row_figures(self, views: Tensor, scale: Tensor) -> RowFigures:
        return RowFigures(self._row_losses(views, scale), super()._row_figures(views, scale).wins)

    def _row_losses(self, views: Tensor, scale: Tensor) -> Tensor:
        """Returns the sums (B,) over the tuples of each row of the first view, of (n, B, F)."""
        n, size, _ = views.shape
        scores = self._dense_scores(views)
        weights = self.mask.cell_weights(n, size, scores)
        targets = self._targets(self._dense_scores, views) * weights
        return cross_entropy(scale * scores * weights, targets, self._axes(n))


class SigmoidLoss(DenseLoss):
    """`loss.mask=sigmoid`: every tuple by itself, without a softmax; the multiplier cancels."""

    uses_scale = False

    def _row_losses(self, views: Tensor, scale: Tensor) -> Tensor:
        targets = self._targets(self._dense_scores, views)
        return sigmoid_loss(self._dense_scores(views), targets) + 0 * scale
