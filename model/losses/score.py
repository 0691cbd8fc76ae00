"""The score of a loss, which can be evaluated on matched rows, along lines, and over all tuples.

A line of direction d compares row i with every candidate c; the matching candidate is c = i.

Shapes: n views, B rows, b rows of a block, F features, D directions (one per view for the scores of all views), T rows
of a tile, r statistics of a row, q statistics of a candidate. A line score is [d, i, c].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from model.losses.cross_terms import CrossTerm, SymbolicTerm
from model.losses.numerics import Value


class RowStats(NamedTuple):
    """Row-wise statistics of a block of b samples, float64."""

    matched: Tensor  # (D, b) score of each sample's own tuple
    row: Tensor  # (D, r, b) statistics of a sample as row i of a line
    col: Tensor  # (D, q, b) statistics of a sample as candidate c of a line


@dataclass(frozen=True)
class Traits:
    """What the evaluation should know about a score to be accurate and fast."""

    float64_rows: int = 64
    """Batches of at most this many rows compute their cross terms in float64, which costs little for so few rows."""
    row_copies: int = 16
    """Peak number of float64 copies of the views that the backward of `prepare` holds; it determines the blocks."""
    shares_operands: bool = True
    """True if all directions are computed from common intermediate tensors, so that one backward serves them all;
    False if the gradients of one direction should be propagated to the views before the next direction starts."""
    fixed_operands: bool = True
    """True if the operands of the cross terms are functions of the views alone, in torch operations."""


class Score(ABC):
    """A score in its evaluations. All methods are differentiable functions of their arguments and keep no state."""

    traits = Traits()

    def directions(self, n: int) -> int:
        """Returns D, the number of directions in which n views are contrasted."""
        return n

    @abstractmethod
    def prepare(self, views: Tensor) -> RowStats:
        """Returns the row-wise statistics of (n, b, F) float64."""

    def allows_float32(self, stats: RowStats) -> bool:
        """Returns whether cross terms in float32 are accurate for a batch with these statistics, whose rows have
        ordinary lengths.
        """
        return True

    @abstractmethod
    def cross_terms(self, views: Sequence[Tensor]) -> Iterator[Sequence[CrossTerm]]:
        """Yields, for each direction of n views (B, F), the cross terms that its line scores are functions of."""

    @abstractmethod
    def line(
        self, cells: Sequence[Value], row: Sequence[Value], col: Sequence[Value], n: int, features: Value | int
    ) -> Value:
        """Returns the line scores (T, B) of n views of F features.

        cells: the values of the direction's cross terms, each (T, B); row: r statistics (T, 1) and col: q statistics
        (1, B), as `RowStats` has them. Called with tensors, and once with symbols, from which the compiled loops are
        generated.
        """


class RowSumScore(Score):
    """A score whose row-wise statistics are functions of sums over features, and whose cross terms have operands that
    are functions of one feature.

    Both can be called with symbols, so that normalisation, sums and operands are compiled into one pass over the
    views.
    """

    @abstractmethod
    def row_sums(self, views: Sequence[Value]) -> list[Value]:
        """Returns the s functions of one feature of n views whose sums over features the statistics need."""

    @abstractmethod
    def from_sums(self, sums: Tensor, n: int, features: int) -> RowStats:
        """Returns the row-wise statistics of `row_sums` summed over features, (s, b) float64."""

    def prepare(self, views: Tensor) -> RowStats:
        sums = torch.stack([value.sum(-1) for value in self.row_sums(views.unbind())])
        return self.from_sums(sums, len(views), views.shape[-1])

    @abstractmethod
    def cross_terms(self, views: Sequence[Value]) -> Iterator[Sequence[SymbolicTerm]]:
        """Yields, for each direction of n views, the cross terms that its line scores are functions of."""


class TupleScore(Score):
    """A score of one row of every view: also defined off the lines."""

    @abstractmethod
    def dense(self, views: Sequence[Tensor]) -> Tensor:
        """Returns the scores of all tuples, (B_1, …, B_n), of n tensors (B_k, F)."""

    def dense_width(self, n: int, features: int) -> int:
        """Returns roughly how many numbers `dense` holds at once for each of its cells."""
        return 8


def on_axes(x: Tensor, axes: Sequence[int], n: int) -> Tensor:
    """Returns `x`, whose dimensions belong to the ascending `axes`, as a tensor of n dimensions that broadcasts over
    the other axes.
    """
    shape = [1] * n
    for size, axis in zip(x.shape, axes, strict=True):
        shape[axis] = size
    return x.reshape(shape)


def others(entries: Sequence[Value], a: int) -> list[Value]:
    """Returns all entries except that of view `a`."""
    return [entry for k, entry in enumerate(entries) if k != a]
