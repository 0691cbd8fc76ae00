"""Chooses compiled code or torch for each part of an evaluation, as `loss.backend` says."""

from __future__ import annotations

from functools import partial

import torch

from model.errors import require
from model.losses.compiled import native
from model.losses.compiled.line_kernel import Counts, line_kernel
from model.losses.compiled.row_kernel import row_kernel
from model.losses.cross_terms import AUTO, COMPILED, EAGER, INDUCTOR, Backend, Product
from model.losses.evaluation.compiled_pass import CompiledPass
from model.losses.evaluation.eager_pass import EagerPass, operand_dtype
from model.losses.evaluation.evaluator import LineEvaluator
from model.losses.evaluation.fused_pass import FusedPass
from model.losses.evaluation.fused_tile import fused_tile
from model.losses.evaluation.schedule import TOGETHER
from model.losses.evaluation.small_batch import SMALL_CELLS, CannotCompileError, SmallBatch, SmallProblem
from model.losses.evaluation.tiles import LineProblem, TileFunction, compiled_tile, eager_tile
from model.losses.evaluation.view_pass import ViewPass
from model.losses.inductor.compile import default_device_type, fuses
from model.losses.inductor.compile import problem as compile_problem
from model.losses.inputs import Views, stacked
from model.losses.score import RowSumScore

BACKENDS = {backend.name: backend for backend in (AUTO, EAGER, COMPILED, INDUCTOR)}


def check_backend(backend: Backend, name: str, has_kernels: bool) -> None:
    """Raises ConfigError where compiled code is required, and either loss `name` has none or no compiler works here.

    The views of `inductor` are taken to be on the accelerator, if there is one; `fuses` checks their device.
    """
    if backend.required:
        problem: str | None = f"loss={name} with these options has no compiled code"
        if has_kernels:
            problem = native.problem() if backend.compiled else compile_problem(default_device_type())
        require(problem is None, "loss.backend", backend.name, f"is not possible: {problem}", "auto, eager")


def new_view_pass(evaluator: LineEvaluator, views: Views, need_grad: bool) -> ViewPass:
    """Returns the row-wise part for n views (B, F). need_grad: True if gradients will be computed."""
    return evaluator.derived_pass(_score_pass(evaluator, views, need_grad))


def _score_pass(evaluator: LineEvaluator, views: Views, need_grad: bool) -> ViewPass:
    """Returns the row-wise part of the evaluator's score. It is compiled for scores that are RowSumScores, where no
    view is float64; in torch otherwise, also with loss.backend=compiled.
    """
    score, backend = evaluator.score, evaluator.backend
    wide = any(view.dtype == torch.float64 for view in views)
    if backend.compiles(views[0].device) and isinstance(score, RowSumScore) and not wide:
        small = len(views[0]) <= score.traits.float64_rows
        for dtype in (torch.float64,) if small else (torch.float32, torch.float64):
            kernel = backend.checked(row_kernel(score, len(views), dtype))
            if kernel is None or not kernel.fits(views, evaluator.budget(views[0].device)):
                break
            view_pass = CompiledPass(evaluator, score, kernel, views, need_grad)
            if view_pass.is_accurate:
                return view_pass
            view_pass.release_buffers()
    rows = stacked(views).detach()
    if score.traits.fixed_operands and fuses(backend, rows.device):
        return FusedPass(evaluator, rows, operand_dtype(evaluator, rows))
    return EagerPass(evaluator, rows, need_grad)


def cells_together(problem: LineProblem, element: int) -> int:
    """Returns the largest number of cells of directions that are evaluated together. element: bytes of a cell.

    On other devices than a CPU each operation has a fixed cost. There a tile takes up to the budget, beside the cells
    that are kept: a copy of each cell, its gradient, and about as much for numbers of the formula.
    """
    if fuses(problem.backend, problem.stats.matched.device):
        return problem.budget // (3 * element)
    return min(TOGETHER, problem.budget // (8 * element))


def new_small_batch(evaluator: LineEvaluator, problem: SmallProblem) -> SmallBatch | None:
    """Returns the prepared evaluation of a small batch of float32, bfloat16 or float16 on a CPU; None for other
    batches, and where a kernel cannot be compiled.
    """
    n, size, _ = problem.shape
    dtype = torch.float64 if size <= problem.score.traits.float64_rows else torch.float32
    kernel = evaluator.backend.checked(row_kernel(problem.score, n, dtype))
    if kernel is None or not all(isinstance(term, Product) for terms in kernel.terms for term, _ in terms):
        return None
    cells = sum(len(terms) for terms in kernel.terms) * size**2
    if cells > SMALL_CELLS or 16 * cells > evaluator.budget(torch.device("cpu")):
        return None
    try:
        return SmallBatch(problem, kernel)
    except CannotCompileError:
        return evaluator.backend.checked(None)


def tile_function(problem: LineProblem, terms: int, dtype: torch.dtype) -> TileFunction:
    """Returns the function that computes tiles of directions with this number of cross terms, whose cells have this
    dtype.
    """
    stats = problem.stats
    if fuses(problem.backend, stats.matched.device):
        return fused_tile
    if not problem.backend.compiles(stats.matched.device):
        return eager_tile
    counts = Counts(terms, stats.row.shape[1], stats.col.shape[1])
    kernel = problem.backend.checked(line_kernel(problem.score, problem.n, counts, dtype))
    return eager_tile if kernel is None else partial(compiled_tile, kernel)
