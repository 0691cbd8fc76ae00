"""The loss along lines; its gradients are computed in the forward pass, while the tiles are in memory.

With diagonal targets only n B^2 of the B^n scores are used: those in which one view takes another sample's row.
Row-wise statistics are float64; products (T, B) are float32 where that is safe; formulas and cross-entropies are
computed in float64 on blocks that fit a core's cache. Nothing of size (B, B) is saved for backward.

Shapes: n views, B rows, F features, D directions, T rows of a tile.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from model.losses.cross_terms import Cells, CrossTerm, Gradients, row_blocks
from model.losses.evaluation.backend import new_view_pass, tile_function
from model.losses.evaluation.evaluator import LineEvaluator
from model.losses.evaluation.pair_cache import PairCache, pair_cache_bytes, products_of
from model.losses.evaluation.tiles import Accumulator, LineProblem, Tile, TileFunction, eager_tile
from model.losses.inputs import Views
from model.losses.numerics import result_dtype, saturate
from model.losses.score import RowStats

# Cells of a block (float64) that stays in a core's cache in all torch operations of a formula, and the bytes of their
# intermediate results for each cell.
CACHED_CELLS = 1 << 16
CELL_BYTES = 512
# The largest number of rows of a tile; matrix products of this size are fast.
TILE_ROWS = 1024


def line_loss(
    evaluator: LineEvaluator, views: Views, negative_scale: Tensor, match_scale: Tensor, weights: Sequence[float]
) -> Tensor:
    """Returns the sum over directions d of weights[d] * the sum over rows of the cross-entropy against the match.

    views: n tensors (B, F) or one (n, B, F), any floating dtype; negative_scale and match_scale: multipliers of the
    scores of the other candidates and of the match, scalars. Differentiable once with respect to views and scales. The
    result is float64 for float64 views, else float32.
    """
    tensors = (views,) if isinstance(views, Tensor) else tuple(views)
    need_grad = torch.is_grad_enabled() and any(x.requires_grad for x in (*tensors, negative_scale, match_scale))
    return _LineLoss.apply(evaluator, weights, need_grad, negative_scale, match_scale, *tensors)


class _LineLoss(torch.autograd.Function):
    """`line_loss`, a scalar, as a function of the scales, scalars, and of the views: n of (B, F), or one (n, B, F)."""

    @staticmethod
    def forward(
        ctx: Any,
        evaluator: LineEvaluator,
        weights: Sequence[float],
        need_grad: bool,
        negative_scale: Tensor,
        match_scale: Tensor,
        *tensors: Tensor,
    ) -> Tensor:
        views: Views = tensors[0] if tensors[0].dim() == 3 else tensors
        (size, features), n = views[0].shape, len(views)
        scales = negative_scale.detach().double(), match_scale.detach().double()
        problem = LineProblem(evaluator.score, evaluator.backend, n, size, features, *scales, need_grad)
        evaluation = _Evaluation(evaluator, problem, views)
        evaluation.add_directions(weights)
        sums, view_pass = evaluation.sums, evaluation.view_pass
        if need_grad:
            saved, ctx.to_views = view_pass.to_backward(evaluation.gradients, sums.d_stats)
            d_scales = sums.d_negative_scale.to(negative_scale.dtype), sums.d_match_scale.to(match_scale.dtype)
            ctx.save_for_backward(*d_scales, *saved, *tensors)
            ctx.saved_count, ctx.dtype, ctx.is_stacked = len(saved), tensors[0].dtype, tensors[0].dim() == 3
        view_pass.release_buffers()
        return sums.loss.to(result_dtype(tensors[0]))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        d_negative_scale, d_match_scale, *rest = ctx.saved_tensors
        saved, tensors = rest[: ctx.saved_count], rest[ctx.saved_count :]
        d_views = ctx.to_views(tensors[0] if ctx.is_stacked else tensors, saved, grad)
        if d_views.dtype != ctx.dtype:
            d_views = saturate(d_views, ctx.dtype)
        d_tensors = (d_views,) if ctx.is_stacked else d_views.unbind()
        return None, None, None, d_negative_scale * grad, d_match_scale * grad, *d_tensors


class _Evaluation:
    """One forward pass over all directions. It adds losses to `sums`, and gradients of the operands to `gradients`."""

    def __init__(self, evaluator: LineEvaluator, problem: LineProblem, views: Views) -> None:
        self.evaluator, self.problem = evaluator, problem
        self.view_pass = new_view_pass(evaluator, views, problem.need_grad)
        self.sums = Accumulator(self.view_pass.stats)
        self.gradients = self.view_pass.new_gradients() if problem.need_grad else Gradients()

    def add_directions(self, weights: Sequence[float]) -> None:
        """Adds every direction. weights: D numbers."""
        pairs = PairCache(self.evaluator.scratch) if self._caches_pairs() else None
        for d, (weight, terms) in enumerate(zip(weights, self.view_pass.cross_terms(), strict=True)):
            with torch.no_grad():
                if pairs is None:
                    self._add_tiles(d, weight, terms)
                else:
                    self._add_from_pairs(d, weight, terms, pairs)
            if self.problem.need_grad:
                self.gradients = self.view_pass.flush_direction(self.gradients)

    def _caches_pairs(self) -> bool:
        """Returns True if the blocks of all pairs of views, and three copies of the views, fit the budget."""
        problem, element = self.problem, self.view_pass.dtype.itemsize
        copies = 3 * problem.n * problem.size * problem.features * element
        fits = pair_cache_bytes(problem.n, problem.size, element) + copies <= self.evaluator.budget
        return problem.score.traits.pairs_both_ways and fits

    def _add_from_pairs(self, d: int, weight: float, terms: Sequence[CrossTerm], pairs: PairCache) -> None:
        """Adds a direction as one tile of all rows, whose cells are in the cache of pairs."""
        products = products_of(terms)
        cells = [pairs.open(product) for product in products]
        self._add_tile(d, weight, slice(0, self.problem.size), cells)
        for product, product_cells in zip(products, cells, strict=True):
            pairs.close(product, product_cells, self.gradients if self.problem.need_grad else None)

    def _add_tiles(self, d: int, weight: float, terms: Sequence[CrossTerm]) -> None:
        """Adds a direction tile by tile, and the gradients of the operands of its cross terms."""
        scratch, size, dtype = self.evaluator.scratch, self.problem.size, self.view_pass.dtype
        step = max(1, min(TILE_ROWS, self.evaluator.budget // (8 * dtype.itemsize * len(terms) * size)))
        buffers = [scratch.acquire((min(step, size), size), dtype, self.sums.loss.device) for _ in terms]
        for rows in row_blocks(size, step):
            outs = [buffer[: rows.stop - rows.start] for buffer in buffers]
            values = [term.cells(rows, out) for term, out in zip(terms, outs, strict=True)]
            self._add_tile(d, weight, rows, [Cells(x, x) for x in values])
            if self.problem.need_grad:
                for term, grad in zip(terms, values, strict=True):  # gradients have replaced the values
                    term.backward(rows, grad, self.gradients)
        scratch.release(buffers)

    def _add_tile(self, d: int, weight: float, rows: slice, cells: Sequence[Cells]) -> None:
        """Adds a tile, in one compiled pass or in blocks that fit the cache."""
        matched, row, col = self.view_pass.stats
        tile = Tile(d, weight, rows, cells, RowStats(matched[d, rows], row[d][:, rows], col[d]))
        function = tile_function(self.problem, len(cells), self.view_pass.stats)
        for block_rows in row_blocks(rows.stop - rows.start, self._block_rows(function)):
            block = tile.block(block_rows)
            self.sums.add(block, function(self.problem, block))

    def _block_rows(self, function: TileFunction) -> int:
        """Returns the rows of a block: compiled, all of the tile; else on a CPU as many as its cache holds, and on
        other devices, where each operation has a fixed cost, as many as the budget allows.
        """
        if function is not eager_tile:
            return self.problem.size
        on_cpu = self.sums.loss.device.type == "cpu"
        return max(1, (CACHED_CELLS if on_cpu else self.evaluator.budget // CELL_BYTES) // self.problem.size)
