"""The loss along lines; its gradients are computed in the forward pass, while the tiles are in memory.

With diagonal targets only n B^2 of the B^n scores are used: those in which one view takes another sample's row.
Row-wise statistics are float64; products (T, B) are float32 where that is safe; formulas and cross-entropies are
computed in float64 on blocks that fit a core's cache. Nothing of size (B, B) is saved for backward.

Shapes: n views, B rows, F features, D directions, T rows of a tile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from model.losses.cross_terms import CrossTerm, Gradients, Product, Tile
from model.losses.evaluation.backend import cells_together, new_small_batch, new_view_pass, tile_function
from model.losses.evaluation.cell_memory import CellMemory
from model.losses.evaluation.compiled_pass import float32_rows
from model.losses.evaluation.evaluator import LineEvaluator
from model.losses.evaluation.schedule import Schedule, TermOf, make_schedule, places_of
from model.losses.evaluation.small_batch import SmallProblem
from model.losses.evaluation.tiles import LineProblem, Sums
from model.losses.evaluation.view_pass import ViewBackward, scaled_gradient
from model.losses.inputs import Views
from model.losses.numerics import result_dtype
from model.losses.score import RowStats, RowSumScore

# The largest number of rows of a tile on a CPU, where matrix products of this size are fast.
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
        scales = negative_scale.detach().double(), match_scale.detach().double()
        totals, view_backward = _evaluate_small(evaluator, views, scales, weights, need_grad) or _evaluate(
            evaluator, views, scales, weights, need_grad
        )
        loss, *d_scales = totals.unbind()
        if view_backward is not None:
            saved, ctx.to_views = view_backward
            d_scales = [d.to(scale.dtype) for d, scale in zip(d_scales, (negative_scale, match_scale), strict=True)]
            ctx.save_for_backward(*d_scales, *saved, *tensors)
            ctx.saved_count = len(saved)
        return loss.to(result_dtype(tensors[0]))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        d_negative_scale, d_match_scale, *rest = ctx.saved_tensors
        backward = ViewBackward(rest[: ctx.saved_count], ctx.to_views)
        d_tensors = backward.to_tensors(rest[ctx.saved_count :], grad)
        return None, None, None, d_negative_scale * grad, d_match_scale * grad, *d_tensors


class _Evaluated(NamedTuple):
    """The results of an evaluation."""

    totals: Tensor
    """(3,) the loss and its gradients with respect to the two scales, float64."""
    backward: ViewBackward | None
    """How to compute the gradient with respect to the views; None where gradients are not needed."""


def _evaluate_small(
    evaluator: LineEvaluator, views: Views, scales: tuple[Tensor, Tensor], weights: Sequence[float], need_grad: bool
) -> _Evaluated | None:
    """Evaluates a batch for which `new_small_batch` has an evaluation; returns None for others."""
    score, scratch = evaluator.score, evaluator.scratch
    narrow = all(view.dtype != torch.float64 for view in views)
    compiles = evaluator.backend.compiles(views[0].device) and narrow and evaluator.is_plain
    if not compiles or not isinstance(score, RowSumScore):
        return None
    shape = len(views), *views[0].shape
    problem = SmallProblem(score, shape, evaluator.eps, evaluator.normalised, tuple(weights), need_grad)
    batch = scratch.take(problem) or new_small_batch(evaluator, problem)
    if batch is None:
        return None
    result = batch(float32_rows(views), scales[0].item(), scales[1].item())
    if batch.is_reusable:
        scratch.give(problem, batch)
    if result is None:
        return None
    backward = None if result.d_views is None else ViewBackward([result.d_views], scaled_gradient)
    return _Evaluated(result.totals, backward)


def _evaluate(
    evaluator: LineEvaluator, views: Views, scales: tuple[Tensor, Tensor], weights: Sequence[float], need_grad: bool
) -> _Evaluated:
    """Evaluates any batch."""
    evaluation = _Evaluation(evaluator, views, scales, need_grad)
    evaluation.add_directions(weights)
    view_pass, sums = evaluation.view_pass, evaluation.sums
    backward = view_pass.to_backward(evaluation.gradients, sums.d_stats) if need_grad else None
    view_pass.release_buffers()
    return _Evaluated(sums.totals, backward)


class _Evaluation:
    """One forward pass over all directions. It adds losses to `sums`, and gradients of the operands to `gradients`."""

    def __init__(self, evaluator: LineEvaluator, views: Views, scales: tuple[Tensor, Tensor], need_grad: bool) -> None:
        self._evaluator, n, features = evaluator, len(views), views[0].shape[1]
        self.view_pass = new_view_pass(evaluator, views, need_grad)
        stats = RowStats(*(statistic.contiguous() for statistic in self.view_pass.stats))
        self._problem = LineProblem(
            evaluator.score,
            evaluator.backend,
            n,
            features,
            stats,
            *scales,
            need_grad,
            evaluator.budget(views[0].device),
        )
        self.sums = Sums(stats)
        self.gradients = self.view_pass.new_gradients() if need_grad else Gradients()

    def add_directions(self, weights: Sequence[float]) -> None:
        """Adds every direction. weights: D numbers."""
        if self.view_pass.shares_operands:
            directions = list(self.view_pass.cross_terms())
            schedule = self._schedule(directions)
            self._add_groups(schedule, dict(enumerate(directions)), weights)
            return
        for d, terms in enumerate(self.view_pass.cross_terms()):
            self._add_groups(Schedule(((d,),), {}, {}), {d: terms}, weights)
            if self._problem.need_grad:
                self.gradients = self.view_pass.flush_direction(self.gradients)

    def _schedule(self, directions: Sequence[Sequence[CrossTerm]]) -> Schedule:
        """Returns the schedule for the memory that tiles and three copies of the views leave."""
        problem, element = self._problem, self.view_pass.dtype.itemsize
        block = 2 * element * problem.size**2
        free = problem.budget * 7 // 8 - 3 * element * problem.n * problem.size * problem.features
        products = [[term.operands if isinstance(term, Product) else None for term in terms] for terms in directions]
        terms = max(len(terms) for terms in directions)
        # The cells of the second direction of a pair are those of all rows of the first.
        cells = cells_together(problem, element) if self._tile_rows(terms) == problem.size else 0
        return make_schedule(places_of(products), problem.size, max(0.0, free / block), cells)

    @torch.no_grad()
    def _add_groups(
        self, schedule: Schedule, directions: Mapping[int, Sequence[CrossTerm]], weights: Sequence[float]
    ) -> None:
        """Adds the groups of a schedule. directions: the cross terms of each direction."""
        size, scratch = self._problem.size, self._evaluator.scratch
        step = self._tile_rows(max(len(terms) for terms in directions.values()))
        if any(len(group) > 1 for group in schedule.groups):
            step = size  # a direction of a group may read all cells of another
        like = torch.empty(0, dtype=self.view_pass.dtype, device=self._problem.stats.matched.device)
        memory = CellMemory(scratch, schedule, (step, size), like)
        for group in schedule.groups:
            terms = [TermOf(d, k) for d in group for k in range(len(directions[d]))]
            ends = {schedule.kept_rows.get(at, size) for at in terms}
            for rows in row_ranges(sorted({*range(0, size, step), *ends, size})):
                self._add_tile(group, rows, directions, weights, memory)
            memory.close_directions(group, self.gradients if self._problem.need_grad else None)
        memory.release()

    def _add_tile(
        self,
        group: Sequence[int],
        rows: slice,
        directions: Mapping[int, Sequence[CrossTerm]],
        weights: Sequence[float],
        memory: CellMemory,
    ) -> None:
        """Adds a tile of a group of directions, and the gradients of the operands of its cross terms."""
        cells = [[memory.open(TermOf(d, k), term, rows) for k, term in enumerate(directions[d])] for d in group]
        function = tile_function(self._problem, len(cells[0]), self.view_pass.dtype)
        function(self._problem, Tile(group, [weights[d] for d in group], rows, cells), self.sums)
        if self._problem.need_grad:
            for d, of_direction in zip(group, cells, strict=True):
                for k, (term, term_cells) in enumerate(zip(directions[d], of_direction, strict=True)):
                    memory.propagate(TermOf(d, k), term, rows, term_cells, self.gradients)
        memory.close_tile()

    def _tile_rows(self, terms: int) -> int:
        """Returns the largest number of rows of a tile with so many cross terms."""
        size, element = self._problem.size, self.view_pass.dtype.itemsize
        on_cpu = self._problem.stats.matched.device.type == "cpu"
        return max(1, min(TILE_ROWS if on_cpu else size, size, self._problem.budget // (8 * element * terms * size)))


def row_ranges(ends: Sequence[int]) -> list[slice]:
    """Returns the slices between consecutive ends."""
    return [slice(start, stop) for start, stop in pairwise(ends)]
