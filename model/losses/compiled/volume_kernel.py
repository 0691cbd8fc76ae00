"""Determinants and inverses of small Gram matrices in compiled loops, forward and backward. Shapes: n views, B rows."""

from __future__ import annotations

import ctypes
from functools import cache

import torch
from torch import Tensor

from model.losses.compiled.native import library
from model.losses.compiled.native_arguments import address
from model.losses.compiled.source_text import source_text

# Batches of fewer rows than this are computed by one thread: starting others takes longer.
PARALLEL_ROWS = 256


def volume_source(n: int) -> str:
    """Returns the C++ of both passes for n views."""
    return source_text(["functions.hpp", "vectors.hpp"], {"FORMULA_VIEWS": n}, "volume_kernel.hpp")


class _VolumeArguments(ctypes.Structure):
    """`VolumeArguments` of volume_kernel.hpp."""

    _fields_ = (
        ("sums", ctypes.c_void_p),
        *[(name, ctypes.c_int64) for name in ("size", "threads")],
        ("ridge", ctypes.c_double),
        *[(name, ctypes.c_void_p) for name in ("det", "rest", "d_sums")],
    )


class VolumeKernel:
    """The compiled passes for n views. G is the Gram matrix of a sample's views plus the ridge on its diagonal.

    Its methods raise ValueError for a tensor with another shape, dtype or layout.
    """

    def __init__(self, compiled: ctypes.CDLL, n: int):
        self._forward, self._backward, self._n = compiled.forward, compiled.backward, n

    def forward(self, sums: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
        """Returns det(G), (B,), and for each view a (n, 1 + (n - 1) n / 2, B): the determinant of G without row and
        column a, and the coefficients of x_j x_k, j <= k, in the quadratic form of the inverse of that matrix, ordered
        by j and then by k.

        sums: the inner products of views j <= k of each sample, (n (n + 1) / 2, B), in the same order; float64.
        """
        det, rest = sums.new_empty(sums.shape[1]), sums.new_empty(self._n, self._statistics(), sums.shape[1])
        self._forward(ctypes.byref(self._arguments(sums, ridge, det, rest, None)))
        return det, rest

    def backward(self, sums: Tensor, ridge: float, d_det: Tensor, d_rest: Tensor) -> Tensor:
        """Returns the gradient with respect to `sums`, given those with respect to the results of `forward`."""
        d_sums = torch.empty_like(sums)
        self._backward(ctypes.byref(self._arguments(sums, ridge, d_det, d_rest, d_sums)))
        return d_sums

    def _statistics(self) -> int:
        return 1 + self._n * (self._n - 1) // 2

    def _arguments(
        self, sums: Tensor, ridge: float, det: Tensor, rest: Tensor, d_sums: Tensor | None
    ) -> _VolumeArguments:
        size = sums.shape[-1]
        shape = self._n * (self._n + 1) // 2, size
        shapes = ((size,), (self._n, self._statistics(), size))
        results = [address(x, shape, torch.float64) for x, shape in zip((det, rest), shapes, strict=True)]
        results += [] if d_sums is None else [address(d_sums, shape, torch.float64)]
        threads = torch.get_num_threads() if size >= PARALLEL_ROWS else 1
        return _VolumeArguments(address(sums, shape, torch.float64), size, threads, ridge, *results)


@cache
def volume_kernel(n: int) -> VolumeKernel | None:
    """Returns the passes for n views; None where they cannot be compiled."""
    compiled = library(volume_source(n))
    return VolumeKernel(compiled, n) if compiled is not None else None
