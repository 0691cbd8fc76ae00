"""Feature sums in compiled loops. Shapes: T rows, B candidates, F features."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import pad

from model.losses.feature_source import source
from model.losses.integrands import Integrand
from model.losses.native import library

# The loops take features by vectors, of 16 at the most.
LANES = 16

Tensors = Sequence[Tensor]


class FeatureKernel:
    """The compiled loops of one integrand. All tensors are contiguous and of one dtype."""

    def __init__(self, made: ctypes.CDLL):
        self._cells = {torch.float32: made.cells_float, torch.float64: made.cells_double}
        self._pull = {torch.float32: made.pull_float, torch.float64: made.pull_double}

    def cells(self, rows: Tensors, cols: Tensors, first: int) -> Tensor:
        """rows (T, F), cols (B, F) -> (T, B) sums less those at the match, which row r has at first + r."""
        rows, cols = _whole_vectors(rows), _whole_vectors(cols)
        out = rows[0].new_empty(len(rows[0]), len(cols[0]))
        sizes = _sizes(*out.shape, cols[0].shape[1], first, torch.get_num_threads())
        self._cells[out.dtype](_addresses(rows), _addresses(cols), *sizes, ctypes.c_void_p(out.data_ptr()))
        return out

    def pull(self, rows: Tensors, cols: Tensors, grad: Tensor, d_rows: Tensors, d_cols: Tensors) -> None:
        """Adds to d_rows (T, F) and d_cols (B, F) what the gradient (T, B) of `cells` means for rows and cols."""
        features = cols[0].shape[1]
        if features % LANES:
            padded = [[pad(x, (0, -features % LANES), value=1) for x in group] for group in (rows, cols, d_rows, d_cols)]
            self.pull(*padded[:2], grad, *padded[2:])
            for sums, made in zip((*d_rows, *d_cols), (*padded[2], *padded[3]), strict=True):
                sums.copy_(made[:, :features])
            return
        sizes = _sizes(*grad.shape, features, torch.get_num_threads())
        addresses = [_addresses(group) for group in (rows, cols, d_rows, d_cols)]
        self._pull[grad.dtype](*addresses[:2], ctypes.c_void_p(grad.data_ptr()), *sizes, *addresses[2:])


def _whole_vectors(tensors: Tensors) -> Tensors:
    """Features filled up to whole vectors. What they add to a sum is taken off with the match; with ones, every integrand is smooth."""
    missing = -tensors[0].shape[1] % LANES
    return [pad(tensor, (0, missing), value=1) for tensor in tensors] if missing else tensors


def _addresses(tensors: Tensors) -> ctypes.Array:
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))


def _sizes(*sizes: int) -> list[ctypes.c_int64]:
    return [ctypes.c_int64(size) for size in sizes]


@cache
def feature_kernel(integrand: Integrand, rows: int, cols: int) -> FeatureKernel | None:
    """The loops of an integrand of so many numbers of a row and of a candidate; None where nothing can compile them."""
    made = library(source(integrand, rows, cols))
    return FeatureKernel(made) if made is not None else None
