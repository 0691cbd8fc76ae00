"""From views to what lines are made of, normalised rows, operands of the cross_terms, row-wise statistics, and the way
back.

Shapes: n views, B rows, F features, D directions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from model.losses.compiled.row_kernel import RowKernel, row_kernel
from model.losses.cross_terms import CrossTerm, Gradients, Product, row_blocks
from model.losses.evaluation.scratch import Scratch
from model.losses.inputs import Views, stacked
from model.losses.numerics import (
    normalise,
    ordinary_lengths,
    ordinary_rows,
    result_dtype,
    saturate,
    to_float32,
    to_float64,
)
from model.losses.score import RowStats, Score

# Batches from this size on are worth compiling for.
NATIVE_ROWS = 32
# Samples whose row-wise statistics are made at once on a CPU, to stay in its caches: 6 views of 128 rows and 512
# features are 3 MiB.
PREPARED_ROWS = 128


@dataclass(frozen=True)
class LineEvaluator:
    """How views become line scores: the score, whether rows are normalised and with which eps, the budget of a tile in
    bytes.
    """

    score: Score
    normalised: bool
    eps: float
    budget: int
    scratch: Scratch = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "scratch", Scratch(self.budget))

    def prepare(self, views: Tensor, narrow: bool = False) -> tuple[Tensor, RowStats]:
        """(n, b, F) float64 -> normalised rows, and their statistics. narrow: whether they come from another dtype."""
        rows = normalise(views, self.eps, narrow) if self.normalised else views
        return rows, self.score.prepare(rows)


class ViewPass(ABC):
    """The row-wise part of one evaluation. `prepared`: the statistics, outside autograd; `dtype`: that of the
    cross_terms.
    """

    prepared: RowStats
    dtype: torch.dtype

    @abstractmethod
    def cross_terms(self) -> Iterator[list[CrossTerm]]:
        """For each direction the sums over features that its cells need."""

    def gradients(self) -> Gradients:
        """Sums of gradients, empty."""
        return Gradients()

    def carry(self, sums: Gradients) -> Gradients:
        """After a direction: takes what must not be held until the end; returns the sums to add the next direction's
        to.
        """
        return sums

    @abstractmethod
    def finish(self, sums: Gradients, d_prepared: RowStats) -> list[Tensor]:
        """After the last direction: what `pull` needs of the gradients of operands and statistics."""

    def release(self) -> None:  # noqa: B027 - most have nothing
        """Gives back what only an evaluation needs. After it only `pull` may be called."""

    @abstractmethod
    def pull(self, views: Views, parts: Sequence[Tensor], grad: Tensor) -> Tensor:
        """The gradient of the views, (n, B, F), float64 for float64 and float32 otherwise, times `grad`, a scalar,
        within its range.
        """


def view_pass(lines: LineEvaluator, views: Views, want: bool) -> ViewPass:
    """The row-wise part for n `views`, compiled where that is possible and worth it. want: whether gradients will be
    asked for.
    """
    first = views[0]
    worth_it = (
        first.device.type == "cpu" and len(first) >= NATIVE_ROWS and all(view.dtype != torch.float64 for view in views)
    )
    kernel = row_kernel(lines.score, len(views)) if worth_it else None
    return (
        CompiledPass(lines, kernel, views, want)
        if kernel is not None
        else EagerPass(lines, stacked(views).detach(), want)
    )


class CompiledPass(ViewPass):
    """All rows in two passes of compiled loops."""

    def __init__(self, lines: LineEvaluator, kernel: RowKernel, views: Views, want: bool):
        self.lines, self.kernel = lines, kernel
        size, features = views[0].shape
        plain = float32_rows(views)
        self.dtype = torch.float64 if size <= lines.score.float64_rows else torch.float32
        self.block = lines.scratch.take((kernel.operands, size, features), self.dtype, plain[0].device)
        self.norms, self.sums = kernel.forward(plain, lines.eps, lines.normalised, self.block)
        if self.dtype == torch.float32 and not ordinary_lengths(self.norms, lines.normalised, lines.eps):
            lines.scratch.give([self.block])
            self.dtype = torch.float64
            self.block = lines.scratch.take((kernel.operands, size, features), self.dtype, plain[0].device)
            self.norms, self.sums = kernel.forward(plain, lines.eps, lines.normalised, self.block)
        self.operands = list(self.block)
        with torch.set_grad_enabled(want):
            self.made = lines.score.from_sums(self.sums.requires_grad_(want), len(views), features)
        self.prepared = RowStats(*(part.detach() for part in self.made))

    def cross_terms(self) -> Iterator[list[CrossTerm]]:
        for direction in self.kernel.products:
            yield [Product(self.operands[rows], self.operands[cols]) for rows, cols in direction]

    def gradients(self) -> Gradients:
        places = torch.empty_like(self.block)
        return Gradients({id(operand): place for operand, place in zip(self.operands, places, strict=True)})

    def release(self) -> None:
        self.lines.scratch.give([self.block])
        del self.norms, self.sums, self.made, self.operands, self.block

    def finish(self, sums: Gradients, d_prepared: RowStats) -> list[Tensor]:
        kept = [(part, grad) for part, grad in zip(self.made, d_prepared, strict=True) if part.requires_grad]
        (d_sums,) = torch.autograd.grad([part for part, _ in kept], self.sums, [grad for _, grad in kept])
        return [self.norms, d_sums.contiguous(), *(sums.of(operand) for operand in self.operands)]

    def pull(self, views: Views, parts: Sequence[Tensor], grad: Tensor) -> Tensor:
        return self.kernel.backward(float32_rows(views), self.lines.eps, self.lines.normalised, parts, grad.item())


def float32_rows(views: Views) -> list[Tensor]:
    """Each view in float32, its rows one after the other in memory."""
    return [to_float32(view.detach()).contiguous() for view in views]


class EagerPass(ViewPass):
    """By tensor operations in float64, a block of rows at a time."""

    def __init__(self, lines: LineEvaluator, views: Tensor, want: bool):
        self.lines, self.views, self.want = lines, views, want
        wide = views.dtype == torch.float64 or views.shape[1] <= lines.score.float64_rows
        self.dtype = torch.float32 if not wide and ordinary_rows(views, lines.normalised, lines.eps) else torch.float64
        self.narrow = views.dtype != torch.float64
        fits = max(1, lines.budget // (lines.score.row_copies * 8 * views[:, 0].numel()))
        self.step = min(PREPARED_ROWS, fits) if views.device.type == "cpu" else fits
        own, blocks = torch.empty_like(views, dtype=self.dtype), []
        with torch.no_grad():
            for rows in row_blocks(views.shape[1], self.step):
                own[:, rows], prepared = lines.prepare(self.sample_major(rows), self.narrow)
                blocks.append(prepared)
        self.prepared = RowStats(*(torch.cat(parts, dim=-1) for parts in zip(*blocks, strict=True)))
        self.leaves = [row.requires_grad_(want) for row in own.unbind()]
        self.d_own: list[Tensor | None] = [None] * len(self.leaves)

    def sample_major(self, rows: slice) -> Tensor:
        """Some rows of the views, (n, b, F) float64, with the views of a sample side by side in memory."""
        return to_float64(self.views[:, rows].transpose(0, 1).contiguous()).transpose(0, 1)

    def cross_terms(self) -> Iterator[list[CrossTerm]]:
        with torch.set_grad_enabled(self.want):
            made = self.lines.score.cross_terms(self.leaves)
            yield from list(made) if self.lines.score.shares_operands else made

    def gradients(self) -> Gradients:
        """Sums of gradients, empty."""
        return Gradients()

    def carry(self, sums: Gradients) -> Gradients:
        return sums if self.lines.score.shares_operands else self._add_own(sums)

    def _add_own(self, sums: Gradients) -> Gradients:
        """Carries the gradients of operands on to the normalised rows; returns empty sums for the next."""
        for k, grad in enumerate(sums.pull_to(self.leaves)):
            if grad is not None:
                # Not in place: where an operand is a plain sum of views, torch hands the same memory to all of them.
                self.d_own[k] = grad if self.d_own[k] is None else self.d_own[k] + grad
        return Gradients()

    def finish(self, sums: Gradients, d_prepared: RowStats) -> list[Tensor]:
        if self.lines.score.shares_operands:
            self._add_own(sums)
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
            grads = [d_own, *(grad[..., rows] for grad in d_prepared)]
            kept = [(x, grad) for x, grad in zip((own, *prepared), grads, strict=True) if x.requires_grad]
            (pulled,) = torch.autograd.grad([x for x, _ in kept], views, [grad for _, grad in kept])
            out[:, rows] = saturate(pulled, out.dtype)
        return [out]

    def release(self) -> None:
        del self.views, self.leaves, self.d_own

    def pull(self, views: Views, parts: Sequence[Tensor], grad: Tensor) -> Tensor:
        return saturate(parts[0] * grad, parts[0].dtype)
