"""Line scores, and the loss of single rows, for inspection and evaluation.

Shapes: n views, B rows, F features, D directions, T rows of a tile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from model.losses.cross_terms import all_cells, row_blocks
from model.losses.evaluation.backend import new_view_pass
from model.losses.evaluation.contrast import contrast
from model.losses.evaluation.evaluator import LineEvaluator


def line_scores(evaluator: LineEvaluator, views: Tensor) -> Tensor:
    """Returns the line scores (D, B, B) of (n, B, F), differentiable, all in float64."""
    n, _, features = views.shape
    rows, stats = evaluator.prepare(views)
    scores = []
    for d, terms in enumerate(evaluator.cross_terms(rows.unbind())):
        cells = [all_cells(term.on(evaluator.backend, evaluator.budget(views.device))) for term in terms]
        row, col = stats.row[d].unsqueeze(2).unbind(), stats.col[d].unsqueeze(1).unbind()
        line = evaluator.score.line(cells, row, col, n, features)
        scores.append(torch.diagonal_scatter(line, stats.matched[d]))
    return torch.stack(scores)


class ScoreTile(NamedTuple):
    """The line scores of some rows in one direction, float64."""

    direction: int
    rows: slice
    scores: Tensor
    """(T, B), the matching candidate computed like the others."""
    matched: Tensor
    """(T,) scores of the matches, from the row-wise statistics."""


@torch.no_grad()
def score_tiles(evaluator: LineEvaluator, views: Tensor) -> Iterator[ScoreTile]:
    """Yields the line scores of (n, B, F) tile by tile, for batches whose lines are too many to hold."""
    n, size, features = views.shape
    view_pass = new_view_pass(evaluator, views, need_grad=False)
    for d, terms in enumerate(view_pass.cross_terms()):
        matched, row, col = (statistic[d] for statistic in view_pass.stats)
        for rows in row_blocks(size, max(1, evaluator.budget(views.device) // (16 * 8 * (len(terms) + 1) * size))):
            cells = [term.cells(rows).double() for term in terms]
            row_values, col_values = row[:, rows].unsqueeze(2).unbind(), col.unsqueeze(1).unbind()
            scores = evaluator.score.line(cells, row_values, col_values, n, features)
            yield ScoreTile(d, rows, scores, matched[rows])


class RowFigures(NamedTuple):
    """What an evaluation reports of each row of a batch, float64."""

    losses: Tensor
    """(B,) the loss of each row, nats."""
    wins: Tensor
    """(B,) the share of each row's lines, 0 to 1, whose highest score is the match's; a tie counts as lost."""


def row_figures(
    evaluator: LineEvaluator, views: Tensor, negative_scale: Tensor, match_scale: Tensor, weights: Sequence[float]
) -> RowFigures:
    """Returns the terms of the sum over rows in `line_loss`, without gradient, of (n, B, F) float64. The other
    arguments are those of `line_loss`.
    """
    size, directions = views.shape[1], len(weights)
    losses, wins = (torch.zeros(size, dtype=torch.float64, device=views.device) for _ in range(2))
    for d, rows, scores, matched in score_tiles(evaluator, views):
        losses[rows] += weights[d] * contrast(scores, matched, rows.start, negative_scale, match_scale).loss
        scores.diagonal(rows.start).fill_(-torch.inf)
        # Compared in float32, because rounding can make the float64 scores of equal rows differ.
        wins[rows] += (matched.float() > scores.amax(1).float()).double() / directions
    return RowFigures(losses, wins)
