"""Checks the arguments of compiled code, shapes, dtypes, devices and contiguity, before an address leaves Python."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def address(tensor: Tensor, shape: Sequence[int], dtype: torch.dtype) -> int:
    """Returns the address of a tensor's memory. The tensor must stay alive while native code uses the address.

    Raises ValueError for another shape, dtype, device or layout, with which native code would read and write beyond
    the tensor.
    """
    if not (tensor.shape == tuple(shape) and tensor.dtype is dtype and tensor.is_cpu and tensor.is_contiguous()):
        given = (
            f"{tensor.dtype} {tuple(tensor.shape)} on "
            f"{tensor.device}{'' if tensor.is_contiguous() else ', not contiguous'}"
        )
        raise ValueError(f"native code was given {given}; accepted: {dtype} {tuple(shape)} on cpu, contiguous")
    return tensor.data_ptr()


def rows_address(tensor: Tensor | None, shape: Sequence[int], dtype: torch.dtype) -> tuple[int, int]:
    """Returns the address of a matrix whose rows are contiguous, and the number of elements from one row to the next.
    An empty matrix may be None. Raises ValueError as `address` does.
    """
    if 0 in shape and (tensor is None or tensor.shape == tuple(shape)):
        return 0, 0
    if tensor is not None and tensor.shape == tuple(shape) and tensor.dtype is dtype and tensor.is_cpu:
        (stride, step), (rows, columns) = tensor.stride(), shape
        if (step == 1 or columns == 1) and (stride >= columns or rows == 1):
            return tensor.data_ptr(), stride
    given = "nothing" if tensor is None else f"{tensor.dtype} {tuple(tensor.shape)} with strides {tensor.stride()}"
    raise ValueError(f"native code was given {given}; accepted: {dtype} {tuple(shape)} on cpu, with contiguous rows")


def addresses(tensors: Sequence[Tensor], count: int, shape: Sequence[int], dtype: torch.dtype) -> ctypes.Array:
    """Returns the addresses of `count` tensors of one shape and dtype, as C's array of pointers. Raises ValueError for
    another number of tensors, and where `address` does.
    """
    if len(tensors) != count:
        raise ValueError(f"native code was given {len(tensors)} tensors; accepted: {count}")
    return (ctypes.c_void_p * count)(*(address(tensor, shape, dtype) for tensor in tensors))


def entry_point(library: ctypes.CDLL, name: str) -> Callable[..., None]:
    """Returns the function that C++'s EXPORT makes of `name`. It takes the address of a structure."""
    function: Callable[..., None] = getattr(library, f"{name}_of_tensors")
    return function


def match_range(first: int, rows: int, size: int) -> int:
    """Returns `first`, the candidate that matches the first of `rows` rows. Raises ValueError unless every row has its
    match among `size` candidates.
    """
    if not 0 <= first <= size - rows:
        raise ValueError(f"native code was given the matches {first} to {first + rows - 1}; accepted: 0 to {size - 1}")
    return first
