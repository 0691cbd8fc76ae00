"""The loss along lines, with its gradients made while the tiles are at hand.

With diagonal targets only n B^2 of the B^n scores are ever used: those in which one view takes another sample's row.
Row-wise statistics (n, b, F) are float64, block by block; products (T, B) are float32 where that is safe; formulas
and cross-entropies run in float64 on blocks that fit a core's cache. Nothing of size (B, B) is kept for the backward pass.

Shapes: n views, B rows, F features, D directions, T rows of a tile.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.losses.contrast import contrast
from model.losses.crosses import Cross, Gradients, all_cells, row_blocks
from model.losses.kept import KeptProducts, kept_bytes
from model.losses.line_kernel import LineKernel, line_kernel
from model.losses.numerics import normalise, ordinary_rows, result_dtype, saturate, to_float64
from model.losses.score import Prepared, Score

# Cells of a block that stays in a core's cache through the passes of a formula (float64).
CACHED_CELLS = 1 << 16
# Batches from this size on are worth compiling for.
NATIVE_ROWS = 64
# Samples whose row-wise statistics are made at once: 6 views of 128 rows and 512 features are 3 MiB.
PREPARED_ROWS = 128
# Copies of such a block, in the way back through its statistics at the most, that must fit the budget.
PREPARED_COPIES = 100


@dataclass(frozen=True)
class Lines:
    """How views become line scores: the score, whether rows are normalised and with which eps, the budget of a tile in bytes."""

    score: Score
    normalised: bool
    eps: float
    budget: int

    def prepare(self, views: Tensor, narrow: bool = False) -> tuple[Tensor, Prepared]:
        """(n, b, F) float64 -> normalised rows, and their statistics. narrow: whether they come from another dtype."""
        rows = normalise(views, self.eps, narrow) if self.normalised else views
        return rows, self.score.prepare(rows)

    def keeps(self, shape: Sequence[int], dtype: torch.dtype) -> bool:
        """Whether the blocks of all pairs of views, beside three copies of the views, fit the budget."""
        n, size, features = shape
        element = dtype.itemsize
        return self.score.pairs_both_ways and kept_bytes(n, size, element) + 3 * n * size * features * element <= self.budget

    def product_dtype(self, views: Tensor) -> torch.dtype:
        """float32 where it can hold the products of the rows of `views`, else float64."""
        wide = views.dtype == torch.float64 or views.shape[1] <= self.score.float64_rows
        narrow = not wide and ordinary_rows(views, self.normalised, self.eps)
        return torch.float32 if narrow else torch.float64


def line_scores(lines: Lines, views: Tensor) -> Tensor:
    """(n, B, F) -> line scores (D, B, B), differentiable, all in float64."""
    n, _, features = views.shape
    rows, prepared = lines.prepare(views)
    scores = []
    for d, crosses in enumerate(lines.score.crosses(rows.unbind())):
        cells = [all_cells(cross) for cross in crosses]
        line = lines.score.line(cells, prepared.rows[d].unsqueeze(2), prepared.cols[d].unsqueeze(1), n, features)
        scores.append(torch.diagonal_scatter(line, prepared.matched[d]))
    return torch.stack(scores)


@torch.no_grad()
def line_tiles(lines: Lines, views: Tensor) -> Iterator[tuple[int, slice, Tensor]]:
    """(n, B, F) -> direction, rows and their line scores (T, B), float64, tile by tile: for batches whose lines are too many to hold."""
    n, size, features = views.shape
    one = torch.ones((), device=views.device)
    run = _Run(lines, views, one, one, want=False)
    for d, crosses in enumerate(lines.score.crosses(run.leaves)):
        for rows in row_blocks(size, max(1, lines.budget // (16 * 8 * (len(crosses) + 1) * size))):
            cells = [cross.cells(rows).double() for cross in crosses]
            yield d, rows, lines.score.line(cells, run.prepared.rows[d][:, rows].unsqueeze(2), run.prepared.cols[d].unsqueeze(1), n, features)


class _LineLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, lines: Lines, weights: Sequence[float], want: bool, views: Tensor, off: Tensor, diagonal: Tensor) -> Tensor:
        ctx.dtype = views.dtype
        run = _Run(lines, views, off, diagonal, want)
        run.all(weights)
        if want:
            ctx.save_for_backward(run.pull_views(), run.d_off.to(off.dtype), run.d_diagonal.to(diagonal.dtype))
        return run.loss.to(result_dtype(views))

    @staticmethod
    def backward(ctx, grad: Tensor):
        d_views, d_off, d_diagonal = ctx.saved_tensors
        return None, None, None, saturate(d_views * grad, ctx.dtype), d_off * grad, d_diagonal * grad


def line_loss(lines: Lines, views: Tensor, off: Tensor, diagonal: Tensor, weights: Sequence[float]) -> Tensor:
    """sum over directions d of weights[d] * sum over rows of the cross-entropy against the matching candidate.

    views (n, B, F), any floating dtype; off and diagonal: multipliers of the other and of the matching scores, scalars.
    Differentiable once by views, off and diagonal. The result is float64 for float64 views, else float32.
    """
    want = torch.is_grad_enabled() and any(x.requires_grad for x in (views, off, diagonal))
    return _LineLoss.apply(lines, weights, want, views, off, diagonal)


class _Run:
    """One evaluation: operands, statistics, and the sums of loss and gradients."""

    def __init__(self, lines: Lines, views: Tensor, off: Tensor, diagonal: Tensor, want: bool):
        self.lines, self.views, self.want = lines, views.detach(), want
        self.off, self.diagonal = off.detach().double(), diagonal.detach().double()
        dtype = lines.product_dtype(views)
        self.narrow = views.dtype != torch.float64
        self.step = max(1, min(PREPARED_ROWS, lines.budget // (PREPARED_COPIES * 8 * views[:, 0].numel())))
        own, blocks = torch.empty_like(views, dtype=dtype), []
        for rows in row_blocks(views.shape[1], self.step):
            own[:, rows], prepared = lines.prepare(self.sample_major(rows), self.narrow)
            blocks.append(prepared)
        self.prepared = Prepared(*(torch.cat(parts, dim=-1) for parts in zip(*blocks, strict=True)))
        self.leaves = [row.requires_grad_(want) for row in own.unbind()]
        self.d_own: list[Tensor | None] = [None] * len(self.leaves)
        self.d_prepared = Prepared(*map(torch.zeros_like, self.prepared))
        self.kept = KeptProducts() if self.lines.keeps(views.shape, dtype) else None
        self.loss, self.d_off, self.d_diagonal = (self.off.new_zeros(()) for _ in range(3))

    def sample_major(self, rows: slice) -> Tensor:
        """Some rows of the views, (n, b, F) float64, with the views of a sample side by side in memory."""
        return to_float64(self.views[:, rows].transpose(0, 1).contiguous()).transpose(0, 1)

    def all(self, weights: Sequence[float]) -> None:
        """Adds every direction."""
        sums = Gradients()
        with torch.set_grad_enabled(self.want):
            made = self.lines.score.crosses(self.leaves)
            made = list(made) if self.lines.score.shares_operands else made
            for d, (weight, crosses) in enumerate(zip(weights, made, strict=True)):
                with torch.no_grad():
                    self.direction(d, weight, crosses, sums)
                if self.want and not self.lines.score.shares_operands:
                    sums = self.add_own(sums)
        if self.want and self.lines.score.shares_operands:
            self.add_own(sums)

    def direction(self, d: int, weight: float, crosses: Sequence[Cross], sums: Gradients) -> None:
        """Adds direction `d`, tile by tile, and to `sums` the gradients of the operands of its crosses."""
        size = self.views.shape[1]
        if self.kept is not None:
            cells = [self.kept.cells(cross) for cross in crosses]
            self.tile(d, weight, slice(0, size), cells)
            for cross, cell in zip(crosses, cells, strict=True):
                self.kept.pull(cross, cell, sums)
            return
        width = self.leaves[0].element_size() * len(crosses)
        step = max(1, min(1024, self.lines.budget // (16 * width * size)))
        for rows in row_blocks(size, step):
            cells = [cross.cells(rows) for cross in crosses]
            self.tile(d, weight, rows, cells)
            if self.want:
                for cross, cell in zip(crosses, cells, strict=True):
                    cross.pull(rows, cell, sums)

    def tile(self, d: int, weight: float, rows: slice, cells: list[Tensor]) -> None:
        """Adds the loss and the small gradients of `rows`, and writes the gradients of `cells`, (T, B) each, over them."""
        kernel = self.kernel(len(cells), self.prepared.rows.shape[1], self.prepared.cols.shape[1])
        if kernel is None:
            for part in row_blocks(rows.stop - rows.start, max(1, CACHED_CELLS // self.views.shape[1])):
                self.block(d, weight, rows.start + part.start, [cell[part] for cell in cells])
            return
        stats = [self.prepared.rows[d][:, rows].contiguous(), self.prepared.cols[d].contiguous(), self.prepared.matched[d, rows].contiguous()]
        grads = [torch.zeros_like(stat) for stat in stats]
        sums = self.loss.new_zeros(3)
        factors = self.off.item(), self.diagonal.item(), weight, self.views.shape[2]
        kernel(cells, rows.start, stats, factors, self.want, [sums, grads[2], grads[0], grads[1]])
        self.loss += sums[0]
        self.d_off += sums[1]
        self.d_diagonal += sums[2]
        self.d_prepared.rows[d][:, rows] += grads[0]
        self.d_prepared.cols[d] += grads[1]
        self.d_prepared.matched[d, rows] += grads[2]

    def kernel(self, *counts: int) -> LineKernel | None:
        """The compiled pass, on CPUs and for batches that are worth it."""
        n, size, _ = self.views.shape
        return line_kernel(self.lines.score, n, *counts) if self.views.device.type == "cpu" and size >= NATIVE_ROWS else None

    def block(self, d: int, weight: float, first: int, cells: list[Tensor]) -> None:
        """The same without a kernel, for as many rows as `cells` have, from row `first` on."""
        n, _, features = self.views.shape
        rows = slice(first, first + len(cells[0]))
        inputs = [*(cell.double() for cell in cells), self.prepared.rows[d][:, rows].unsqueeze(2), self.prepared.cols[d].unsqueeze(1)]
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
        *d_cells, d_rows, d_cols = torch.autograd.grad(scores, inputs, made.push.mul_(weight * self.off), allow_unused=True)
        for cell, grad in zip(cells, d_cells, strict=True):
            cell.copy_(grad)
        if d_rows is not None:
            self.d_prepared.rows[d][:, rows] += d_rows.squeeze(2)
        if d_cols is not None:
            self.d_prepared.cols[d] += d_cols.squeeze(1)

    def add_own(self, sums: Gradients) -> Gradients:
        """Carries the gradients of operands on to the normalised rows; returns empty sums for the next."""
        for k, grad in enumerate(sums.pull_to(self.leaves)):
            if grad is not None:
                self.d_own[k] = grad if self.d_own[k] is None else self.d_own[k].add_(grad)
        return Gradients()

    def pull_views(self) -> Tensor:
        """The gradient of `views`, float64 for float64 and float32 otherwise, from those of normalised rows and statistics."""
        self.leaves = []  # no longer needed, and as large as what is made here
        out = torch.empty_like(self.views, dtype=result_dtype(self.views))
        for rows in row_blocks(self.views.shape[1], self.step):
            with torch.enable_grad():
                views = self.sample_major(rows).requires_grad_()
                own, prepared = self.lines.prepare(views, self.narrow)
            d_own = torch.zeros_like(own)
            for k, grad in enumerate(self.d_own):
                if grad is not None:
                    d_own[k] = grad[rows]
            grads = [d_own, *(grad[..., rows] for grad in self.d_prepared)]
            kept = [(x, grad) for x, grad in zip((own, *prepared), grads, strict=True) if x.requires_grad]
            (pulled,) = torch.autograd.grad([x for x, _ in kept], views, [grad for _, grad in kept])
            out[:, rows] = saturate(pulled, out.dtype)
        return out
