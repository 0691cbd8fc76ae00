"""The losses as modules: views and a multiplier in, a scalar out.

Shapes: n views, B rows, F features, D directions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from model.loss_options import DENSE_CELLS
from model.losses.cross_terms import row_blocks
from model.losses.evaluation.dense import dense_scores
from model.losses.evaluation.line_loss import RowFigures, line_loss, line_scores, line_tiles, row_figures
from model.losses.evaluation.view_pass import LineEvaluator
from model.losses.inputs import Views, check_views, stacked
from model.losses.numerics import normalise, result_dtype, widen
from model.losses.objective.island import full_precision
from model.losses.objective.masks import Mask
from model.losses.objective.reduction import cross_entropy, mean_of_axes, sigmoid_loss

# softmax axes' weights: n -> n numbers; targets: (score, views) -> (B,)*n.
AxisWeights = Callable[[int], Sequence[float]]
Targets = Callable[[Callable[[Tensor], Tensor], Tensor], Tensor]


class ContrastiveLoss(nn.Module, ABC):
    """What every loss has: the check of its input, the island of full precision, the reduction, the lines."""

    uses_scale = True

    def __init__(
        self, lines: LineEvaluator, *, name: str, mean: bool, reads: int | None = None, notices: tuple[str, ...] = ()
    ):
        super().__init__()
        self.name = name
        self._lines, self._mean = lines, mean
        self.reads, self.notices = reads, notices

    def forward(self, views: Views, logit_scale: Tensor) -> Tensor:
        """n tensors (B, F) or one (n, B, F), and the multiplier of the scores -> the loss, a scalar of float32 (float64
        for float64).

        Raises ValueError or TypeError, see `check_views`.
        """
        with full_precision():
            views = check_views(views, self.reads)
            # float64: the derivatives by the match and by the others nearly cancel in that of the multiplier.
            total = self._sum(views, torch.as_tensor(logit_scale, device=views[0].device).double())
            return (total / self._rows(len(views), len(views[0])) if self._mean else total).to(result_dtype(views[0]))

    def lines(self, views: Views) -> Tensor:
        """Line scores (D, B, B), unscaled: [d, i, c] is row i against candidate c, which matches where c = i.

        For scores of tuples D = n, and in [a, i, c] view a takes row c and every other view row i.
        """
        with full_precision():
            views = stacked(check_views(views, self.reads))
            return line_scores(self._lines, widen(views)).to(result_dtype(views))

    @abstractmethod
    def score(self, views: Views) -> Tensor | tuple[Tensor, ...]:
        """The scores, unscaled, in the layout of the original."""

    @torch.no_grad()
    def row_figures(self, views: Views, logit_scale: Tensor) -> RowFigures:
        """The loss of each row, whose mean over rows is what `forward` returns, and the share of its lines that each
        row wins.

        An evaluation leaves out the rows that are candidates only. A tuple off the lines counts for its row of the
        first view. Without gradient, float64, in tiles of the memory budget. Arguments and errors are those of
        `forward`.
        """
        with full_precision():
            views = widen(stacked(check_views(views, self.reads)))
            n, size, _ = views.shape
            made = self._row_figures(views, torch.as_tensor(logit_scale, device=views.device).double())
            return RowFigures(made.losses * (size / self._rows(n, size) if self._mean else size), made.wins)

    @torch.no_grad()
    def rest_tiles(self, views: Views) -> Iterator[tuple[int, slice, Tensor]]:
        """View a, rows, and the scores (T, B), float64, of every row of a as the candidate beside the other views of
        those rows: what finds a view from the n - 1 others. Without gradient, in tiles of the memory budget; the
        matching candidate of row i is i.

        A loss of pairs scores a sample by the sum of its pair scores."""
        tiles = self._rest_tiles(stacked(check_views(views, self.reads)))
        while True:
            with full_precision():  # not while the caller works on a tile
                tile = next(tiles, None)
            if tile is None:
                return
            yield tile

    @abstractmethod
    def _rest_tiles(self, views: Tensor) -> Iterator[tuple[int, slice, Tensor]]:
        """The same of (n, B, F)."""

    def off_weight(self, n: int, size: int) -> float:
        """What the mask multiplies the scores off the match with, beside the scale."""
        return 1.0

    @abstractmethod
    def _sum(self, views: Views, scale: Tensor) -> Tensor:
        """n tensors (B, F) or one (n, B, F) -> the loss summed over rows."""

    @abstractmethod
    def _row_figures(self, views: Tensor, scale: Tensor) -> RowFigures:
        """(n, B, F) float64 -> the terms of `_sum` by row, and the won lines."""

    def _rows(self, n: int, size: int) -> float:
        """What the mean divides the sum by."""
        return size


class MatrixLoss(ContrastiveLoss):
    """Scores (B, B) per direction: the mean over directions of the cross-entropy over rows."""

    def _sum(self, views: Views, scale: Tensor) -> Tensor:
        return line_loss(self._lines, views, scale, scale, mean_of_axes(self._lines.score.directions(len(views))))

    def _row_figures(self, views: Tensor, scale: Tensor) -> RowFigures:
        return row_figures(self._lines, views, scale, scale, mean_of_axes(self._lines.score.directions(len(views))))

    def score(self, views: Views) -> Tensor | tuple[Tensor, ...]:
        """The scores in the original's layout, unscaled: (B, B), a pair of (B, B), or (B, B, n^2) for `pairwise`."""
        return self._lines.score.layout(self.lines(views))

    def _rest_tiles(self, views: Tensor) -> Iterator[tuple[int, slice, Tensor]]:
        n, size, _ = views.shape
        normalised = normalise(widen(views), self._lines.eps)
        for a in range(n):
            for rows in row_blocks(size, max(1, self._lines.budget // (16 * 8 * n * size))):
                yield a, rows, self._lines.score.joined(normalised, a, rows)


class TupleLoss(ContrastiveLoss):
    """A score for every tuple of rows, contrasted along lines, which is exact for diagonal targets."""

    def __init__(self, lines: LineEvaluator, *, axes: AxisWeights, mask: Mask, **rest):
        super().__init__(lines, **rest)
        self._axes, self.mask = axes, mask

    @property
    def alpha(self) -> nn.Parameter:
        """The parameters of `loss.mask=learned`; AttributeError for the other masks."""
        return self.mask.alpha

    def off_weight(self, n: int, size: int) -> float:
        return float(self.mask.line_weights(n, size)[0])

    def _sum(self, views: Views, scale: Tensor) -> Tensor:
        off, match = self.mask.line_weights(len(views), len(views[0]))
        return match * line_loss(self._lines, views, scale * off, scale * match, self._axes(len(views)))

    def _row_figures(self, views: Tensor, scale: Tensor) -> RowFigures:
        off, match = self.mask.line_weights(len(views), len(views[0]))
        made = row_figures(self._lines, views, scale * off, scale * match, self._axes(len(views)))
        return RowFigures(match * made.losses, made.wins)

    def _rows(self, n: int, size: int) -> float:
        return self.mask.normaliser(n, size)

    def _rest_tiles(self, views: Tensor) -> Iterator[tuple[int, slice, Tensor]]:
        for view, rows, scores, _ in line_tiles(self._rest_lines(), views):
            yield view, rows, scores

    def _rest_lines(self) -> LineEvaluator:
        """LineEvaluator on which one view varies and the others stay."""
        return self._lines

    def score(self, views: Views) -> Tensor:
        """Scores of all tuples, (B,)*n, unscaled."""
        with full_precision():
            views = stacked(check_views(views, self.reads))
            return self._all(views, result_dtype(views))

    def _all(self, views: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
        n, size, _ = views.shape
        if size**n > DENSE_CELLS:
            raise ValueError(
                f"views: {n} of {size} rows given, {size}^{n} tuples; accepted: up to {DENSE_CELLS} tuples, or "
                f"evaluation along lines"
            )
        rows = normalise(widen(views), self._lines.eps) if self._lines.normalised else widen(views)
        return dense_scores(self._lines.score, rows, dtype, self._lines.budget)


class DenseLoss(TupleLoss):
    """The same by all B^n tuples: what soft targets need, and the readable check of the lines."""

    def __init__(self, lines: LineEvaluator, *, targets: Targets, **rest):
        super().__init__(lines, **rest)
        self._targets = targets

    def _sum(self, views: Views, scale: Tensor) -> Tensor:
        return self._row_losses(stacked(views), scale).sum()

    def _row_figures(self, views: Tensor, scale: Tensor) -> RowFigures:
        return RowFigures(self._row_losses(views, scale), super()._row_figures(views, scale).wins)

    def _row_losses(self, views: Tensor, scale: Tensor) -> Tensor:
        """(n, B, F) -> (B,) sums over the tuples of each row of the first view."""
        scores = self._all(views)
        weights = self.mask.cell_weights(*views.shape[:2], scores)
        return cross_entropy(
            scale * scores * weights, self._targets(self._all, views) * weights, self._axes(len(views))
        )


class SigmoidLoss(DenseLoss):
    """`loss.mask=sigmoid`: every tuple by itself, no softmax; the multiplier cancels."""

    uses_scale = False

    def _row_losses(self, views: Tensor, scale: Tensor) -> Tensor:
        return sigmoid_loss(self._all(views), self._targets(self._all, views)) + 0 * scale
