"""Feature sums in compiled loops. Shapes: T rows, B candidates, F features."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

from model.losses.compiled.feature_source import feature_source
from model.losses.compiled.native import library
from model.losses.compiled.native_arguments import address, addresses, entry_point, match_range
from model.losses.compiled.weak_cache import cached_by_object
from model.losses.integrands import Integrand

# The loops read features in vectors of at most 16 lanes.
LANES = 16

Tensors = Sequence[Tensor]


class _FeatureArguments(ctypes.Structure):
    """`FeatureArguments` of feature_kernel.hpp."""

    _fields_ = (
        *[(name, ctypes.c_void_p) for name in ("rows", "cols")],
        *[(name, ctypes.c_int64) for name in ("count", "size", "features", "first", "threads")],
        *[(name, ctypes.c_void_p) for name in ("cells", "d_rows", "d_cols")],
    )


class FeatureKernel:
    """The compiled loops of one integrand with `row_count` row operands and `col_count` candidate operands. All tensors
    are contiguous and of the kernel's dtype.

    Its methods raise ValueError for a tensor with another shape, dtype or layout than documented.
    """

    def __init__(self, compiled: ctypes.CDLL, row_count: int, col_count: int, dtype: torch.dtype):
        self._forward, self._backward = (entry_point(compiled, name) for name in ("forward", "backward"))
        self._counts, self._dtype = (row_count, col_count), dtype

    def cells(self, row: Tensors, col: Tensors, first: int) -> Tensor:
        """Returns the sums (T, B) of tensors (T, F) and (B, F), less those at the match: candidate first + t for row
        t.
        """
        row, col = (_full_vectors(tensors, col[0].shape[1]) for tensors in (row, col))
        out = col[0].new_empty(len(row[0]), len(col[0]))
        self._call(self._forward, row, col, match_range(first, *out.shape), out, None)
        return out

    def backward(self, row: Tensors, col: Tensors, grad: Tensor, d_row: Tensors, d_col: Tensors) -> None:
        """Adds to d_row (T, F) and d_col (B, F) the gradients of row and col that follow from that of `cells`, (T,
        B).
        """
        features = col[0].shape[1]
        if features % LANES == 0:
            self._call(self._backward, row, col, 0, grad, (d_row, d_col))
            return
        full_row, full_col, d_full_row, d_full_col = (_full_vectors(x, features) for x in (row, col, d_row, d_col))
        self._call(self._backward, full_row, full_col, 0, grad, (d_full_row, d_full_col))
        for total, full in zip((*d_row, *d_col), (*d_full_row, *d_full_col), strict=True):
            total.copy_(full[:, :features])

    def _call(
        self,
        function: Callable[..., None],
        row: Tensors,
        col: Tensors,
        first: int,
        cells: Tensor,
        grads: tuple[Tensors, Tensors] | None,
    ) -> None:
        """Calls one of the loops with checked arguments."""
        (size, features), count, dtype = col[0].shape, len(row[0]), self._dtype
        shapes = (count, features), (size, features)
        groups = [row, col, *(grads or ())]
        arrays = [
            addresses(group, number, shape, dtype)
            for group, number, shape in zip(groups, 2 * self._counts, 2 * shapes, strict=False)
        ]
        pointers = [ctypes.addressof(array) for array in arrays]
        # Starting a thread takes as long as computing some ten thousand elements.
        threads = min(torch.get_num_threads(), 1 + count * size * features // 32768)
        sizes = count, size, features, first, threads
        values = address(cells, (count, size), dtype)
        function(ctypes.byref(_FeatureArguments(*pointers[:2], *sizes, values, *pointers[2:])))


def _full_vectors(tensors: Tensors, features: int) -> Tensors:
    """Pads tensors (…, F) with ones to a multiple of LANES features. The padding adds the same value for every
    candidate, which the subtraction of the match cancels; at 1 all integrands and their derivatives are finite.
    """
    missing = -features % LANES
    return [pad(tensor, (0, missing), value=1) for tensor in tensors] if missing else tensors


@cached_by_object
def feature_kernel(integrand: Integrand, row_count: int, col_count: int, dtype: torch.dtype) -> FeatureKernel | None:
    """Returns the loops of an integrand with these numbers of row and candidate operands, of float32 or float64; None
    where they cannot be compiled.
    """
    compiled = library(feature_source(integrand, row_count, col_count, dtype))
    return FeatureKernel(compiled, row_count, col_count, dtype) if compiled is not None else None
