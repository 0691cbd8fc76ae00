"""Feature sums in compiled loops. Shapes: T rows, B candidates, F features."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from model.losses.compiled.feature_source import source
from model.losses.compiled.native import library
from model.losses.compiled.native_arguments import address, addresses, entry, match_range
from model.losses.compiled.weak_cache import cached_with_owner
from model.losses.integrands import Integrand

# The loops take features by vectors, of 16 at the most.
LANES = 16

Tensors = Sequence[Tensor]


class FeatureKernel:
    """The compiled loops of one integrand of so many numbers of a row and of a candidate. All tensors are contiguous
    and of one dtype.

    Its methods raise ValueError where a tensor has another shape, dtype or layout than they say.
    """

    def __init__(self, made: ctypes.CDLL, rows: int, cols: int):
        self._cells = {torch.float32: made.cells_float, torch.float64: made.cells_double}
        self._backward = {torch.float32: made.backward_float, torch.float64: made.backward_double}
        self._counts = rows, cols

    def cells(self, rows: Tensors, cols: Tensors, first: int) -> Tensor:
        """rows (T, F), cols (B, F) -> (T, B) sums less those at the match, which row r has at first + r."""
        rows, cols = (_whole_vectors(group, cols[0].shape[1]) for group in (rows, cols))
        out = cols[0].new_empty(len(rows[0]), len(cols[0]))
        match_range(first, *out.shape)
        sizes = _sizes(*out.shape, cols[0].shape[1], first, torch.get_num_threads())
        entry(self._cells, out.dtype)(*self._both(rows, cols, *out.shape), *sizes, ctypes.c_void_p(out.data_ptr()))
        return out

    def backward(self, rows: Tensors, cols: Tensors, grad: Tensor, d_rows: Tensors, d_cols: Tensors) -> None:
        """Adds to d_rows (T, F) and d_cols (B, F) what the gradient (T, B) of `cells` means for rows and cols."""
        features = cols[0].shape[1]
        if features % LANES:
            padded = [
                [pad(x, (0, -features % LANES), value=1) for x in group] for group in (rows, cols, d_rows, d_cols)
            ]
            self.backward(*padded[:2], grad, *padded[2:])
            for sums, made in zip((*d_rows, *d_cols), (*padded[2], *padded[3]), strict=True):
                sums.copy_(made[:, :features])
            return
        shape = len(rows[0]), len(cols[0])
        given = ctypes.c_void_p(address(grad, shape, cols[0].dtype))
        sizes = _sizes(*shape, features, torch.get_num_threads())
        entry(self._backward, grad.dtype)(
            *self._both(rows, cols, *shape), given, *sizes, *self._both(d_rows, d_cols, *shape, like=cols[0])
        )

    def _both(
        self, rows: Tensors, cols: Tensors, row_count: int, col_count: int, like: Tensor | None = None
    ) -> list[ctypes.Array]:
        like = cols[0] if like is None else like
        groups = zip((rows, cols), self._counts, (row_count, col_count), strict=True)
        return [addresses(group, count, (size, like.shape[1]), like.dtype) for group, count, size in groups]


def _whole_vectors(tensors: Tensors, features: int) -> Tensors:
    """Features filled up to whole vectors. What they add to a sum is taken off with the match; with ones, every
    integrand is smooth.
    """
    missing = -features % LANES
    return [pad(tensor, (0, missing), value=1) for tensor in tensors] if missing else tensors


def _sizes(*sizes: int) -> list[ctypes.c_int64]:
    return [ctypes.c_int64(size) for size in sizes]


@cached_with_owner
def feature_kernel(integrand: Integrand, rows: int, cols: int) -> FeatureKernel | None:
    """The loops of an integrand of so many numbers of a row and of a candidate; None where nothing can compile them."""
    made = library(source(integrand, rows, cols))
    return FeatureKernel(made, rows, cols) if made is not None else None
