"""Products of permuted rows in compiled loops, forward and backward. Shapes: n views, B rows, F features."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from model.losses.compiled.native import library
from model.losses.compiled.native_arguments import address, addresses, entry_point
from model.losses.compiled.source_text import source_text

# Batches of fewer elements than this are computed by one thread: starting others takes longer.
PARALLEL_ELEMENTS = 1 << 15


def permuted_source(n: int, dtype: torch.dtype) -> str:
    """Returns the C++ of both passes for n views of float32 or float64."""
    return source_text(["functions.hpp"], {"FORMULA_VIEWS": n}, "permuted_kernel.hpp", dtype)


class _PermutedArguments(ctypes.Structure):
    """`PermutedArguments` of permuted_kernel.hpp."""

    _fields_ = (
        *[(name, ctypes.c_void_p) for name in ("views", "orders")],
        *[(name, ctypes.c_int64) for name in ("size", "features", "threads")],
        *[(name, ctypes.c_void_p) for name in ("products", "d_views")],
    )


class PermutedKernel:
    """The compiled passes for n views of one dtype. In both, the product of anchor view a and candidate c is that of
    the rows orders[a, j, c] of the other views j.

    views: n of (B, F), of the kernel's dtype; orders: (n, n - 1, B), int64, permutations of the rows. All tensors are
    contiguous. Its methods raise ValueError for another shape, dtype or layout, and for an index beyond the rows.
    """

    def __init__(self, compiled: ctypes.CDLL, n: int, dtype: torch.dtype):
        self._forward, self._backward = (entry_point(compiled, name) for name in ("forward", "backward"))
        self._n, self._dtype = n, dtype

    def forward(self, views: Sequence[Tensor], orders: Tensor, products: Sequence[Tensor]) -> None:
        """Writes the products, n of (B, F)."""
        arguments, _arrays = self._arguments(views, orders, products, None)
        self._forward(ctypes.byref(arguments))

    def backward(
        self, views: Sequence[Tensor], orders: Tensor, grads: Sequence[Tensor], d_views: Sequence[Tensor]
    ) -> None:
        """Adds to `d_views`, n of (B, F), given the gradients with respect to the products, n of (B, F)."""
        arguments, _arrays = self._arguments(views, orders, grads, d_views)
        self._backward(ctypes.byref(arguments))

    def _arguments(
        self, views: Sequence[Tensor], orders: Tensor, products: Sequence[Tensor], d_views: Sequence[Tensor] | None
    ) -> tuple[_PermutedArguments, list[ctypes.Array]]:
        """Returns the arguments, and the arrays that must stay alive during the call."""
        (size, features), dtype, n = views[0].shape, self._dtype, self._n
        order_address = address(orders, (n, n - 1, size), torch.int64)
        low, high = (int(bound) for bound in torch.aminmax(orders))
        if not 0 <= low <= high < size:
            raise ValueError(f"native code was given rows {low} to {high}; accepted: 0 to {size - 1}")
        groups = [views, products] if d_views is None else [views, products, d_views]
        arrays = [addresses(tensors, n, (size, features), dtype) for tensors in groups]
        pointers = [*map(ctypes.addressof, arrays), None][:3]
        threads = torch.get_num_threads() if n * size * features >= PARALLEL_ELEMENTS else 1
        return _PermutedArguments(pointers[0], order_address, size, features, threads, *pointers[1:]), arrays


@cache
def permuted_kernel(n: int, dtype: torch.dtype) -> PermutedKernel | None:
    """Returns the passes for n views of float32 or float64; None where they cannot be compiled."""
    compiled = library(permuted_source(n, dtype))
    return PermutedKernel(compiled, n, dtype) if compiled is not None else None
