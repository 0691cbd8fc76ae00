"""Chooses between compiled code and torch for each part of an evaluation."""

from __future__ import annotations

from functools import partial

import torch

from model.losses.compiled.line_kernel import line_kernel
from model.losses.compiled.row_kernel import RowKernel, row_kernel
from model.losses.evaluation.compiled_pass import CompiledPass
from model.losses.evaluation.eager_pass import EagerPass
from model.losses.evaluation.evaluator import LineEvaluator
from model.losses.evaluation.feature_sum import NATIVE_ROWS
from model.losses.evaluation.tiles import LineProblem, TileFunction, compiled_tile, eager_tile
from model.losses.evaluation.view_pass import ViewPass
from model.losses.inputs import Views, stacked
from model.losses.score import RowStats, RowSumScore, Score


def new_view_pass(evaluator: LineEvaluator, views: Views, need_grad: bool) -> ViewPass:
    """Returns the row-wise part for n views (B, F), compiled where that is possible and worth it. need_grad: True if
    gradients will be computed.
    """
    score = evaluator.score
    kernel = _row_kernel(score, views)
    if kernel is not None and isinstance(score, RowSumScore):
        return CompiledPass(evaluator, score, kernel, views, need_grad)
    return EagerPass(evaluator, stacked(views).detach(), need_grad)


def _row_kernel(score: Score, views: Views) -> RowKernel | None:
    first = views[0]
    if first.device.type != "cpu" or len(first) < NATIVE_ROWS:
        return None
    if not isinstance(score, RowSumScore) or any(view.dtype == torch.float64 for view in views):
        return None
    return row_kernel(score, len(views))


def tile_function(problem: LineProblem, terms: int, stats: RowStats) -> TileFunction:
    """Returns the function that computes tiles of a direction of so many cross terms, compiled where that is possible
    and worth it.
    """
    if stats.matched.device.type != "cpu" or problem.size < NATIVE_ROWS:
        return eager_tile
    kernel = line_kernel(problem.score, problem.n, terms, stats.row.shape[1], stats.col.shape[1])
    return eager_tile if kernel is None else partial(compiled_tile, kernel)
