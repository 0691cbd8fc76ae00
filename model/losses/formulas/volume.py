"""The volume family: scores of the volume that the n rows of a tuple span.

On line a the other rows are fixed, with Gram matrix G, and the candidate x adds a dimension of height^2
|x|^2 - g' inverse(G) g, where g_k = x_k.x (the Schur complement), so volume^2 = det(G) * height^2.
A direction costs n - 1 products of (B, F) by (F, B).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from operator import add

import torch
from torch import Tensor

from model.losses.cross_terms import CrossTerm, Product
from model.losses.formulas.gram import block
from model.losses.numerics import Value, gram_matrix, safe_sqrt
from model.losses.registry import Formula, register
from model.losses.score import RowStats, Traits, TupleScore, on_axes, others

# Added to the diagonal of a Gram matrix. Without it, two equal views of a sample make the volume 0 and its gradient 0,
# whatever the other views are; with it, the volume is about a thousandth of that of the other views.
RIDGE = 1e-6

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


class VolumeScore(TupleScore):
    """Evaluates a function of det(G + RIDGE)."""

    def __init__(self, formula: VolumeFormula):
        self.formula = formula

    # inverse(G) magnifies the error of a product up to 1 / RIDGE times.
    traits = Traits(float64_rows=sys.maxsize)

    def prepare(self, views: Tensor) -> RowStats:
        n, b, _ = views.shape
        full = gram_matrix(views.transpose(0, 1)) + RIDGE * torch.eye(n, dtype=views.dtype, device=views.device)
        rest_views = torch.tensor([[k for k in range(n) if k != a] for a in range(n)], device=views.device)
        rest = full[:, rest_views.unsqueeze(2), rest_views.unsqueeze(1)].transpose(0, 1)  # (n, b, n - 1, n - 1)
        inverse, det = torch.linalg.inv_ex(rest).inverse, torch.linalg.det(rest)
        upper = torch.triu_indices(n - 1, n - 1, device=views.device)
        rows = torch.cat([det.unsqueeze(1), inverse[:, :, upper[0], upper[1]].transpose(1, 2)], dim=1)
        cols = full.diagonal(dim1=1, dim2=2).T.unsqueeze(1)
        return RowStats(self.formula(torch.linalg.det(full)).expand(n, b), rows, cols)

    def cross_terms(self, views: Sequence[Tensor]) -> Iterator[list[CrossTerm]]:
        for d, own in enumerate(views):
            yield [Product(view, own) for view in others(views, d)]

    def line(
        self, cells: Sequence[Value], row: Sequence[Value], col: Sequence[Value], n: int, features: Value | int
    ) -> Value:
        pairs = [(j, k) for j in range(n - 1) for k in range(j, n - 1)]
        terms = [(1 if j == k else 2) * (row[1 + at] * cells[j] * cells[k]) for at, (j, k) in enumerate(pairs)]
        return self.formula(row[0] * (col[0] - reduce(add, terms)))

    def dense(self, views: Sequence[Tensor]) -> Tensor:
        n = len(views)
        shape = torch.broadcast_shapes(*(on_axes(view[:, 0], [k], n).shape for k, view in enumerate(views)))
        square = [on_axes(view.square().sum(-1) + RIDGE, [k], n) for k, view in enumerate(views)]
        entries = [square[j] if j == k else block(views, j, k) for j in range(n) for k in range(n)]
        matrix = torch.stack([entry.expand(shape) for entry in entries], dim=-1).unflatten(-1, (n, n))
        return self.formula(torch.linalg.det(matrix))

    def dense_width(self, n: int, features: int) -> int:
        return 4 * n * n
