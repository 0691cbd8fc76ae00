"""The pair family: (B, B) scores per direction, the candidates along the last axis. Rows are always normalised.

Shapes: n views, B rows, F features. u is the mean of a sample's views.
"""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import permutations, product
from operator import add, mul

import torch
from torch import Tensor

from model.losses.cross_terms import CrossTerm, Product
from model.losses.numerics import Value, row_norm, safe_power, safe_sqrt
from model.losses.score import RowStats, RowSumScore, Score, Traits, others


class MatrixScore(Score):
    """A score with (B, B) cells per direction."""

    @abstractmethod
    def layout(self, lines: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Line scores (D, B, B) in the shape in which the original returned its logits."""

    @abstractmethod
    def joined(self, views: Tensor, a: int, rows: slice) -> Tensor:
        """(n, B, F) normalised rows -> (T, B): the score of the samples whose view a is row c and whose other views are
        row i of `rows`, as the loss scores a match, summed over directions.
        """


class InnerProducts(RowSumScore, MatrixScore):
    """Scores that are sums of inner products: direction d sums rows[i].cols[c] over its cross_terms."""

    @abstractmethod
    def cross_terms(self, views: Sequence[Value]) -> Iterator[list[Product[Value]]]: ...

    def row_sums(self, views: Sequence[Value]) -> list[Value]:
        return [
            reduce(add, [term.row_operand * term.col_operand for term in terms]) for terms in self.cross_terms(views)
        ]

    def from_sums(self, sums: Tensor, n: int, features: int) -> RowStats:
        return RowStats(sums, *[sums.new_zeros(len(sums), 0, sums.shape[1])] * 2)

    def line(
        self, cells: Sequence[Value], rows: Sequence[Value], cols: Sequence[Value], n: int, features: Value | int
    ) -> Value:
        return reduce(add, cells)

    def pair_weights(self, n: int) -> Tensor:
        """(n, n): a sample's score is the sum over j and k of [j, k] x_j.x_k; read off the cross_terms of n views that
        are the axes of n features.
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
        """A pair of (B, B)."""
        return tuple(lines)


class Base(InnerProducts):
    """x_1 x_2ᵀ, one direction (old calculate_lossbase)."""

    def directions(self, n: int) -> int:
        return 1

    def cross_terms(self, views: Sequence[Value]) -> Iterator[list[Product[Value]]]:
        yield [Product(views[0], views[1])]

    def layout(self, lines: Tensor) -> Tensor:
        """(B, B)."""
        return lines[0]


class Stock(InnerProducts):
    """x_1 x_2ᵀ and its transpose: ordinary CLIP (Radford et al. 2021), old calculate_lossStock."""

    def directions(self, n: int) -> int:
        return 2

    def cross_terms(self, views: Sequence[Value]) -> Iterator[list[Product[Value]]]:
        yield [Product(views[0], views[1])]
        yield [Product(views[1], views[0])]


class FirstAndRest(InnerProducts):
    """`normsvc` (old calculate_lossNormsvc): sum_{k>=2} x_1 x_kᵀ / (2 (n-1)), and sum_{k>=2} sum_{j!=k} x_k x_jᵀ / (2
    (n-1)^2).
    """

    def directions(self, n: int) -> int:
        return 2

    def cross_terms(self, views: Sequence[Value]) -> Iterator[list[Product[Value]]]:
        half = 0.5 / (len(views) - 1)
        yield [Product(views[0], reduce(add, views[1:]) * half)]
        total, share = reduce(add, views), half / (len(views) - 1)
        yield [Product(view, (total - view) * share) for view in views[1:]]


class AllPairs(InnerProducts):
    """`pairwise` (old logitsversion -1): x_j x_iᵀ in direction i n + j, each view with itself included."""

    def directions(self, n: int) -> int:
        return n * n

    def cross_terms(self, views: Sequence[Value]) -> Iterator[list[Product[Value]]]:
        for second, first in product(views, repeat=2):
            yield [Product(first, second)]

    def layout(self, lines: Tensor) -> Tensor:
        """(B, B, n^2)."""
        return lines.permute(1, 2, 0)


class DistinctPairs(InnerProducts):
    """`pairwise_clip`: the mean of CLIP (Radford et al. 2021) over all pairs of different views, both directions of
    each.
    """

    def directions(self, n: int) -> int:
        return n * (n - 1)

    def cross_terms(self, views: Sequence[Value]) -> Iterator[list[Product[Value]]]:
        for first, second in permutations(views, 2):
            yield [Product(first, second)]

    def layout(self, lines: Tensor) -> Tensor:
        """(B, B, n (n - 1))."""
        return lines.permute(1, 2, 0)


def stable_cosine(cosines: Sequence[Tensor], n: int) -> Tensor:
    """|prod_k x_k.û|^(1/n), û = u / (|u| + eps), gradient 0 where the product is 0 (old StableLossFunctions)."""
    return safe_power(reduce(mul, cosines), 1 / n)


def stable_distance(squares: Sequence[Tensor], n: int, eps: float) -> Tensor:
    """-(1/n) sum_k sqrt(|x_k - u|^2 + eps) (old StableLossFunctions). squares: |x_k - u|^2, for each k."""
    return reduce(add, [safe_sqrt(square.clamp(0) + eps) for square in squares]) / -n


class ToMean(MatrixScore):
    """Scores between a sample's views and another sample's mean: direction 0 by rows, direction 1 by columns."""

    def __init__(self, eps: float):
        self.eps = eps

    def directions(self, n: int) -> int:
        return 2

    def layout(self, lines: Tensor) -> Tensor:
        """(B, B): [a, b] is sample a's views against the mean of sample b's."""
        return lines[0]

    @abstractmethod
    def centre(self, views: Sequence[Tensor]) -> Tensor:
        """n tensors (B, F) -> what stands for a sample, (B, F)."""

    @abstractmethod
    def of_products(self, dots: Sequence[Tensor], squares: Sequence[Tensor], mean_square: Tensor) -> Tensor:
        """The score of a sample from x_k.u and |x_k|^2, for each k, and |u|^2, u the mean of its views."""

    def joined(self, views: Tensor, a: int, rows: slice) -> Tensor:
        n, rest = len(views), others(views[:, rows].unbind(), a)
        total, free = reduce(add, rest), views[a]
        toward, free_square = total @ free.T, free.square().sum(-1)
        dots = [((x * total).sum(-1, keepdim=True) + x @ free.T) / n for x in rest] + [(toward + free_square) / n]
        mean_square = (total.square().sum(-1, keepdim=True) + 2 * toward + free_square) / n**2
        return 2 * self.of_products(
            dots, [*(x.square().sum(-1, keepdim=True) for x in rest), free_square], mean_square.clamp(0)
        )

    def cross_terms(self, views: Sequence[Tensor]) -> Iterator[list[CrossTerm]]:
        centre = self.centre(views)
        yield [Product(view, centre) for view in views]
        yield [Product(centre, view) for view in views]


class CosineToMean(ToMean):
    """`stable_cosine`."""

    traits = Traits(float64_rows=sys.maxsize)  # the root of a product near 0 magnifies its error

    def centre(self, views: Sequence[Tensor]) -> Tensor:
        mean = reduce(add, views) / len(views)
        return mean / (row_norm(mean) + self.eps)

    def prepare(self, views: Tensor) -> RowStats:
        n, b, _ = views.shape
        matched = stable_cosine((views * self.centre(views.unbind())).sum(-1).unbind(), n)
        return RowStats(matched.expand(2, b), *[views.new_zeros(2, 0, b)] * 2)

    def line(
        self, cells: Sequence[Value], rows: Sequence[Value], cols: Sequence[Value], n: int, features: Value | int
    ) -> Value:
        return stable_cosine(cells, n)

    def of_products(self, dots: Sequence[Tensor], squares: Sequence[Tensor], mean_square: Tensor) -> Tensor:
        length = mean_square.sqrt() + self.eps
        return stable_cosine([dot / length for dot in dots], len(dots))


class DistanceToMean(ToMean):
    """`stable_distance`."""

    def centre(self, views: Sequence[Tensor]) -> Tensor:
        return reduce(add, views) / len(views)

    def prepare(self, views: Tensor) -> RowStats:
        n, b, _ = views.shape
        centre = self.centre(views.unbind())
        matched = stable_distance((views - centre).square().sum(-1), n, self.eps)
        square, centre_square = views.square().sum(-1), centre.square().sum(-1).expand(n, b)
        return RowStats(
            matched.expand(2, b), torch.stack([square, centre_square]), torch.stack([centre_square, square])
        )

    def line(
        self, cells: Sequence[Value], rows: Sequence[Value], cols: Sequence[Value], n: int, features: Value | int
    ) -> Value:
        return stable_distance([rows[k] + cols[k] - 2 * cell for k, cell in enumerate(cells)], n, self.eps)

    def of_products(self, dots: Sequence[Tensor], squares: Sequence[Tensor], mean_square: Tensor) -> Tensor:
        return stable_distance(
            [square - 2 * dot + mean_square for square, dot in zip(squares, dots, strict=True)], len(dots), self.eps
        )
