"""The matrix family: scores (B, B) per direction, with the candidates along the last axis. Rows always have length 1.

Ranges below hold for rows of length 1. Shapes: n views, B rows, F features.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from itertools import permutations, product
from operator import add
from typing import TypeVar

import torch
from torch import Tensor

from model.losses.cross_terms import Product
from model.losses.numerics import Value
from model.losses.registry import Formula, register
from model.losses.score import RowStats, RowSumScore, Score


class MatrixScore(Score):
    """A score with (B, B) cells per direction."""

    def __init__(self, eps: float):
        self.eps = eps

    @abstractmethod
    def layout(self, lines: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Returns the line scores (D, B, B) in the shape in which the original code returned its logits."""

    @abstractmethod
    def joined(self, views: Tensor, a: int, rows: slice) -> Tensor:
        """Returns (T, B) scores for normalised rows (n, B, F): entry [i, c] is the score, summed over directions, of
        the sample whose view a is row c and whose other views are row i of `rows`.
        """


Class = TypeVar("Class", bound=type[MatrixScore])


def matrix_score(name: str, *, reads: int | None = None) -> Callable[[Class], Class]:
    """Registers a MatrixScore as the loss `name`, which reads the first `reads` views (None: all)."""

    def decorate(score_class: Class) -> Class:
        register(Formula(name, "matrix", score_class, reads))
        return score_class

    return decorate


class InnerProducts(RowSumScore, MatrixScore):
    """A score that is a sum of inner products: direction d sums rows[i].cols[c] over its cross terms."""

    @abstractmethod
    def cross_terms(self, views: Sequence[Value]) -> Iterator[list[Product[Value]]]: ...

    def row_sums(self, views: Sequence[Value]) -> list[Value]:
        return [
            reduce(add, [term.row_operand * term.col_operand for term in terms]) for terms in self.cross_terms(views)
        ]

    def from_sums(self, sums: Tensor, n: int, features: int) -> RowStats:
        return RowStats(sums, *[sums.new_zeros(len(sums), 0, sums.shape[1])] * 2)

    def line(
        self, cells: Sequence[Value], row: Sequence[Value], col: Sequence[Value], n: int, features: Value | int
    ) -> Value:
        return reduce(add, cells)

    def pair_weights(self, n: int) -> Tensor:
        """Returns weights (n, n) such that a sample's score is the sum over j and k of weights[j, k] x_j.x_k. They are
        the cross terms of n views that are the unit vectors of n features.
        """
        axes = torch.eye(n, dtype=torch.float64, device="cpu").unsqueeze(1)
        terms = [term for direction in self.cross_terms(axes.unbind()) for term in direction]
        return reduce(add, [term.row_operand.T @ term.col_operand for term in terms])

    def joined(self, views: Tensor, a: int, rows: slice) -> Tensor:
        weights = self.pair_weights(len(views)).to(views)
        between = weights - weights.diagonal().diag()
        rest = views[:, rows].clone()
        rest[a] = 0
        own = torch.einsum("jk,jbf,kbf->b", weights, rest, rest)
        toward = torch.einsum("k,kbf->bf", between[a] + between[:, a], rest)
        return own[:, None] + toward @ views[a].T + weights[a, a] * views[a].square().sum(-1)

    def layout(self, lines: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Returns a tuple of two (B, B)."""
        return tuple(lines)


@matrix_score("base", reads=2)
class Base(InnerProducts):
    """x_1 x_2ᵀ, one direction, from -1 to 1 (old calculate_lossbase). For two views; contrasts the rows of view 1
    only.
    """

    def directions(self, n: int) -> int:
        return 1

    def cross_terms(self, views: Sequence[Value]) -> Iterator[list[Product[Value]]]:
        yield [Product(views[0], views[1])]

    def layout(self, lines: Tensor) -> Tensor:
        """Returns (B, B)."""
        return lines[0]


@matrix_score("stock", reads=2)
class Stock(InnerProducts):
    """x_1 x_2ᵀ and its transpose, from -1 to 1: ordinary CLIP (Radford et al. 2021; old calculate_lossStock). For two
    views.
    """

    def directions(self, n: int) -> int:
        return 2

    def cross_terms(self, views: Sequence[Value]) -> Iterator[list[Product[Value]]]:
        yield [Product(views[0], views[1])]
        yield [Product(views[1], views[0])]


@matrix_score("normsvc")
class FirstAndRest(InnerProducts):
    """sum_{k>=2} x_1 x_kᵀ / (2 (n-1)), and sum_{k>=2} sum_{j!=k} x_k x_jᵀ / (2 (n-1)^2); each from -1/2 to 1/2 (old
    calculate_lossNormsvc). To reproduce old runs.
    """

    def directions(self, n: int) -> int:
        return 2

    def cross_terms(self, views: Sequence[Value]) -> Iterator[list[Product[Value]]]:
        half = 0.5 / (len(views) - 1)
        yield [Product(views[0], reduce(add, views[1:]) * half)]
        total, share = reduce(add, views), half / (len(views) - 1)
        yield [Product(view, (total - view) * share) for view in views[1:]]


@matrix_score("pairwise")
class AllPairs(InnerProducts):
    """x_j x_iᵀ in direction i n + j, from -1 to 1; each view is also paired with itself (old logitsversion -1). To
    reproduce old runs; `pairwise_clip` leaves out the pairs of equal views.
    """

    def directions(self, n: int) -> int:
        return n * n

    def cross_terms(self, views: Sequence[Value]) -> Iterator[list[Product[Value]]]:
        for second, first in product(views, repeat=2):
            yield [Product(first, second)]

    def layout(self, lines: Tensor) -> Tensor:
        """Returns (B, B, n^2)."""
        return lines.permute(1, 2, 0)


@matrix_score("pairwise_clip")
class DistinctPairs(InnerProducts):
    """x_i x_jᵀ for every two different views in both directions, from -1 to 1: the mean of CLIP (Radford et al. 2021)
    over pairs. The baseline for a joint score of several views.
    """

    def directions(self, n: int) -> int:
        return n * (n - 1)

    def cross_terms(self, views: Sequence[Value]) -> Iterator[list[Product[Value]]]:
        for first, second in permutations(views, 2):
            yield [Product(first, second)]

    def layout(self, lines: Tensor) -> Tensor:
        """Returns (B, B, n (n - 1))."""
        return lines.permute(1, 2, 0)
