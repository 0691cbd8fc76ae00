"""Determinants and inverses of the Gram matrices of all views but one, which the volume scores read of each sample.

Shapes: n views, b samples, r = 1 + (n - 1) n / 2 statistics.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from model.losses.compiled.volume_kernel import VolumeKernel, volume_kernel
from model.losses.formulas.gram import full_matrix


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
    return volumes(full_matrix(sums, n).permute(2, 0, 1) + ridge * torch.eye(n, dtype=sums.dtype))


def volumes(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Returns what `volumes_of_sums` returns, for the matrices G, (b, n, n), on any device."""
    n = matrix.shape[1]
    rest_views = torch.tensor([[k for k in range(n) if k != a] for a in range(n)], device=matrix.device)
    rest = matrix[:, rest_views.unsqueeze(2), rest_views.unsqueeze(1)].transpose(0, 1)  # (n, b, n - 1, n - 1)
    inverse, det = torch.linalg.inv_ex(rest).inverse, torch.linalg.det(rest)
    upper = torch.triu_indices(n - 1, n - 1, device=matrix.device)
    times = 2 - (upper[0] == upper[1]).to(matrix.dtype)  # an entry off the diagonal stands for two
    rows = torch.cat([det.unsqueeze(1), (inverse[:, :, upper[0], upper[1]] * times).transpose(1, 2)], dim=1)
    return torch.linalg.det(matrix), rows
