"""What a loss is made of: a score, which can be evaluated on matched rows, along lines, and over all tuples.

Shapes: n views, B rows, F features, D directions (one per view for the scores of all views), T rows of a tile.
A line score is [d, i, c]: row i against candidate c; the matching candidate is c = i.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from model.losses.cross_terms import CrossTerm
from model.losses.numerics import Value


class RowStats(NamedTuple):
    """Row-wise statistics of a block of b samples, float64."""

    matched: Tensor  # (D, b) score of each sample's own tuple
    rows: Tensor  # (D, r, b) statistics that belong to row i of a line
    cols: Tensor  # (D, q, b) statistics that belong to candidate c of a line


class Score(ABC):
    """A score in its evaluations. All methods are differentiable functions of their arguments and keep no state."""

    # Crosses of batches up to this size are float64: they cost little there, and no digit is lost.
    float64_rows = 128
    # Whether the cross_terms are the products of every view with every other, one direction a view.
    pairs_both_ways = False
    # Copies of the views, in float64, that the way back through `prepare` holds at the most.
    row_copies = 16
    # Whether the operands of all directions are made from common parts, and go back through them together.
    shares_operands = True

    def directions(self, n: int) -> int:
        """How many directions n views are contrasted in."""
        return n

    def row_sums(self, views: Sequence[Value]) -> list[Value] | None:
        """n values of one feature -> the functions of them whose sums over features are all that the statistics need.

        None where the statistics need more than that, or `cross_terms` are other than products; then `prepare` stands
        alone.
        """
        return None

    def from_sums(self, sums: Tensor, n: int, features: int) -> RowStats:
        """(s, b) float64, `row_sums` summed over features -> row-wise statistics."""
        raise TypeError(
            f"{type(self).__name__} has row_sums and no from_sums; a score needs both, or a prepare of its own"
        )

    def prepare(self, views: Tensor) -> RowStats:
        """(n, b, F) float64 -> row-wise statistics."""
        sums = torch.stack([value.sum(-1) for value in self.row_sums(views.unbind())])
        return self.from_sums(sums, len(views), views.shape[-1])

    @abstractmethod
    def cross_terms(self, views: Sequence[Value]) -> Iterator[list[CrossTerm]]:
        """n tensors (B, F) -> for each direction, the sums over features that its cells need.

        The gradients of a direction's operands are carried on to `views` before the next direction's are made, unless
        `shares_operands` says that they are made from common parts.
        """

    @abstractmethod
    def line(self, cells: Sequence[Tensor], rows: Tensor, cols: Tensor, n: int, features: int) -> Tensor:
        """The values of `cross_terms`, each (T, B); rows (r, T, 1); cols (q, 1, B) -> scores (T, B) of n views of F
        features.
        """


class TupleScore(Score):
    """A score of one row of every view: also defined off the lines."""

    @abstractmethod
    def dense(self, views: Sequence[Tensor]) -> Tensor:
        """n tensors (B_k, F) -> scores of all tuples, (B_1, …, B_n)."""

    def dense_width(self, n: int, features: int) -> int:
        """Numbers that `dense` holds at once for each of its cells, roughly."""
        return 8


def on_axes(x: Tensor, axes: Sequence[int], n: int) -> Tensor:
    """`x`, whose dimensions belong to the ascending `axes`, with n dimensions, so that it broadcasts over the
    others.
    """
    shape = [1] * n
    for size, axis in zip(x.shape, axes, strict=True):
        shape[axis] = size
    return x.reshape(shape)


def others(entries: Sequence[Tensor], a: int) -> list[Tensor]:
    """All entries but that of view `a`."""
    return [entry for k, entry in enumerate(entries) if k != a]
