"""The volume family: scores of the volume that the n rows of a tuple span.

On line a the other rows are fixed, with Gram matrix G, and the candidate x adds a dimension of height^2
|x|^2 - g' inverse(G) g, where g_k = x_k.x (the Schur complement), so volume^2 = det(G) * height^2.
A direction costs n - 1 products of (B, F) by (F, B).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from operator import add

import torch
from torch import Tensor

from model.losses.cross_terms import Product
from model.losses.formulas.gram import block, diagonal_places, pair_products
from model.losses.formulas.rest_volumes import upper_places, volumes, volumes_of_sums
from model.losses.numerics import Value, gram_matrix, safe_sqrt
from model.losses.registry import Formula, register
from model.losses.score import RowStats, RowSumScore, TupleScore, on_axes, others

# Added to the diagonal of a Gram matrix. Without it, two equal views of a sample make the volume 0 and its gradient 0,
# whatever the other views are; with it, the volume is about a thousandth of that of the other views.
RIDGE = 1e-6

# The largest |x_j|^2 inverse(G)[j, j] at which products are float32. For rows of length 1 it is reached by views that
# are 0.003 apart. Losses and gradients are then within 1e-6 of those of float64.
LARGEST_INFLATION = 1e5

VolumeFormula = Callable[[Value], Value]


def volume_score(formula: VolumeFormula) -> VolumeFormula:
    """Registers a function of the squared volume as the loss of its name."""
    register(Formula(formula.__name__, "volume", lambda eps: VolumeScore(formula)))
    return formula


@volume_score
def gram(square_volume: Value) -> Value:
    """-sqrt(det(G + 1e-6)), G the Gram matrix of the views; from -1 to 0 for rows of length 1, any shape (Cicchetti et
    al. 2025, there without the 1e-6). For views that should depend on each other, whatever their signs.
    """
    return 0 - safe_sqrt(square_volume)


class VolumeScore(RowSumScore, TupleScore):
    """Evaluates a function of det(G + RIDGE)."""

    def __init__(self, formula: VolumeFormula):
        self.formula = formula

    def row_sums(self, views: Sequence[Value]) -> list[Value]:
        return pair_products(views)

    def from_sums(self, sums: Tensor, n: int, features: int) -> RowStats:
        det, rows = volumes_of_sums(sums, n, RIDGE)
        squares = sums.index_select(0, torch.tensor(diagonal_places(n), device=sums.device))
        return self._stats(det, rows, squares + RIDGE)

    def prepare(self, views: Tensor) -> RowStats:
        n, pairs = len(views), gram_matrix(views.transpose(0, 1)).flatten(1).T
        upper = torch.tensor([n * j + k for j, k in upper_places(n)], device=views.device)
        det, rows = volumes(pairs.index_select(0, upper), n, RIDGE)
        return self._stats(det, rows, pairs[:: n + 1] + RIDGE)

    def _stats(self, det: Tensor, rows: Tensor, squares: Tensor) -> RowStats:
        """Returns the statistics for det(G), (b,), what `volumes` returns of each view's rest, and the diagonals of G,
        (n, b).
        """
        return RowStats(self.formula(det).expand(len(squares), -1), rows, squares.unsqueeze(1))

    def allows_float32(self, stats: RowStats) -> bool:
        """Returns whether |x_j|^2 inverse(G)[j, j] is small: it is 1 for views at right angles, and 1 / sin^2 of the
        angle between view j and the span of the others that G has.
        """
        n = len(stats.row)
        places = torch.tensor(diagonal_places(n - 1), device=stats.row.device)
        squares = torch.stack([torch.cat([stats.col[:a, 0], stats.col[a + 1 :, 0]]) for a in range(n)])
        return bool((stats.row.index_select(1, places + 1) * squares).amax() <= LARGEST_INFLATION)

    def cross_terms(self, views: Sequence[Value]) -> Iterator[list[Product[Value]]]:
        for d, own in enumerate(views):
            yield [Product(view, own) for view in others(views, d)]

    def line(
        self, cells: Sequence[Value], row: Sequence[Value], col: Sequence[Value], n: int, features: Value | int
    ) -> Value:
        coefficients = iter(row[1:])
        columns = [[next(coefficients) * cell for cell in cells[j:]] for j in range(n - 1)]
        projected = reduce(add, [cell * reduce(add, column) for cell, column in zip(cells, columns, strict=True)])
        return self.formula(row[0] * (col[0] - projected))

    def dense(self, views: Sequence[Tensor]) -> Tensor:
        n = len(views)
        shape = torch.broadcast_shapes(*(on_axes(view[:, 0], [k], n).shape for k, view in enumerate(views)))
        square = [on_axes(view.square().sum(-1) + RIDGE, [k], n) for k, view in enumerate(views)]
        entries = [square[j] if j == k else block(views, j, k) for j in range(n) for k in range(n)]
        matrix = torch.stack([entry.expand(shape) for entry in entries], dim=-1).unflatten(-1, (n, n))
        return self.formula(torch.linalg.det(matrix))

    def dense_width(self, n: int, features: int) -> int:
        return 4 * n * n
