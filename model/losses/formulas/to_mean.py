"""Scores of the matrix family between the views of one sample and u, the mean of another sample's views.

Shapes: n views, B rows, F features.
"""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import reduce
from operator import add, mul

import torch
from torch import Tensor

from model.losses.cross_terms import Product
from model.losses.formulas.matrices import MatrixScore, matrix_score
from model.losses.numerics import Value, safe_power, safe_sqrt
from model.losses.score import RowStats, RowSumScore, Traits, others


def stable_cosine(cosines: Sequence[Value], n: int) -> Value:
    """Returns |prod_k x_k.û|^(1/n), û = u / (|u| + eps), with gradient 0 where the product is 0. Any shape."""
    return safe_power(reduce(mul, cosines), 1 / n)


def stable_distance(squares: Sequence[Value], n: int, eps: float) -> Value:
    """Returns -(1/n) sum_k sqrt(|x_k - u|^2 + eps). `squares`: |x_k - u|^2 for each k, any shape."""
    return reduce(add, [safe_sqrt(square.clamp(0) + eps) for square in squares]) / -n


class ToMean(MatrixScore):
    """A score between the views of sample a and the mean of sample b. In direction 0 the candidates are the means, in
    direction 1 the views.
    """

    def directions(self, n: int) -> int:
        return 2

    def layout(self, lines: Tensor) -> Tensor:
        """Returns (B, B); entry [a, b] is the score of the views of sample a with the mean of sample b."""
        return lines[0]

    @abstractmethod
    def centre(self, views: Sequence[Value]) -> Value:
        """Returns the vector (B, F) that represents each sample for its n views (B, F)."""

    @abstractmethod
    def of_products(self, dots: Sequence[Tensor], squares: Sequence[Tensor], mean_square: Tensor) -> Tensor:
        """Returns the score of a sample for x_k.u and |x_k|^2, for each k, and |u|^2, u the mean of its views."""

    def joined(self, views: Tensor, a: int, rows: slice) -> Tensor:
        n, rest = len(views), others(views[:, rows].unbind(), a)
        total, free = reduce(add, rest), views[a]
        toward, free_square = total @ free.T, free.square().sum(-1)
        dots = [((x * total).sum(-1, keepdim=True) + x @ free.T) / n for x in rest] + [(toward + free_square) / n]
        mean_square = (total.square().sum(-1, keepdim=True) + 2 * toward + free_square) / n**2
        return 2 * self.of_products(
            dots, [*(x.square().sum(-1, keepdim=True) for x in rest), free_square], mean_square.clamp(0)
        )

    def cross_terms(self, views: Sequence[Value]) -> Iterator[list[Product[Value]]]:
        centre = self.centre(views)
        yield [Product(view, centre) for view in views]
        yield [Product(centre, view) for view in views]


@matrix_score("stable_cosine")
class CosineToMean(ToMean, RowSumScore):
    """|prod_k x_k[a].û[b]|^(1/n), û the normalised mean of a sample's views, from 0 to 1 (old StableLossFunctions).
    To reproduce old runs.

    The cross terms are products with the mean u; the n-th root of the product has its length as a factor, which is a
    statistic of the candidate in direction 0 and of the row in direction 1.
    """

    traits = Traits(float64_rows=sys.maxsize)  # the root of a product near 0 magnifies its error

    def centre(self, views: Sequence[Value]) -> Value:
        return reduce(add, views) / len(views)

    def row_sums(self, views: Sequence[Value]) -> list[Value]:
        mean: Value = self.centre(views)
        along: list[Value] = [view * mean for view in views]
        return along + [mean * mean]  # noqa: RUF005 - the type checker does not see the type of a starred list

    def from_sums(self, sums: Tensor, n: int, features: int) -> RowStats:
        inverse = 1 / (safe_sqrt(sums[n]) + self.eps)
        matched = stable_cosine(sums[:n].unbind(), n) * inverse
        one = torch.ones_like(inverse)
        rows, cols = torch.stack([one, inverse]), torch.stack([inverse, one])
        return RowStats(matched.expand(2, -1), rows.unsqueeze(1), cols.unsqueeze(1))

    def line(
        self, cells: Sequence[Value], row: Sequence[Value], col: Sequence[Value], n: int, features: Value | int
    ) -> Value:
        return stable_cosine(cells, n) * (row[0] * col[0])

    def of_products(self, dots: Sequence[Tensor], squares: Sequence[Tensor], mean_square: Tensor) -> Tensor:
        return stable_cosine(dots, len(dots)) / (safe_sqrt(mean_square) + self.eps)


@matrix_score("stable_distance")
class DistanceToMean(ToMean):
    """-(1/n) sum_k sqrt(|x_k[a] - u[b]|^2 + eps), u the mean of a sample's views, from -2 to -sqrt(eps) (old
    StableLossFunctions). To reproduce old runs.
    """

    def centre(self, views: Sequence[Value]) -> Value:
        return reduce(add, views) / len(views)

    def prepare(self, views: Tensor) -> RowStats:
        n, b, _ = views.shape
        centre = self.centre(views.unbind())
        matched = stable_distance((views - centre).square().sum(-1).unbind(), n, self.eps)
        square, centre_square = views.square().sum(-1), centre.square().sum(-1).expand(n, b)
        return RowStats(
            matched.expand(2, b), torch.stack([square, centre_square]), torch.stack([centre_square, square])
        )

    def line(
        self, cells: Sequence[Value], row: Sequence[Value], col: Sequence[Value], n: int, features: Value | int
    ) -> Value:
        return stable_distance([row[k] + col[k] - 2 * cell for k, cell in enumerate(cells)], n, self.eps)

    def of_products(self, dots: Sequence[Tensor], squares: Sequence[Tensor], mean_square: Tensor) -> Tensor:
        return stable_distance(
            [square - 2 * dot + mean_square for square, dot in zip(squares, dots, strict=True)], len(dots), self.eps
        )
