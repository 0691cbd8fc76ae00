"""One compiled pass over a tile of scores of pairs of rows: the sigmoid loss of every pair and its gradients.

Shapes: T rows of a tile, B candidates.
"""

from __future__ import annotations

import ctypes
from functools import cache

import torch
from torch import Tensor

from model.losses.compiled.native import library
from model.losses.compiled.native_arguments import address, entry_point, match_range
from model.losses.compiled.source_text import source_text

# Tiles of fewer cells than this are computed by one thread: starting others takes longer.
PARALLEL_CELLS = 1 << 14


def sigmoid_source(dtype: torch.dtype) -> str:
    """Returns the C++ of the kernel for cells of float32 or float64."""
    return source_text(["functions.hpp", "scalar.hpp"], {}, "sigmoid_kernel.hpp", dtype)


class _SigmoidTile(ctypes.Structure):
    """`SigmoidTile` of sigmoid_kernel.hpp."""

    _fields_ = (
        ("cells", ctypes.c_void_p),
        *[(name, ctypes.c_int64) for name in ("rows", "size", "first", "threads")],
        *[(name, ctypes.c_double) for name in ("scale", "bias")],
        *[(name, ctypes.c_void_p) for name in ("matched", "sums", "d_matched")],
    )


class SigmoidKernel:
    """The compiled pass over cells of one dtype."""

    def __init__(self, compiled: ctypes.CDLL, dtype: torch.dtype):
        self._function, self._dtype = entry_point(compiled, "sigmoid"), dtype

    def __call__(
        self, cells: Tensor, first: int, matched: Tensor, scale: float, bias: float, sums: Tensor, d_matched: Tensor
    ) -> None:
        """Computes a tile. Adds the loss and its gradients with respect to scale and bias to `sums` (3,), and writes
        those with respect to the scores to `d_matched` (T,) and into the cells, 0 at a match.

        cells: (T, B) scores, of the kernel's dtype; first: the candidate that matches the first row; matched: (T,)
        scores of the matches, which replace those of the cells. A logit is scale * score + bias. The other tensors are
        float64. All are contiguous. Raises ValueError for a tensor with another shape, dtype or layout.
        """
        rows, size = cells.shape
        threads = torch.get_num_threads() if rows * size >= PARALLEL_CELLS else 1
        sizes = rows, size, match_range(first, rows, size), threads
        tensors = zip((matched, sums, d_matched), ((rows,), (3,), (rows,)), strict=True)
        addresses = [address(tensor, shape, torch.float64) for tensor, shape in tensors]
        tile = _SigmoidTile(address(cells, (rows, size), self._dtype), *sizes, scale, bias, *addresses)
        self._function(ctypes.byref(tile))


@cache
def sigmoid_kernel(dtype: torch.dtype) -> SigmoidKernel | None:
    """Returns the kernel for cells of float32 or float64; None where it cannot be compiled."""
    compiled = library(sigmoid_source(dtype))
    return SigmoidKernel(compiled, dtype) if compiled is not None else None
