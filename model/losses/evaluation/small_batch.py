"""The loss of a small batch and its gradients, in memory that is prepared once.

Where a batch has few rows, most of the time of a loss is spent in Python. The memory, the arguments of the compiled
passes, and the matrix products are therefore prepared at the first step and used again.

Shapes: n views, B rows, F features, D directions, m operands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from model.losses.compiled.line_kernel import Counts, Factors, LineCall, line_kernel
from model.losses.compiled.row_kernel import RowKernel
from model.losses.cross_terms import Cells, Tile
from model.losses.evaluation.schedule import TermOf, make_schedule
from model.losses.numerics import ordinary_lengths
from model.losses.score import RowStats, RowSumScore

# The largest number of cells of all directions for which memory is prepared.
SMALL_CELLS = 1 << 19

Calls = list[Callable[[], object]]


class SmallProblem(NamedTuple):
    """What all evaluations have in common that use the same memory."""

    score: RowSumScore
    shape: tuple[int, int, int]
    """(n, B, F)."""
    eps: float
    normalised: bool
    weights: tuple[float, ...]
    """The weights of the directions."""
    need_grad: bool


class SmallResult(NamedTuple):
    """The results of an evaluation."""

    totals: Tensor
    """(3,) the loss and its gradients with respect to the two scales, float64."""
    d_views: Tensor | None
    """(n, B, F) float32, the gradient with respect to the views; None where gradients are not needed."""


class CannotCompileError(Exception):
    """The C++ compiler cannot compile the pass over the lines."""


class SmallBatch:
    """The memory of an evaluation, and the calls that fill it. One evaluation at a time may use it."""

    def __init__(self, problem: SmallProblem, kernel: RowKernel) -> None:
        """kernel: the row-wise part of the score, all cross terms of which are products. Raises
        CannotCompileError.
        """
        self._problem, self._is_wide = problem, kernel.dtype == torch.float64
        n, size, features = problem.shape
        new = partial(torch.empty, dtype=torch.float64, device="cpu")
        operands, d_operands = (new(kernel.operands, size, features, dtype=kernel.dtype) for _ in range(2))
        self._norms, self._sums = kernel.new_statistics(size)
        self._d_sums, self._d_views = (
            torch.empty_like(self._sums),
            torch.empty(problem.shape, dtype=torch.float32, device="cpu"),
        )
        options = problem.eps, problem.normalised
        self._forward = kernel.bind_forward(self._norms, self._sums, operands, *options)
        self._backward = kernel.bind_backward((self._norms, self._d_sums), list(d_operands), self._d_views, *options)
        stats = problem.score.from_sums(self._sums.zero_(), n, features)
        self._stats = RowStats(*(new(x.shape) for x in stats))
        # One tensor, so that one call writes zeros to all sums.
        self._added = new(3 + sum(x.numel() for x in stats))
        self._totals, *d_stats = self._added.split([3, *(x.numel() for x in stats)])
        self._d_stats = RowStats(*(d.view(x.shape) for d, x in zip(d_stats, stats, strict=True)))
        self._products: Calls = []
        self._d_products: Calls = []
        self._lines = self._prepare(kernel, list(operands), list(d_operands))

    def _prepare(self, kernel: RowKernel, operands: list[Tensor], d_operands: list[Tensor]) -> list[LineCall]:
        """Prepares the products of operands, and returns the passes over the lines."""
        weights, rows = self._problem.weights, slice(0, self._problem.shape[1])
        places = tuple(tuple((row, col) for _, (row, col) in terms) for terms in kernel.terms)
        schedule = make_schedule(places, rows.stop, float("inf"))
        cells: dict[TermOf, Cells] = {}
        lines, written = [], set[int]()
        for group in schedule.groups:
            for at in (TermOf(d, k) for d in group for k in range(len(places[d]))):
                if at in schedule.first_of:
                    first = cells[schedule.first_of[at]]
                    cells[at] = Cells(first.values[:, :0], first.grad[:, :0], first.values, first.grad)
                    continue
                row, col = places[at.direction][at.term]
                values, grad = (torch.empty(rows.stop, rows.stop, dtype=kernel.dtype, device="cpu") for _ in range(2))
                cells[at] = Cells(values, grad)
                self._products.append(partial(torch.mm, operands[row], operands[col].T, out=values))
                for target, left, right in ((row, grad, col), (col, grad.T, row)):
                    self._d_products.append(_product_into(d_operands[target], left, operands[right], target in written))
                    written.add(target)
            tile_cells = [[cells[TermOf(d, k)] for k in range(len(places[d]))] for d in group]
            lines.append(self._bind(Tile(group, [weights[d] for d in group], rows, tile_cells), kernel.dtype))
        return lines

    def _bind(self, tile: Tile, dtype: torch.dtype) -> LineCall:
        """Returns the pass over a tile."""
        counts = Counts(len(tile.cells[0]), self._stats.row.shape[1], self._stats.col.shape[1])
        kernel = line_kernel(self._problem.score, self._problem.shape[0], counts, dtype)
        if kernel is None:
            raise CannotCompileError
        return kernel.bind(tile, self._stats, self._problem.need_grad, self._totals, self._d_stats)

    @property
    def is_reusable(self) -> bool:
        """False for memory of inference mode, which must not be written to outside it."""
        return not self._totals.is_inference()

    def __call__(self, views: Sequence[Tensor], negative_scale: float, match_scale: float) -> SmallResult | None:
        """Evaluates n views (B, F), float32 and contiguous. Returns None where products of float32 are not safe,
        because a row is very long or very short.
        """
        (n, _, features), need_grad = self._problem.shape, self._problem.need_grad
        self._forward(views)
        problem = self._problem
        if not (self._is_wide or ordinary_lengths(self._norms, problem.normalised, problem.eps)):
            return None
        sums = self._sums.detach().requires_grad_(need_grad)
        with torch.set_grad_enabled(need_grad):
            stats = self._problem.score.from_sums(sums, n, features)
        if not (self._is_wide or problem.score.allows_float32(RowStats(*(x.detach() for x in stats)))):
            return None
        for memory, statistic in zip(self._stats, stats, strict=True):
            if memory.numel():
                memory.copy_(statistic.detach())
        self._added.zero_()
        for product in self._products:
            product()
        factors = Factors(negative_scale, match_scale, features)
        for line in self._lines:
            line(factors)
        if not need_grad:
            return SmallResult(self._totals.clone(), None)
        for product in self._d_products:
            product()
        used = [k for k, statistic in enumerate(stats) if statistic.requires_grad]
        outputs, grads = [stats[k] for k in used], [self._d_stats[k] for k in used]
        self._d_sums.copy_(torch.autograd.grad(outputs, sums, grads)[0])
        self._backward(views)
        return SmallResult(self._totals.clone(), self._d_views.clone())


def _product_into(target: Tensor, left: Tensor, right: Tensor, is_written: bool) -> Callable[[], object]:
    """Returns a function that adds left @ right to `target`, or writes it where nothing is written yet."""
    return partial(target.addmm_, left, right) if is_written else partial(torch.mm, left, right, out=target)
