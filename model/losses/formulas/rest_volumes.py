"""Determinants and inverses of the Gram matrices of all views but one, which the volume scores read of each sample.

Shapes: n views, b samples, r = 1 + (n - 1) n / 2 statistics.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from model.losses.compiled.volume_kernel import VolumeKernel, volume_kernel


class _Volumes(torch.autograd.Function):
    """`volumes_of_sums` in compiled loops."""

    @staticmethod
    def forward(ctx: Any, kernel: VolumeKernel, ridge: float, sums: Tensor) -> tuple[Tensor, Tensor]:
        ctx.kernel, ctx.ridge = kernel, ridge
        ctx.save_for_backward(sums)
        return kernel.forward(sums, ridge)

    @staticmethod
    def backward(ctx: Any, d_det: Tensor, d_rest: Tensor) -> tuple[None, None, Tensor]:
        (sums,) = ctx.saved_tensors
        return None, None, ctx.kernel.backward(sums, ctx.ridge, d_det.contiguous(), d_rest.contiguous())


def volumes_of_sums(sums: Tensor, n: int, ridge: float) -> tuple[Tensor, Tensor]:
    """Returns det(G), (b,), and for each view a, (n, r, b), the determinant of G without row and column a, and the
    coefficients of x_j x_k, j <= k, in the quadratic form of the inverse of that matrix, ordered by j and then by k. G
    is the Gram matrix of a sample's views plus the ridge on its diagonal.

    sums: the inner products of views j <= k, (n (n + 1) / 2, b) float64 on a CPU, ordered by j and then by k.
    """
    kernel = volume_kernel(n)
    if kernel is not None:
        return _Volumes.apply(kernel, ridge, sums)
    return volumes(sums, n, ridge)


def volumes(sums: Tensor, n: int, ridge: float) -> tuple[Tensor, Tensor]:
    """Returns what `volumes_of_sums` returns, on any device."""
    entries, place = upper_places(n), {pair: k for k, pair in enumerate(upper_places(n))}
    matrix = sums + ridge * _constant([[float(j == k)] for j, k in entries], sums)
    rests = [[view for view in range(n) if view != a] for a in range(n)]
    places = [place[rest[j], rest[k]] for rest in rests for j, k in upper_places(n - 1)]
    rows = _Inverse.apply(matrix.index_select(0, _constant(places, sums)).unflatten(0, (n, -1)), n - 1)
    first = matrix[:n]  # the products of the first view
    times = {pair: first[1 + pair[0]] * first[1 + pair[1]] for pair in upper_places(n - 1)}
    projected = sum(coefficient * times[pair] for coefficient, pair in zip(rows[0, 1:], times, strict=True))
    return rows[0, 0] * (first[0] - projected), rows


def upper_places(n: int) -> list[tuple[int, int]]:
    """Returns the pairs j <= k of n numbers, ordered by j and then by k."""
    return [(j, k) for j in range(n) for k in range(j, n)]


def _constant(values: list[Any], like: Tensor) -> Tensor:
    """Returns numbers on the device of another tensor."""
    return torch.tensor(values, device=like.device)


class _Inverse(torch.autograd.Function):
    """For positive definite matrices (…, m, m), given by their entries j <= k, (…, m (m + 1) / 2, b): the determinants,
    and the coefficients of x_j x_k in the quadratic forms of the inverses, (…, 1 + m (m + 1) / 2, b).

    In plain arithmetic, which torch.compile makes few kernels of: each routine of torch.linalg takes many, and the
    compiled gradient of the one for inverses is NaN for a single matrix.
    """

    @staticmethod
    def forward(ctx: Any, entries: Tensor, size: int) -> Tensor:
        det, inverse = _inverse(entries, size)
        # An entry off the diagonal stands for two.
        rows = torch.stack([det, *(x if j == k else 2 * x for (j, k), x in inverse.items())], -2)
        ctx.size = size
        ctx.save_for_backward(rows)
        return rows

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (rows,), size = ctx.saved_tensors, ctx.size
        pairs = upper_places(size)
        place = {pair: k for k, pair in enumerate(pairs)}
        square = [place[min(j, k), max(j, k)] for j in range(size) for k in range(size)]
        once = _constant([[1.0 if j == k else 0.5] for j, k in pairs], rows)
        inverse, d_inverse = (
            x.index_select(-2, _constant(square, rows)).unflatten(-2, (size, size))
            for x in (rows[..., 1:, :] * once, grad[..., 1:, :])
        )
        half = (inverse.unsqueeze(-2) * d_inverse.unsqueeze(-4)).sum(-3)
        whole = (half.unsqueeze(-2) * inverse.unsqueeze(-4)).sum(-3)
        det = (rows[..., :1, :] * grad[..., :1, :]).unsqueeze(-2)
        upper = _constant([size * j + k for j, k in pairs], rows)
        return (det * inverse - whole).flatten(-3, -2).index_select(-2, upper) / once, None


def _inverse(entries: Tensor, size: int) -> tuple[Tensor, dict[tuple[int, int], Tensor]]:
    """Returns determinants and the entries j <= k of the inverses, by the sweep operator: each step exchanges a row
    of the matrix with its solution.
    """
    entry = dict(zip(upper_places(size), entries.unbind(-2), strict=True))
    det = torch.ones_like(entry[0, 0])
    for pivot in range(size):
        top = entry[pivot, pivot]
        det, column = det * top, [entry[min(j, pivot), max(j, pivot)] for j in range(size)]
        scaled = [x / top for x in column]
        for j, k in entry:
            if pivot not in (j, k):
                entry[j, k] = entry[j, k] - scaled[j] * column[k]
        for j in range(size):
            entry[min(j, pivot), max(j, pivot)] = -1 / top if j == pivot else scaled[j]
    return det, {pair: -x for pair, x in entry.items()}
