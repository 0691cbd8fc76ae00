"""The loss of a tile of line scores and its gradients, in compiled code or in torch.

A tile is T consecutive rows of some directions with all B candidates.

Shapes: n views, B rows, F features, D directions, T rows of a tile, r statistics of a row, q of a candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from model.losses.compiled.line_kernel import Factors, LineKernel
from model.losses.cross_terms import Backend, Cells, Tile, row_blocks
from model.losses.evaluation.contrast import contrast
from model.losses.score import RowStats, Score

# Cells of a block (float64) that stays in a core's cache in all torch operations of a formula, and the bytes of their
# intermediate results for each cell.
CACHED_CELLS = 1 << 16
CELL_BYTES = 512


@dataclass(frozen=True)
class LineProblem:
    """What all tiles of one evaluation have in common. The scales are scalars, float64."""

    score: Score
    backend: Backend
    n: int
    features: int
    stats: RowStats
    """The statistics of the batch, contiguous: matched (D, B), row (D, r, B), col (D, q, B), float64."""
    negative_scale: Tensor
    """Multiplier of the scores of all candidates but the matching one."""
    match_scale: Tensor
    """Multiplier of the score of the matching candidate."""
    need_grad: bool
    budget: int
    """Bytes of scratch memory."""

    @property
    def size(self) -> int:
        """B, the number of rows of the batch."""
        return self.stats.matched.shape[1]


class Sums:
    """The sums of the results of all tiles of an evaluation, float64."""

    def __init__(self, stats: RowStats) -> None:
        """stats: the statistics of the batch."""
        self.totals = stats.matched.new_zeros(3)
        """(3,) the loss, and its gradients with respect to the two scales of `LineProblem`."""
        self.d_stats = RowStats(*map(torch.zeros_like, stats))
        """The gradients with respect to the statistics of the batch."""


# Adds the results of a tile to the sums and, where gradients are needed, writes those of the cells into their memory.
TileFunction = Callable[[LineProblem, Tile, Sums], None]


def compiled_tile(kernel: LineKernel, problem: LineProblem, tile: Tile, sums: Sums) -> None:
    """Computes a tile in one compiled pass."""
    factors = Factors(problem.negative_scale.item(), problem.match_scale.item(), problem.features)
    kernel(tile, problem.stats, factors, problem.need_grad, sums.totals, sums.d_stats)


def eager_tile(problem: LineProblem, tile: Tile, sums: Sums) -> None:
    """Computes a tile in torch operations of float64, in blocks that fit the cache."""
    for direction, weight, cells in zip(tile.directions, tile.weights, tile.cells, strict=True):
        for rows in _blocks(problem, tile.rows):
            within = slice(rows.start - tile.rows.start, rows.stop - tile.rows.start)
            _add_block(problem, direction, weight, rows, [x.block(within) for x in cells], sums)


def _blocks(problem: LineProblem, rows: slice) -> Iterator[slice]:
    """Yields blocks of rows: on a CPU as many as its cache holds, and on other devices, where each operation has a
    fixed cost, as many as the budget allows.
    """
    on_cpu = problem.stats.matched.device.type == "cpu"
    step = max(1, (CACHED_CELLS if on_cpu else problem.budget // CELL_BYTES) // problem.size)
    for block in row_blocks(rows.stop - rows.start, step):
        yield slice(rows.start + block.start, rows.start + block.stop)


def _add_block(problem: LineProblem, d: int, weight: float, rows: slice, cells: list[Cells], sums: Sums) -> None:
    """Adds the results of some rows of direction d."""
    need_grad = problem.need_grad
    matched, row, col = problem.stats.matched[d, rows], problem.stats.row[d][:, rows], problem.stats.col[d]
    inputs = [x.detach().requires_grad_(need_grad) for x in (*(x.by_row().double() for x in cells), row, col)]
    with torch.set_grad_enabled(need_grad):
        row_values, col_values = inputs[-2].unsqueeze(2).unbind(), inputs[-1].unsqueeze(1).unbind()
        scores = problem.score.line(inputs[:-2], row_values, col_values, problem.n, problem.features)
    values = scores.detach()
    lines = contrast(values, matched, rows.start, problem.negative_scale, problem.match_scale)
    sums.totals[0] += weight * lines.loss.sum()
    if not need_grad:
        return
    sums.totals[1] += weight * (lines.grad_others * values).sum()
    sums.totals[2] += weight * (lines.grad_match * matched).sum()
    seed = lines.grad_others.mul_(weight * problem.negative_scale)
    *d_cells, d_row, d_col = torch.autograd.grad(scores, inputs, seed, allow_unused=True)
    for x, grad in zip(cells, d_cells, strict=True):
        x.write_grad(grad)
    sums.d_stats.matched[d, rows] += weight * problem.match_scale * lines.grad_match
    if d_row is not None:
        sums.d_stats.row[d][:, rows] += d_row
    if d_col is not None:
        sums.d_stats.col[d] += d_col
