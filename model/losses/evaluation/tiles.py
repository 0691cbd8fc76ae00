"""The loss of a tile of line scores and its gradients, in compiled code or in torch.

A tile is T consecutive rows of one direction with all B candidates. A block is a part of the rows of a tile.

Shapes: n views, B rows, F features, D directions, T rows of a tile or block, r statistics of a row, q of a candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from model.losses.compiled.line_kernel import LineKernel
from model.losses.cross_terms import Backend, Cells
from model.losses.evaluation.contrast import contrast
from model.losses.score import RowStats, Score


@dataclass(frozen=True)
class LineProblem:
    """What all tiles of one evaluation have in common. The scales are scalars, float64."""

    score: Score
    backend: Backend
    n: int
    size: int
    features: int
    negative_scale: Tensor
    """Multiplier of the scores of all candidates but the matching one."""
    match_scale: Tensor
    """Multiplier of the score of the matching candidate."""
    need_grad: bool


@dataclass(frozen=True)
class Tile:
    """Rows `rows` of direction `direction`, whose loss counts `weight` times."""

    direction: int
    weight: float
    rows: slice
    cells: Sequence[Cells]
    """For each cross term of the direction (T, B); the tile functions write the gradients into them."""
    stats: RowStats
    """matched (T,), row (r, T), col (q, B), float64."""

    def block(self, rows: slice) -> Tile:
        """Returns the block of some rows of the tile, counted from its first row."""
        matched, row, col = self.stats
        return Tile(
            self.direction,
            self.weight,
            slice(self.rows.start + rows.start, self.rows.start + rows.stop),
            [cells.block(rows) for cells in self.cells],
            RowStats(matched[rows], row[:, rows], col),
        )


class TileResult(NamedTuple):
    """The loss of a tile, a scalar, and its gradients with respect to the scales, scalars, and to the statistics of
    the tile.
    """

    loss: Tensor
    d_negative_scale: Tensor
    d_match_scale: Tensor
    d_stats: RowStats


# Computes the result of a tile and, where gradients are needed, writes those of the cells into the cells' memory.
TileFunction = Callable[[LineProblem, Tile], TileResult]


def compiled_tile(kernel: LineKernel, problem: LineProblem, tile: Tile) -> TileResult:
    """Computes a tile in one compiled pass."""
    stats = RowStats(*(statistic.contiguous() for statistic in tile.stats))
    d_stats = RowStats(*(torch.zeros_like(statistic) for statistic in stats))
    sums = stats.matched.new_zeros(3)
    factors = problem.negative_scale.item(), problem.match_scale.item(), tile.weight, float(problem.features)
    kernel(tile.cells, tile.rows.start, stats, factors, problem.need_grad, sums, d_stats)
    loss, d_negative_scale, d_match_scale = sums.unbind()
    return TileResult(loss, d_negative_scale, d_match_scale, d_stats)


def eager_tile(problem: LineProblem, tile: Tile) -> TileResult:
    """Computes a tile in torch operations of float64."""
    need_grad, weight = problem.need_grad, tile.weight
    cells = [x.by_row().double() for x in tile.cells]
    inputs = [x.detach().requires_grad_(need_grad) for x in (*cells, tile.stats.row, tile.stats.col)]
    with torch.set_grad_enabled(need_grad):
        row, col = inputs[-2].unsqueeze(2).unbind(), inputs[-1].unsqueeze(1).unbind()
        scores = problem.score.line(inputs[:-2], row, col, problem.n, problem.features)
    matched, values = tile.stats.matched, scores.detach()
    lines = contrast(values, matched, tile.rows.start, problem.negative_scale, problem.match_scale)
    d_stats = RowStats(*(torch.zeros_like(statistic) for statistic in tile.stats))
    loss = weight * lines.loss.sum()
    if not need_grad:
        return TileResult(loss, torch.zeros_like(loss), torch.zeros_like(loss), d_stats)
    d_negative_scale = weight * (lines.grad_others * values).sum()
    d_match_scale = weight * (lines.grad_match * matched).sum()
    seed = lines.grad_others.mul_(weight * problem.negative_scale)
    *d_cells, d_row, d_col = torch.autograd.grad(scores, inputs, seed, allow_unused=True)
    for x, grad in zip(tile.cells, d_cells, strict=True):
        x.write_grad(grad)
    d_stats = RowStats(
        weight * problem.match_scale * lines.grad_match,
        d_stats.row if d_row is None else d_row,
        d_stats.col if d_col is None else d_col,
    )
    return TileResult(loss, d_negative_scale, d_match_scale, d_stats)


class Accumulator:
    """Sums the results of all tiles of an evaluation."""

    def __init__(self, stats: RowStats) -> None:
        """stats: the row-wise statistics of the batch."""
        self.loss, self.d_negative_scale, self.d_match_scale = (stats.matched.new_zeros(()) for _ in range(3))
        self.d_stats = RowStats(*map(torch.zeros_like, stats))

    def add(self, tile: Tile, result: TileResult) -> None:
        """Adds the result of a tile."""
        d, rows = tile.direction, tile.rows
        self.loss += result.loss
        self.d_negative_scale += result.d_negative_scale
        self.d_match_scale += result.d_match_scale
        self.d_stats.matched[d, rows] += result.d_stats.matched
        self.d_stats.row[d][:, rows] += result.d_stats.row
        self.d_stats.col[d] += result.d_stats.col
