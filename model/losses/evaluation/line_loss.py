"""The loss along lines, with its gradients made while the tiles are at hand.

With diagonal targets only n B^2 of the B^n scores are ever used: those in which one view takes another sample's row.
Row-wise statistics are float64; products (T, B) are float32 where that is safe; formulas and cross-entropies run in
float64 on blocks that fit a core's cache. Nothing of size (B, B) is kept for the backward pass.

Shapes: n views, B rows, F features, D directions, T rows of a tile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from model.losses.compiled.line_kernel import LineKernel, line_kernel
from model.losses.cross_terms import Cells, CrossTerm, Gradients, all_cells, row_blocks
from model.losses.evaluation.contrast import contrast
from model.losses.evaluation.pair_cache import PairCache, pair_cache_bytes
from model.losses.evaluation.view_pass import NATIVE_ROWS, LineEvaluator, view_pass
from model.losses.inputs import Views
from model.losses.numerics import result_dtype, saturate
from model.losses.score import RowStats

# Cells of a block that stays in a core's cache through the passes of a formula (float64), and the bytes that each takes
# in them.
CACHED_CELLS = 1 << 16
CELL_BYTES = 512
# Rows of a tile at the most: its products are still large enough to be fast.
TILE_ROWS = 1024


def line_scores(lines: LineEvaluator, views: Tensor) -> Tensor:
    """(n, B, F) -> line scores (D, B, B), differentiable, all in float64."""
    n, _, features = views.shape
    rows, prepared = lines.prepare(views)
    scores = []
    for d, cross_terms in enumerate(lines.score.cross_terms(rows.unbind())):
        cells = [all_cells(cross) for cross in cross_terms]
        line = lines.score.line(cells, prepared.rows[d].unsqueeze(2), prepared.cols[d].unsqueeze(1), n, features)
        scores.append(torch.diagonal_scatter(line, prepared.matched[d]))
    return torch.stack(scores)


class LineTile(NamedTuple):
    """The lines of some rows in one direction, float64."""

    direction: int
    rows: slice
    scores: Tensor
    """(T, B), the matching candidate scored like the others."""
    matched: Tensor
    """(T,) scores of the matches, from the row-wise statistics."""


@torch.no_grad()
def line_tiles(lines: LineEvaluator, views: Tensor) -> Iterator[LineTile]:
    """(n, B, F) -> line scores tile by tile: for batches whose lines are too many to hold."""
    n, size, features = views.shape
    made = view_pass(lines, views, want=False)
    for d, cross_terms in enumerate(made.cross_terms()):
        for rows in row_blocks(size, max(1, lines.budget // (16 * 8 * (len(cross_terms) + 1) * size))):
            cells = [cross.cells(rows).double() for cross in cross_terms]
            scores = lines.score.line(
                cells, made.prepared.rows[d][:, rows].unsqueeze(2), made.prepared.cols[d].unsqueeze(1), n, features
            )
            yield LineTile(d, rows, scores, made.prepared.matched[d, rows])


class RowFigures(NamedTuple):
    """What an evaluation reads of a batch, row by row, float64."""

    losses: Tensor
    """(B,) the loss of each row, nats."""
    wins: Tensor
    """(B,) the share of each row's lines, 0 to 1, whose highest score is the match's; a tie counts as lost."""


def row_figures(
    lines: LineEvaluator, views: Tensor, off: Tensor, diagonal: Tensor, weights: Sequence[float]
) -> RowFigures:
    """The terms of the sum over rows in `line_loss`, without gradient. views: (n, B, F) float64; off, diagonal and
    weights: as for `line_loss`.
    """
    size, directions = views.shape[1], len(weights)
    losses, wins = (torch.zeros(size, dtype=torch.float64, device=views.device) for _ in range(2))
    for d, rows, scores, matched in line_tiles(lines, views):
        losses[rows] += weights[d] * contrast(scores, matched, rows.start, off, diagonal).loss
        scores.diagonal(rows.start).fill_(-torch.inf)
        # Equal rows have equal scores in float32; in float64 rounding may tell them apart.
        wins[rows] += (matched.float() > scores.amax(1).float()).double() / directions
    return RowFigures(losses, wins)


class _LineLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx, lines: LineEvaluator, weights: Sequence[float], want: bool, off: Tensor, diagonal: Tensor, *views: Tensor
    ) -> Tensor:
        run = _Run(lines, views[0] if views[0].dim() == 3 else views, off, diagonal, want)
        run.all(weights)
        if want:
            parts = run.rows.finish(run.sums, run.d_prepared)
            ctx.rows, ctx.dtype, ctx.stacked = run.rows, views[0].dtype, views[0].dim() == 3
            ctx.save_for_backward(run.d_off.to(off.dtype), run.d_diagonal.to(diagonal.dtype), *parts, *views)
            ctx.parts = len(parts)
        run.rows.release()
        return run.loss.to(result_dtype(views[0]))

    @staticmethod
    def backward(ctx, grad: Tensor):
        d_off, d_diagonal, *saved = ctx.saved_tensors
        parts, views = saved[: ctx.parts], saved[ctx.parts :]
        d_views = ctx.rows.pull(views[0] if ctx.stacked else views, parts, grad)
        if d_views.dtype != ctx.dtype:
            d_views = saturate(d_views, ctx.dtype)
        return None, None, None, d_off * grad, d_diagonal * grad, *((d_views,) if ctx.stacked else d_views)


def line_loss(lines: LineEvaluator, views: Views, off: Tensor, diagonal: Tensor, weights: Sequence[float]) -> Tensor:
    """sum over directions d of weights[d] * sum over rows of the cross-entropy against the matching candidate.

    views: n tensors (B, F) or one (n, B, F), any floating dtype; off and diagonal: multipliers of the other and of the
    matching scores, scalars. Differentiable once by views, off and diagonal. The result is float64 for float64 views,
    else float32.
    """
    parts = (views,) if isinstance(views, Tensor) else tuple(views)
    want = torch.is_grad_enabled() and any(x.requires_grad for x in (*parts, off, diagonal))
    return _LineLoss.apply(lines, weights, want, off, diagonal, *parts)


class _Run:
    """One evaluation: rows, and the sums of loss and gradients."""

    def __init__(self, lines: LineEvaluator, views: Views, off: Tensor, diagonal: Tensor, want: bool):
        self.lines, self.want = lines, want
        self.shape = len(views), *views[0].shape
        self.off, self.diagonal = off.detach().double(), diagonal.detach().double()
        self.rows = view_pass(lines, views, want)
        self.prepared = self.rows.prepared
        self.d_prepared = RowStats(*map(torch.zeros_like, self.prepared))
        self.kept = PairCache(lines.scratch) if self.keeps() else None
        self.loss, self.d_off, self.d_diagonal = (self.off.new_zeros(()) for _ in range(3))
        self.sums = self.rows.gradients() if want else Gradients()

    def keeps(self) -> bool:
        """Whether the blocks of all pairs of views, beside three copies of the views, fit the budget."""
        n, size, features = self.shape
        element = self.rows.dtype.itemsize
        return (
            self.lines.score.pairs_both_ways
            and pair_cache_bytes(n, size, element) + 3 * n * size * features * element <= self.lines.budget
        )

    def all(self, weights: Sequence[float]) -> None:
        """Adds every direction."""
        for d, (weight, cross_terms) in enumerate(zip(weights, self.rows.cross_terms(), strict=True)):
            with torch.no_grad():
                self.direction(d, weight, cross_terms)
            if self.want:
                self.sums = self.rows.carry(self.sums)

    def direction(self, d: int, weight: float, cross_terms: Sequence[CrossTerm]) -> None:
        """Adds direction `d`, tile by tile, and the gradients of the operands of its cross_terms."""
        size = self.shape[1]
        if self.kept is not None:
            tile = [self.kept.open(cross) for cross in cross_terms]
            self.tile(d, weight, slice(0, size), tile)
            for cross, cells in zip(cross_terms, tile, strict=True):
                self.kept.close(cross, cells, self.sums if self.want else None)
            return
        width = self.rows.dtype.itemsize * len(cross_terms)
        step = max(1, min(TILE_ROWS, self.lines.budget // (8 * width * size)))
        block = min(step, size), size
        memory = [self.lines.scratch.take(block, self.rows.dtype, self.loss.device) for _ in cross_terms]
        for rows in row_blocks(size, step):
            parts = [part[: rows.stop - rows.start] for part in memory]
            tile = [term.cells(rows, part) for term, part in zip(cross_terms, parts, strict=True)]
            self.tile(d, weight, rows, [Cells(values, values) for values in tile])
            if self.want:
                for cross, values in zip(cross_terms, tile, strict=True):
                    cross.pull(rows, values, self.sums)
        self.lines.scratch.give(memory)

    def tile(self, d: int, weight: float, rows: slice, tile: list[Cells]) -> None:
        """Adds the loss and the small gradients of `rows`, and puts the gradients of the tile's cells into their
        places.
        """
        kernel = self.kernel(len(tile), self.prepared.rows.shape[1], self.prepared.cols.shape[1])
        if kernel is None:
            for part in row_blocks(rows.stop - rows.start, self.block_rows()):
                self.block(d, weight, rows.start, part, tile)
            return
        parts = self.prepared.matched[d, rows], self.prepared.rows[d][:, rows], self.prepared.cols[d]
        stats = [part.contiguous() for part in parts]
        grads = [torch.zeros_like(stat) for stat in stats]
        sums = self.loss.new_zeros(3)
        factors = self.off.item(), self.diagonal.item(), weight, self.shape[2]
        kernel(tile, rows.start, stats, factors, self.want, [sums, *grads])
        self.loss += sums[0]
        self.d_off += sums[1]
        self.d_diagonal += sums[2]
        self.d_prepared.matched[d, rows] += grads[0]
        self.d_prepared.rows[d][:, rows] += grads[1]
        self.d_prepared.cols[d] += grads[2]

    def kernel(self, *counts: int) -> LineKernel | None:
        """The compiled pass, on CPUs and for batches that are worth it."""
        n, size, _ = self.shape
        return (
            line_kernel(self.lines.score, n, *counts)
            if self.loss.device.type == "cpu" and size >= NATIVE_ROWS
            else None
        )

    def block_rows(self) -> int:
        """Rows of a block: on a CPU as many as its cache holds, elsewhere, where every operation costs a start, as the
        budget does.
        """
        cells = CACHED_CELLS if self.loss.device.type == "cpu" else self.lines.budget // CELL_BYTES
        return max(1, cells // self.shape[1])

    def block(self, d: int, weight: float, start: int, part: slice, tile: list[Cells]) -> None:
        """The same without a kernel, for a part of the rows of a tile that starts at row `start`."""
        n, _, features = self.shape
        first = start + part.start
        rows = slice(first, start + part.stop)
        inputs = [
            *(cells.rows(part).double() for cells in tile),
            self.prepared.rows[d][:, rows].unsqueeze(2),
            self.prepared.cols[d].unsqueeze(1),
        ]
        inputs = [x.detach().requires_grad_(self.want) for x in inputs]
        with torch.set_grad_enabled(self.want):
            scores = self.lines.score.line(inputs[:-2], *inputs[-2:], n, features)
        matched = self.prepared.matched[d, rows]
        made = contrast(scores.detach(), matched, first, self.off, self.diagonal)
        self.loss += weight * made.loss.sum()
        if not self.want:
            return
        self.d_off += weight * (made.push * scores.detach()).sum()
        self.d_diagonal -= weight * (made.pull * matched).sum()
        self.d_prepared.matched[d, rows] -= weight * self.diagonal * made.pull
        *d_cells, d_rows, d_cols = torch.autograd.grad(
            scores, inputs, made.push.mul_(weight * self.off), allow_unused=True
        )
        for cells, grad in zip(tile, d_cells, strict=True):
            cells.put(part, grad)
        if d_rows is not None:
            self.d_prepared.rows[d][:, rows] += d_rows.squeeze(2)
        if d_cols is not None:
            self.d_prepared.cols[d] += d_cols.squeeze(1)
